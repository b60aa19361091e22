"""What of the machine decides a run's bits: one list, for the names of runs, for what is up to date, and for the pages.

It is told without importing torch, which takes seconds, but for a GPU that the system does not name: what is up to date is
asked far more often than anything is trained.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import sys
from pathlib import Path
from typing import get_args

from bnlib import UserError
from bnlib.experiment.config import THREADS, Device

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "pandas", "scikit-learn", "matplotlib", "papermill", "nbconvert")

# Variables that have torch, oneDNN, MKL or CUDA choose other arithmetic.
SWITCHES = (
    "ATEN_CPU_CAPABILITY",
    *(f"{maker}_{what}" for maker in ("ONEDNN", "DNNL") for what in ("MAX_CPU_ISA", "DEFAULT_FPMATH_MODE")),
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_ENABLE_INSTRUCTIONS",
    "NVIDIA_TF32_OVERRIDE",
)
ARITHMETIC = ("avx", "sse", "ssse", "fma", "amx", "f16c", "bmi", "asimd", "sve", "sme", "bf16", "i8mm")  # begin such flags
BF16 = ("avx512_bf16", "amx_bf16", "bf16", "svebf16")  # any of them: bfloat16 products in hardware
NAMED = Path("/proc/driver/nvidia/gpus")  # where NVIDIA's driver names them
GPUS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")  # of NVIDIA's driver, of Windows' for its Linux, of AMD's
CAPABILITIES = {  # what torch writes kernels for, and the flags that it asks for
    "AVX512": {"avx512f", "avx512vl", "avx512bw", "avx512dq", "fma"},
    "AVX2": {"avx2", "fma"},
}


def machine(device: str = "cpu") -> dict[str, str]:
    """What decides the bits of a run on `device` besides its configuration, data and code, as text by name.

    Args:
        device: `cpu`, `cuda`, `mps`, or `auto`: whichever would be taken here.
    """
    flags = _flags()
    return {
        "torch": torch_version(),
        "processor": processor(),
        "instruction set": _capability(flags),
        "processor features": hashlib.sha256(" ".join([*sorted(flags), *_caches()]).encode()).hexdigest()[:16],
        "accelerator": "none" if device == "cpu" else ", ".join(_accelerators()) or "none",
        "threads per run": str(THREADS),
        "system": f"{platform.system()} {platform.machine()}",
        "switches": " ".join(f"{name}={os.environ[name]}" for name in SWITCHES if name in os.environ) or "none",
    }


class NoDevice(UserError):
    """Something is to be trained on a device that this machine has not."""


def device(asked: str) -> str:
    """The device that `auto` stands for here, or the one asked for, which need not be here: runs that are made need none.

    Raises:
        UserError: there is no device of that name.
    """
    if asked not in ("auto", *get_args(Device)):
        raise UserError(f"device={asked!r}: not to be had here; this machine has: auto, {', '.join(devices())}")
    return devices()[0] if asked == "auto" else asked


def need(device: str) -> None:
    """Has a device here.

    Raises:
        NoDevice: there is none.
    """
    if device != "cpu" and device not in devices():
        raise NoDevice(f"device={device!r}: not to be had here; this machine has: auto, {', '.join(devices())}")


def instead(absent: NoDevice, what: str) -> str:
    """The device that does `what` in place of one that the standing report had, which is said; of none that `DEVICE` names.

    Raises:
        NoDevice: `absent`, where `DEVICE` is set.
    """
    if "DEVICE" in os.environ:
        raise absent
    print(f"WARNING: {absent}. {what} on {devices()[0]} instead, trained anew; DEVICE={devices()[0]} says so", file=sys.stderr)
    return devices()[0]


def has_gpu_driver() -> bool:
    """Whether there may be a device besides the CPU; told without torch."""
    return platform.system() != "Linux" or any(Path(node).exists() for node in GPUS)


def devices() -> list[str]:
    """The devices of this machine, the one first that `auto` stands for."""
    if not has_gpu_driver():
        return ["cpu"]  # most often so, and told without torch
    import torch

    have = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return [name for name, here in have.items() if here]


def warning(device: str, precision: str) -> str:
    """That `bf16` will be slow here, or nothing."""
    if precision != "bf16" or device != "cpu" or platform.system() != "Linux" or _flags() & set(BF16):
        return ""
    return "This processor has no bfloat16 arithmetic: bf16 is emulated here, slower than fp32."


def versions() -> dict[str, str]:
    """Python's version and those of the packages whose code can change a page; torch's with its build."""
    installed = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"Python": platform.python_version()} | installed | {"torch": torch_version()}


def project() -> str:
    """What the installed package says of itself: version, authors, addresses.

    Raises:
        UserError: it is not installed, though it can be imported.
    """
    try:
        return str(importlib.metadata.metadata("bnlib"))
    except importlib.metadata.PackageNotFoundError:
        raise UserError("bnlib is not installed in this environment: `pip install --no-deps --editable .` does that") from None


def torch_version() -> str:
    """As `torch.__version__` has it: with the build, which can decide the last bits."""
    folder = Path(importlib.util.find_spec("torch").origin).parent
    found = re.search(r"__version__ = ['\"](.+?)['\"]", (folder / "version.py").read_text(encoding="utf-8"))
    return found.group(1) if found else importlib.metadata.version("torch")


def processor() -> str:
    """The processor's name, as the system gives it."""
    said = _cpuinfo()
    # Virtual machines give names such as "AMD EPYC" alone, which are those of many processors.
    kind = ", ".join(f"{word} {said[key]}" for word, key in (("family", "cpu family"), ("model", "model")) if key in said)
    name = said.get("model name") or platform.processor() or platform.machine()
    return f"{name} ({kind})" if kind else name


def _cpuinfo() -> dict[str, str]:
    """What the system says of its first processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return dict(reversed([tuple(part.strip() for part in line.split(":", 1)) for line in lines if ":" in line]))


def _flags() -> set[str]:
    """What the processor can do, of what libraries choose their kernels by."""
    said = _cpuinfo()
    return {flag for flag in (said.get("flags") or said.get("Features") or "").split() if flag.startswith(ARITHMETIC)}


def _caches() -> list[str]:
    """The sizes of its caches, by which libraries cut their work into blocks."""
    folders = sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"))
    return [(folder / "size").read_text(encoding="utf-8").strip() for folder in folders if (folder / "size").exists()]


def _capability(flags: set[str]) -> str:
    """Which of torch's own kernels run, as `torch.backends.cpu.get_cpu_capability` has it."""
    able = [name for name, needs in CAPABILITIES.items() if needs <= flags]
    asked = os.environ.get("ATEN_CPU_CAPABILITY", "").upper()
    return asked if asked in (*able, "DEFAULT") else (*able, "DEFAULT")[0]


def _accelerators() -> list[str]:
    """The names of the GPUs, as NVIDIA's driver gives them; where it gives none, as torch does, which takes its import."""
    told = [path.read_text(encoding="utf-8") for path in sorted(NAMED.glob("*/information"))]
    names = [found.group(1) for text in told if (found := re.search(r"Model:\s*(.+)", text))]
    if names or not has_gpu_driver():
        return names
    import torch

    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
