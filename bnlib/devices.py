"""Where networks are trained: on the CPU or on an accelerator, and what the processor can do."""

import torch

from bnlib import UserError

BF16_FLAGS = ("avx512_bf16", "amx_bf16", "avx10_1", "bf16", "sve_bf16")  # any of them: bfloat16 products in hardware


def resolve(device: str) -> str:
    """The device that `auto` stands for here, or the one asked for.

    Raises:
        UserError: this machine has no such device.
    """
    have = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, here in have.items() if here)
    if not have.get(device, False):
        here = ", ".join(name for name, present in have.items() if present)
        raise UserError(f"DEVICE={device}: not to be had here; this machine has: auto, {here}")
    return device


def features() -> dict[str, bool | int]:
    """What the processor can do, by name, with the sizes of its caches: what libraries choose their kernels by."""
    return {name: value for name, value in torch.cpu.get_capabilities().items() if not name.startswith("num_")}


def warning(device: str, precision: str) -> str:
    """That `bf16` will be slow here, or nothing."""
    if precision != "bf16" or device != "cpu" or any(features().get(flag) for flag in BF16_FLAGS):
        return ""
    return "This processor has no bfloat16 arithmetic: bf16 is emulated here, slower than fp32."
