"""The notebooks that train: which ones a report needs, with what parameters, and how much they have to do."""

from dataclasses import dataclass

# No torch in what this imports: see `pipeline`.
from bnlib.config import CHAIN, rate_name
from bnlib.parameters import Parameters

RANGE_EPOCHS = 2  # enough to see at which rates a network learns


@dataclass(frozen=True)
class Study:
    """One executed notebook: `name` is that of its files, `label` that of its page, `values` are its own parameters."""

    name: str
    label: str
    notebook: str
    values: dict
    runs: int
    epochs: int  # of all its runs

    @property
    def href(self) -> str:
        return f"{self.name}.html"


def studies(p: Parameters) -> list[Study]:
    """Each learning rate, then what takes from the store of their runs: the original's chain, and the range of rates."""
    pairs, few = 2 * p.seeds, min(p.seeds, p.study_seeds)
    shared = {"seeds": few, "precision": p.precision, "device": p.device}
    made = []
    for rate in p.learning_rates:
        values = shared | {"learning_rate": rate, "seeds": p.seeds, "epochs": p.epochs}
        name = rate_name(rate)
        made.append(Study(f"learning-rate-{name}", f"Learning rate {name}", "learning_rate", values, pairs, pairs * p.epochs))
    span = {"learning_rates": " ".join(map(rate_name, p.range_rates)), "epochs": RANGE_EPOCHS}
    runs = 2 * few * len(p.range_rates)
    made.append(Study("learning-rate-range", "Range of rates", "learning_rate_range", shared | span, runs, runs * RANGE_EPOCHS))
    chain = shared | {"epochs": p.epochs}
    made.append(Study("replay", "Replay", "replay", chain, 2 * few, 2 * few * p.epochs * len(CHAIN)))
    return made
