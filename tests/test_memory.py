import resource
import sys

import pytest
import torch

from bnlib import memory


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_freed_memory_is_not_taken_from_the_system_again():
    assert memory.keep()

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(20):
            several = [torch.ones(5 << 20) for _ in range(4)]  # 20 MB each: 5,000 pages
            del several
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    faults()
    assert faults() < 5_000  # without it each of the eighty would have its pages anew: 400,000
