"""The questions of the report, each a study or a notebook's studies; another one is added here."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from bnlib import UserError
from bnlib.experiment import settings as checks
from bnlib.experiment.config import CHAIN, PROBES, rate_name
from bnlib.experiment.outcomes import SEEN
from bnlib.experiment.study import Study

RANGE_EPOCHS = 2  # enough to see at which rates a network learns
RANGE_OUTCOMES = ("train_loss_last", "test_accuracy_last")
REPLAY_OUTCOMES = (  # what the original's claims speak of
    *("train_loss_first", "train_loss_second", "train_loss_last", "train_accuracy_first", "train_accuracy_second"),
    *("test_accuracy_last", "fluctuation", "fluctuation_loss", "fluctuation_log_loss", "gap", "test_loss_at_fit"),
    "epochs_until_0.985",
)
FEW_OUTCOMES = ("train_loss_first", "train_loss_last", "test_accuracy_last")
FIRST_EPOCH = ("train_loss_first", "test_accuracy_last")  # of runs of one epoch
CONTROLS_EPOCHS = 2
LONGER = ("group", "layer", "warmup", "leaky_relu")  # controls that are trained for longer, and at more rates


def _asked(**fields: Any) -> Study:
    """The study of these fields, which come from a notebook's cell of parameters: what is wrong there is said in its words."""
    try:
        return Study(**fields)
    except ValidationError as error:
        name, reason, value = checks.first_reason(error)
        if name in checks.EXAMPLES:
            further = fields["name"].removeprefix(fields["notebook"]).lstrip("_")  # a notebook calls its seeds `long_seeds`
            raise checks.wrong("_".join(filter(None, [further, name])), value, reason) from None
        raise UserError(f"{name} {reason}".strip()) from None


def each_rate(learning_rate: float, *, arms: Sequence[str], seeds: int, epochs: int, **held: Any) -> Study:
    """The original's question at one learning rate, from untrained weights; `held` are other fields of `RunConfig`.

    Raises:
        UserError: one of these is wrong; it says which, and what to set instead. So do the other studies.
    """
    learning_rate = checks.rate(learning_rate)
    name = rate_name(learning_rate)
    return _asked(
        name="learning_rate",
        notebook="learning_rate",
        part=name,
        title=f"Learning rate {name}",
        factors={"norm": tuple(arms), "learning_rate": (learning_rate,)},
        reference={"norm": arms[0]},
        seeds=seeds,
        epochs=epochs,
        held=held,
    )


def rate_range(learning_rates: Sequence[float], *, arms: Sequence[str], seeds: int, epochs: int, **held: Any) -> Study:
    """How far the learning rate can go: short runs at many."""
    return _asked(
        name="learning_rate_range",
        notebook="learning_rate_range",
        title="Range of rates",
        factors={"norm": tuple(arms), "learning_rate": tuple(learning_rates)},
        reference={"norm": arms[0]},
        seeds=seeds,
        epochs=epochs,
        outcomes=RANGE_OUTCOMES,
        held=held,
    )


def replay(*, seeds: int, epochs: int, **held: Any) -> Study:
    """The original's chain, its two networks trained on from rate to rate: its figures are of these arms alone."""
    return _asked(
        name="replay",
        notebook="replay",
        title="Replay",
        factors={"norm": ("none", "batch")},
        reference={"norm": "none"},
        seeds=seeds,
        epochs=epochs,
        outcomes=REPLAY_OUTCOMES,
        held={"learning_rate": CHAIN[0], "later_rates": CHAIN[1:]} | held,
    )


def inside(
    learning_rates: Sequence[float],
    *,
    arms: Sequence[str],
    seeds: int,
    long_seeds: int,
    long_epochs: int,
    survival_rates: Sequence[float],
    survival_seeds: int,
    **held: Any,
) -> list[Study]:
    """Why: a look into the first epoch of some runs and into whole ones of fewer, and how many of many fail in their first."""
    if len(arms) != 2:
        raise checks.wrong("arms", " ".join(arms), "names two norms here, the reference and the one held against it")
    shared = {"notebook": "inside", "reference": {"norm": arms[0]}, "held": held}
    looked = {"factors": {"norm": tuple(arms), "learning_rate": tuple(learning_rates)}, "probes": PROBES}
    counted = {"norm": tuple(arms), "learning_rate": tuple(survival_rates)}
    return [
        _asked(name="inside", title="Inside", **shared, **looked, seeds=seeds, epochs=1, outcomes=(*FIRST_EPOCH, *SEEN)),
        _asked(
            name="inside_long",
            title="Inside, whole runs",
            **shared,
            **looked,
            seeds=long_seeds,
            epochs=long_epochs,
            outcomes=("test_accuracy_last",),
        ),
        _asked(
            name="inside_survival",
            title="Inside, survival",
            **shared,
            factors=counted,
            seeds=survival_seeds,
            epochs=1,
            outcomes=FIRST_EPOCH,
        ),
    ]


def controls(
    learning_rates: Sequence[float],
    *,
    seeds: int,
    warmup: int,
    long_rates: Sequence[float],
    long_seeds: int,
    long_epochs: int,
    range_rates: Sequence[float],
    range_seeds: int,
    survival_rates: Sequence[float],
    survival_seeds: int,
    **held: Any,
) -> list[Study]:
    """What else would do: other norms, batch norm at one place alone, and without any norm a warm-up or leaky ReLU.

    All of them in short runs; `LONGER` in whole runs and at many rates; and how many of many fail in their first epoch.
    """
    if warmup == 0:
        raise checks.wrong("warmup", warmup, "is none: that arm would be the network without a norm")
    norms: list[dict[str, Any]] = [{"norm": norm} for norm in ("batch", "group", "layer", "batch@1", "batch@2", "batch@3")]
    arms = [*norms, {"warmup": warmup}, {"activation": "leaky_relu"}]
    longer = [arm for arm in arms if {"batch", *LONGER} & {*arm, *arm.values()}]
    reference = {"norm": "none", "activation": "relu", "warmup": 0}

    def part(name: str, title: str, arms: Sequence[dict[str, Any]], rates: Sequence[float], **fields: Any) -> Study:
        factors = {f: tuple(dict.fromkeys((level, *(arm[f] for arm in arms if f in arm)))) for f, level in reference.items()}
        fields |= {"factors": factors | {"learning_rate": tuple(rates)}, "reference": reference, "combined": tuple(arms)}
        return _asked(name=name, notebook="controls", title=title, held=held, **fields)

    short = {"epochs": CONTROLS_EPOCHS, "outcomes": FEW_OUTCOMES}
    return [
        part("controls", "Controls", arms, learning_rates, seeds=seeds, **short),
        part(
            "controls_long",
            "Controls, whole runs",
            longer,
            long_rates,
            seeds=long_seeds,
            epochs=long_epochs,
            outcomes=FEW_OUTCOMES,
        ),
        part(
            "controls_range",
            "Controls, range",
            longer,
            range_rates,
            seeds=range_seeds,
            epochs=RANGE_EPOCHS,
            outcomes=RANGE_OUTCOMES,
        ),
        part(
            "controls_survival",
            "Controls, survival",
            arms,
            survival_rates,
            seeds=survival_seeds,
            epochs=1,
            outcomes=FIRST_EPOCH,
        ),
    ]
