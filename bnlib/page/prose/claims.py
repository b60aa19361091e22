"""A claim with its verdict, and what stands beside that and does not judge: what the original printed, which runs failed."""

from collections.abc import Sequence

from bnlib.analysis.claims import ARM, PUBLISHED, REFERENCE, Claim, Part
from bnlib.analysis.original import replay
from bnlib.analysis.results import CHANGE, REACH, Results
from bnlib.analysis.statistics import ALPHA, enough
from bnlib.experiment.config import CHAIN, rate_name
from bnlib.experiment.outcomes import OUTCOMES, SETTLED
from bnlib.page.prose.phrases import DEFINED, capital, failures, of_arm
from bnlib.page.words import listing

RATES = tuple(sorted(CHAIN))


def claim(claim: Claim, results: Results) -> str:
    """A claim, what it needs, and the verdict, with the notes."""
    told = f"**Verdict: {claim.verdict}.** {claim.says}\n\n*What would have to be true.* {claim.needs}"
    notes = [note(claim, results), *(_out_of_reach(part, results) for part in claim.parts)]
    return "\n\n".join([told, " ".join(note for note in notes if note)]).strip()


def note(claim: Claim, results: Results) -> str:
    """What stands beside a claim's verdict; empty where there is nothing."""
    rates = claim.rates
    tested = bool(claim.parts)
    match claim.name:
        case "Faster at every rate" if tested:
            return f"{_signs(results, 'train_accuracy_first')} The original prints test accuracies after the last epoch alone."
        case "Smoother at 0.005 and 0.01" if tested:
            return f"{_failed(results, rates)} {_printed_fluctuation(rates)}"
        case "Higher test accuracy at every rate":
            printed = f"In the original, with one pair of networks, they differ {_printed_gaps()}."
            loss = "It concludes on the loss on test data too, and prints none."
            return f"{printed} {loss} {_signs(results, 'test_loss_last')}" if tested else printed
        case "A smaller difference at 0.01":
            return f"The original's own table says the opposite: there the arms differ {_printed_gaps()}."
        case "The cause: less internal covariate shift" if tested:
            size = of_arm(results, "shift", ARM, "smaller with batch norm", "larger with batch norm")
            return (
                "The two measures need not agree: one is of how large the change of a gradient is beside the gradient, the "
                f"other of whether it points elsewhere. By itself, the size of the change is {size}. {NOTES[claim.name]}"
            )
        case _:
            return NOTES.get(claim.name, "")


NOTES = {
    "A regularising effect": "Training accuracy is counted while the weights still change, with batch norm by the statistics "
    "of each batch; test accuracy after that, by running averages. So part of what is compared is how the two are measured. A "
    "pair with a failed run, which fits nothing and so has no gap, is left out.",
    "The cause: less internal covariate shift": "[Ioffe & Szegedy (2015)](https://arxiv.org/abs/1502.03167) proposed the "
    "explanation. [Santurkar et al. (2018)](https://arxiv.org/abs/1805.11604) found the gain to remain when noise that shifts "
    "the distributions was put in after batch norm, and saw a smoother loss surface instead; "
    "[Bjorck et al. (2018)](https://arxiv.org/abs/1806.02375) trace the gain to the larger learning rates that batch norm "
    "allows.",
}


def _signs(results: Results, outcome: str) -> str:
    """Where an outcome tells the original's arms apart, in a sentence."""
    told = of_arm(results, outcome, ARM, "lower with batch norm", "higher with batch norm")
    return f"The {OUTCOMES[outcome].title(results.study.epochs)} is {told}."


def _failed(results: Results, rates: Sequence[float]) -> str:
    """How many runs of the original's arms failed at the rates."""
    arms = [arm for name in (REFERENCE, ARM) for arm in results.study.arms if arm.name == name]
    counts = listing([f"at {rate_name(rate)}, {failures(results, rate, arms)}" for rate in rates])
    left_out = "A failed run has no fluctuation to measure: its pair is counted here and nowhere else."
    return f"{capital(counts)} {DEFINED}. {left_out}"


def _printed_fluctuation(rates: Sequence[float]) -> str:
    """How much the training loss that the original printed changed from epoch to epoch."""
    table, told = replay.published().sort_values("epoch"), []
    for rate in rates:
        rows = table[(table.learning_rate == rate) & (table.epoch >= SETTLED)]
        changes = (rows[rows.norm == norm].train_loss.diff().abs().mean() for norm in replay.ARMS)
        none, batch = map(OUTCOMES["train_loss_last"].number, changes)
        told.append(f"{none} nats without and {batch} with batch norm at {rate_name(rate)}")
    return (
        "In the original's log, of networks that had been trained before, the training loss changed from one epoch to the "
        f"next, from epoch {SETTLED} on, by {listing(told)}."
    )


def _printed_gaps() -> str:
    """How far apart the arms' test accuracies are in the original."""
    table = replay.published_test()
    gaps = [f"{100 * (table.loc[rate, ARM] - table.loc[rate, REFERENCE]):.2f} at {rate_name(rate)}" for rate in RATES]
    return f"by {listing(gaps)}, in percentage points"


def _out_of_reach(part: Part, results: Results) -> str:
    """That too many pairs are tied or failed for the exact test to show anything, where that is so."""
    c, others = part.contrast, len(results.others)
    family = (len(results.rates) - 1) * others if c.kind == CHANGE else results.study.family
    if part.met or c.n == 0 or c.kind in (REACH, PUBLISHED) or c.pairs < enough(family) or part.least_p < ALPHA:
        return ""
    return (
        f"In {part.text}, {part.unequal} of {c.pairs} pairs differ: p could not have come below {part.least_p:.3f}, "
        "whichever way they do."
    )
