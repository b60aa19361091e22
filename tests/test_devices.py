import pytest

from bnlib import UserError, devices


def test_device_that_is_not_here_is_refused(monkeypatch):
    monkeypatch.setattr(devices.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(devices.torch.backends.mps, "is_available", lambda: False)
    assert devices.resolve("auto") == "cpu"
    with pytest.raises(UserError, match="DEVICE=cuda: not to be had here; this machine has: auto, cpu"):
        devices.resolve("cuda")


def test_auto_takes_the_accelerator(monkeypatch):
    monkeypatch.setattr(devices.torch.cuda, "is_available", lambda: True)
    assert devices.resolve("auto") == "cuda"


@pytest.mark.parametrize(
    ("device", "precision", "flags"), [("cpu", "fp32", {}), ("cuda", "bf16", {}), ("cpu", "bf16", {"amx_bf16": True})]
)
def test_bf16_where_it_is_fast_brings_no_warning(device, precision, flags, monkeypatch):
    monkeypatch.setattr(devices.torch.cpu, "get_capabilities", lambda: flags)
    assert devices.warning(device, precision) == ""


def test_bf16_without_hardware_for_it_brings_a_warning(monkeypatch):
    monkeypatch.setattr(devices.torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False})
    assert "slower than fp32" in devices.warning("cpu", "bf16")


def test_number_of_cores_is_no_feature(monkeypatch):
    monkeypatch.setattr(
        devices.torch.cpu, "get_capabilities", lambda: {"avx2": True, "num_logical_cores": 2, "l1d_cache_size": 1}
    )
    assert devices.features() == {"avx2": True, "l1d_cache_size": 1}
