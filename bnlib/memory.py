"""Memory that was freed stays with the process, ready for the next batch."""

import ctypes
import ctypes.util
import functools
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGEST_IN_HEAP = 32 << 20  # bytes; glibc allows no more
KEPT = 1 << 30  # bytes at the top of the heap that are not given back


@functools.cache
def keep() -> bool:
    """Tells glibc's malloc to keep what is freed; returns whether there is a glibc that does. Changes no result.

    A training step frees activations of tens of MB and needs as many again in the next. Given back to the system in between,
    they come back page by page, each page cleared: on a virtual machine that can take as long as a quarter of the step.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return bool(mallopt and mallopt(M_MMAP_THRESHOLD, LARGEST_IN_HEAP) and mallopt(M_TRIM_THRESHOLD, KEPT))
