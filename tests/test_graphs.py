import pytest
import torch

from bnlib import graphs
from bnlib.config import RunConfig
from bnlib.training import fit, make_step, start

CONFIG = RunConfig(dataset="digits", norm="batch", learning_rate=0.01, seed=0, epochs=1)


@pytest.mark.parametrize("steps_before", [0, 3])
def test_steps_in_an_unchanged_block_leave_no_trace(steps_before, tiny_data):
    results = []
    for within in (0, 2):
        model, optimizer = start(CONFIG)
        step = make_step(model, optimizer, tiny_data.train, CONFIG)
        for _ in range(steps_before):
            step(torch.arange(100))
        places = [p.data_ptr() for p in model.parameters()]
        with graphs.unchanged(model, optimizer):
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
    monkeypatch.setattr(graphs, "captured", lambda step, *_: step)
    *_, plain = fit(c, tiny_data)
    assert captured.epochs[0].train_loss == pytest.approx(plain.epochs[0].train_loss, rel=1e-5)
