"""What names a notebook's own code: whatever would change what it does, and nothing else."""

import functools
import subprocess
import sys

import cloudpickle
import pytest
import torch
from torch import nn

from bnlib.system import paths
from bnlib.system.code.live import fingerprint


def run(source: str, name: str = "f", scope: dict | None = None):
    """What a cell of a notebook defines under `name`."""
    scope = {"__name__": "__main__", "functools": functools, "nn": nn, "torch": torch} | (scope or {})
    exec(compile(source, "cell", "exec"), scope)
    return scope[name]


FUNCTION = "K = 2\ndef g(x):\n    return x * K\ndef f(x, by=1):\n    return g(x) + by\n"


@pytest.mark.parametrize(
    "same",
    [
        FUNCTION.replace("    return g", "    # why\n\n    return g"),
        FUNCTION.replace("    return g", '    """Adds."""\n    return g'),
        FUNCTION.replace("x, by=1", "x: int, by: int = 1"),
        "other = 3\n" + FUNCTION,
    ],
)
def test_comments_docstrings_annotations_and_other_cells_change_nothing(same):
    assert fingerprint(run(same)) == fingerprint(run(FUNCTION))


@pytest.mark.parametrize("edit", [("K = 2", "K = 3"), ("by=1", "by=2"), ("x * K", "x + K"), ("g(x) + by", "by")])
def test_code_constants_defaults_and_what_is_called_count(edit):
    assert fingerprint(run(FUNCTION.replace(*edit))) != fingerprint(run(FUNCTION))


CLASS = (
    "class B:\n    def go(self):\n        return 1\n"
    "class f(B):\n    gain = 1\n    @functools.cached_property\n    def p(self):\n        return 2\n"
)


@pytest.mark.parametrize("edit", [("gain = 1", "gain = 2"), ("return 1", "return 3"), ("return 2", "return 3"), ("f(B)", "f")])
def test_attributes_bases_and_properties_of_a_class_count(edit):
    assert fingerprint(run(CLASS.replace(*edit))) != fingerprint(run(CLASS))


def test_what_was_changed_from_outside_counts():
    for change in (lambda c: setattr(c, "gain", 5), lambda c: setattr(c.__mro__[1], "go", lambda self: 9)):
        changed = run(CLASS)
        change(changed)
        assert fingerprint(changed) != fingerprint(run(CLASS))
    f = run(FUNCTION)
    f.__defaults__ = (7,)
    assert fingerprint(f) != fingerprint(run(FUNCTION))
    f = run(FUNCTION)
    f.extra = 1
    assert fingerprint(f) != fingerprint(run(FUNCTION))


def test_value_of_when_a_class_was_made_counts_and_not_that_of_now():
    source = "class f:\n    gain = G\n"
    assert fingerprint(run("G = 1\n" + source + "G = 4")) == fingerprint(run("G = 1\n" + source))
    assert fingerprint(run("G = 4\n" + source)) != fingerprint(run("G = 1\n" + source))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("f = (lambda x: x, lambda x: -x)", "f = (lambda x: -x, lambda x: x)"),
        ("def m(k):\n    return lambda x: x * k\nf = m(2)", "def m(k):\n    return lambda x: x * k\nf = m(3)"),
        ("f = functools.partial(nn.LeakyReLU, 0.1)", "f = functools.partial(nn.LeakyReLU, 0.2)"),
        ("act = nn.LeakyReLU(0.1)\ndef f(x):\n    return act(x)", "act = nn.LeakyReLU(0.2)\ndef f(x):\n    return act(x)"),
        (
            "t = torch.zeros(5000)\ndef f(x):\n    return x + t",
            "t = torch.zeros(5000)\nt[2000] = 1\ndef f(x):\n    return x + t",
        ),
        ("k = 1\ndef f(x):\n    return k * len([k for k in x])", "k = 2\ndef f(x):\n    return k * len([k for k in x])"),
        ("def f(x):\n    return x in {1, 2}", "def f(x):\n    return x in {1, 3}"),
        ("def f(x):\n    return torch.relu(x)", "def f(x):\n    return torch.tanh(x)"),
    ],
)
def test_order_closures_instances_and_numbers_count(one, other):
    assert fingerprint(run(one)) == fingerprint(run(one))
    assert fingerprint(run(one)) != fingerprint(run(other))


def test_patched_function_of_somebody_else_s_counts(monkeypatch):
    source = "def f(x):\n    return torch.relu(x)"
    before = fingerprint(run(source))
    monkeypatch.setattr(torch, "relu", run("def f(x):\n    return -x"))
    assert fingerprint(run(source)) != before


def test_circles_end():
    source = "def f(n):\n    return n == 0 or g(n - 1)\ndef g(n):\n    return n != 0 and f(n - 1)\n"
    assert fingerprint(run(source)) == fingerprint(run(source)) != fingerprint(run(source.replace("n == 0", "n == 1")))


def test_what_cannot_be_told_from_another_is_refused():
    with pytest.raises(ValueError, match="uses a lock, which cannot be told from another"):
        fingerprint(run("import threading\nl = threading.Lock()\ndef f(x):\n    return l"))


WHOLE = (
    "import math\nNAMES = {'a', 'b', 'c', 'dd'}\nclass Base(nn.Module):\n"
    "    def __init__(self, channels):\n        super().__init__()\n"
    "class f(Base):\n    gain = 0.5\n    def forward(self, x):\n        return self.gain * x * math.pi + len(NAMES) + h(x)\n"
    "def h(x, *, by=2):\n    return torch.nn.functional.relu(x) * by\n"
)


def test_another_process_finds_the_same(tmp_path):
    mine = run(WHOLE)
    file = tmp_path / "own"
    file.write_bytes(cloudpickle.dumps(mine))
    code = "import sys, cloudpickle; from bnlib.system.code.live import fingerprint; "
    code += "print(fingerprint(cloudpickle.loads(open(sys.argv[1], 'rb').read())))"
    for seed in "12":  # sets are in another order under another seed
        done = subprocess.run(
            [sys.executable, "-c", code, file],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(paths.ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == fingerprint(mine)


@pytest.mark.parametrize("used", ["optimizers.adam", "models.ConvNet"])
def test_what_it_uses_of_the_package_counts_by_its_source(used, monkeypatch):
    from bnlib.system.code import live
    from bnlib.training import models, optimizers

    made = run(f"def f(*a):\n    return {used}(*a)\n", scope={"optimizers": optimizers, "models": models})
    before = fingerprint(made)
    assert fingerprint(made) == before
    monkeypatch.setattr(live, "parts", lambda value: {"edited": "yes"})
    assert fingerprint(made) != before
