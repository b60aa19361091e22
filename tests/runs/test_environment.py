import hashlib
import importlib.metadata
import subprocess
import sys

import pytest
import torch

from bnlib import UserError
from bnlib.experiment.config import THREADS
from bnlib.runs import environment
from bnlib.system import paths

CPUINFO = "processor\t: {n}\nmodel name\t: Some CPU\ncpu family\t: 6\nmodel\t\t: 106\nflags\t\t: {flags}\n"


@pytest.fixture(autouse=True)
def no_switches(monkeypatch):
    for name in environment.SWITCHES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def processor(monkeypatch):
    """Makes this a machine whose processor has the given flags."""

    def flags(text: str) -> None:
        said = dict(line.split("\t: ") for line in CPUINFO.format(n=0, flags=text).replace("\t\t", "\t").strip().splitlines())
        monkeypatch.setattr(environment, "_cpuinfo", lambda: said)

    return flags


def test_instruction_set_is_the_one_that_torch_takes():
    assert environment.machine()["instruction set"] == torch.backends.cpu.get_cpu_capability()


@pytest.mark.parametrize("asked", ["avx2", "default", "nonsense"])
def test_instruction_set_that_was_asked_for_is_the_one_that_torch_takes(asked, monkeypatch):
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", asked)
    command = "import torch; print(torch.backends.cpu.get_cpu_capability())"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert environment.machine()["instruction set"] == done.stdout.strip()


def test_less_than_the_processor_can_do_changes_what_is_said_of_the_machine(processor, monkeypatch):
    processor("fma avx2 avx512f avx512vl avx512bw avx512dq")
    before = environment.machine()
    assert before["instruction set"] == "AVX512"
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    assert environment.machine()["instruction set"] == "AVX2"
    assert environment.machine() != before


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("sse2", "DEFAULT"), ("fma avx avx2", "AVX2"), ("fma avx2 avx512f avx512vl", "AVX2"), ("avx2", "DEFAULT")],
)
def test_instruction_set_follows_from_the_processor_s_flags(flags, expected, processor):
    processor(flags)
    assert environment.machine()["instruction set"] == expected


@pytest.mark.parametrize("name", environment.SWITCHES)
def test_every_switch_of_arithmetic_changes_what_is_said_of_the_machine(name, monkeypatch):
    before = environment.machine()
    assert before["switches"] == "none"
    monkeypatch.setenv(name, "avx2")
    assert environment.machine() != before
    assert environment.machine()["switches"] == f"{name}=avx2"


def test_switches_are_said_in_one_order_whatever_was_set_first(monkeypatch):
    for name in ("MKL_CBWR", "ATEN_CPU_CAPABILITY"):
        monkeypatch.setenv(name, "AVX2")
    assert environment.machine()["switches"] == "ATEN_CPU_CAPABILITY=AVX2 MKL_CBWR=AVX2"


def test_another_arithmetic_of_the_processor_changes_what_is_said_and_other_features_do_not(processor):
    found = []
    for flags in ("avx2 fma", "fma avx2 hypervisor", "avx2 fma amx_bf16"):
        processor(flags)
        found.append(environment.machine())
    assert found[0] == found[1] != found[2]
    assert found[0] | {"processor features": ""} == found[2] | {"processor features": ""}


def test_sizes_of_caches_are_features(monkeypatch):
    before = environment.machine()
    monkeypatch.setattr(environment, "_caches", lambda: ["1K"])
    said = environment.machine()
    assert said["processor features"] != before["processor features"]
    flags = sorted(environment._flags())
    assert said["processor features"] == hashlib.sha256(" ".join([*flags, "1K"]).encode()).hexdigest()[:16]


def test_processor_of_a_virtual_machine_is_told_by_its_numbers(processor):
    processor("avx2")
    assert environment.processor() == "Some CPU (family 6, model 106)"


def test_first_processor_counts(tmp_path, monkeypatch):
    text = CPUINFO.format(n=0, flags="avx2 fma") + "\n" + CPUINFO.format(n=1, flags="sse2")
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(environment, "Path", lambda name: tmp_path / "cpuinfo")
    assert environment._cpuinfo()["flags"] == "avx2 fma"


def test_accelerator_is_named_where_one_is_used(monkeypatch):
    monkeypatch.setattr(environment, "_accelerators", lambda: ["NVIDIA H100"])
    assert environment.machine("cpu")["accelerator"] == "none"
    assert environment.machine("cuda")["accelerator"] == environment.machine("auto")["accelerator"] == "NVIDIA H100"


