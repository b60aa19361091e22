import resource
import sys

import pytest
import torch

from bnlib.experiment.config import RunConfig
from bnlib.training import hardware
from bnlib.training.loop import fit, make_step, start

CONFIG = RunConfig(dataset="digits", norm="batch", learning_rate=0.01, seed=0, epochs=1)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_freed_memory_is_not_taken_from_the_system_again():
    assert hardware.keep_memory()

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(20):
            several = [torch.ones(5 << 20) for _ in range(4)]  # 20 MB each: 5,000 pages
            del several
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    faults()
    assert faults() < 5_000  # without it each of the eighty would have its pages anew: 400,000


@pytest.mark.parametrize("steps_before", [0, 3])
def test_steps_in_an_unchanged_block_leave_no_trace(steps_before, tensors):
    results = []
    for within in (0, 2):
        model, optimizer = start(CONFIG)
        step = make_step(model, optimizer, tensors.train, CONFIG)
        for _ in range(steps_before):
            step(torch.arange(100))
        places = [p.data_ptr() for p in model.parameters()]
        with hardware.unchanged(model, optimizer):
            for _ in range(within):
                step(torch.arange(100, 200))
        results.append([step(torch.arange(i, i + 100))[0].item() for i in range(3)])
        assert [p.data_ptr() for p in model.parameters()] == places
    assert results[0] == results[1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_captured_steps_train_as_plain_ones_do(norm, tiny_data, monkeypatch):
    c = CONFIG.model_copy(update={"norm": norm, "device": "cuda"})
    *_, captured = fit(c, tiny_data)
    monkeypatch.setattr(hardware, "captured", lambda step, *_: step)
    *_, plain = fit(c, tiny_data)
    assert captured.epochs[0].train_loss == pytest.approx(plain.epochs[0].train_loss, rel=1e-5)