def test_accelerator_that_the_system_does_not_name_is_named_by_torch(has, monkeypatch, tmp_path):
    has("cuda")
    monkeypatch.setattr(environment, "NAMED", tmp_path)
    monkeypatch.setattr(environment, "has_gpu_driver", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", "card {}".format)
    assert environment.machine("cuda")["accelerator"] == "card 0, card 1"
    monkeypatch.setattr(environment, "has_gpu_driver", lambda: False)
    assert environment.machine("cuda")["accelerator"] == "none"


def test_project_says_what_it_is_and_else_what_to_do(monkeypatch):
    assert "Name: bnlib" in environment.project()

    def absent(name: str):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "metadata", absent)
    with pytest.raises(UserError, match="bnlib is not installed in this environment: `pip install "):
        environment.project()


def test_threads_are_those_of_a_run():
    assert environment.machine()["threads per run"] == str(THREADS)


def test_version_of_torch_has_its_build():
    assert environment.torch_version() == torch.__version__ == environment.machine()["torch"] == environment.versions()["torch"]


@pytest.fixture
def has(monkeypatch):
    """Makes this a machine that has a GPU's driver or none, and devices that torch finds."""

    def devices(driver: bool, **found: bool) -> None:
        monkeypatch.setattr(environment, "GPUS", ("/dev/null" if driver else "/dev/absent",))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: found.get("cuda", False))
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: found.get("mps", False))

    return devices


def test_device_that_is_not_here_is_refused(has):
    has(driver=True)
    assert environment.device("auto") == "cpu"
    for asked in ("cuda", "mps"):
        assert environment.device(asked) == asked  # runs of it that are made may be taken
        with pytest.raises(environment.NoDevice, match=f"device='{asked}': not to be had here; this machine has: auto, cpu"):
            environment.need(asked)


def test_device_of_no_such_name_is_refused(has):
    has(driver=False)
    with pytest.raises(UserError, match="device='gpu': not to be had here; this machine has: auto, cpu"):
        environment.device("gpu")


def test_device_that_is_not_here_is_replaced_loudly_unless_it_was_asked_for(has, monkeypatch, capsys):
    has(driver=True)
    absent = environment.NoDevice("no such thing")
    monkeypatch.delenv("DEVICE", raising=False)
    assert environment.instead(absent, "All is made") == "cpu"
    assert capsys.readouterr().err.startswith("WARNING: no such thing. All is made on cpu instead")
    monkeypatch.setenv("DEVICE", "cuda")
    with pytest.raises(environment.NoDevice, match="no such thing"):
        environment.instead(absent, "All is made")


def test_auto_takes_the_accelerator(has):
    has(driver=True, cuda=True)
    assert environment.device("auto") == environment.device("cuda") == "cuda"
    assert environment.device("cpu") == "cpu"


def test_auto_takes_the_accelerator_of_another_system(has, monkeypatch):
    has(driver=False, mps=True)
    monkeypatch.setattr(environment.platform, "system", lambda: "Darwin")
    assert environment.device("auto") == "mps"


def test_device_is_told_without_torch_where_there_is_no_driver_of_a_gpu(has, monkeypatch):
    has(driver=False)
    monkeypatch.setattr(environment.platform, "system", lambda: "Linux")
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it fails
    assert environment.device("auto") == environment.device("cpu") == "cpu"
    environment.need("cpu")
    with pytest.raises(environment.NoDevice):
        environment.need("cuda")
    has(driver=True)
    with pytest.raises(ImportError):
        environment.need("cuda")


@pytest.mark.parametrize(
    ("device", "precision", "flags"),
    [("cpu", "fp32", "avx2"), ("cuda", "bf16", "avx2"), ("cpu", "bf16", "avx2 amx_bf16"), ("cpu", "bf16", "avx512_bf16")],
)
def test_bf16_where_it_is_fast_brings_no_warning(device, precision, flags, processor):
    processor(flags)
    assert environment.warning(device, precision) == ""


def test_bf16_without_hardware_for_it_brings_a_warning(processor, monkeypatch):
    monkeypatch.setattr(environment.platform, "system", lambda: "Linux")
    processor("avx2 fma")
    assert "slower than fp32" in environment.warning("cpu", "bf16")


def test_what_machine_it_is_is_told_without_torch():
    command = (
        "import sys; from bnlib.runs import environment; environment.machine('auto'); environment.versions();"
        "environment.warning('cpu', 'bf16'); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", command], cwd=paths.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
