"""The captions of the figures: what is drawn, from how many seeds, what the marks mean, and the finding."""

from bnlib.analysis.results import Results
from bnlib.experiment.config import rate_name
from bnlib.experiment.outcomes import OUTCOMES
from bnlib.experiment.study import Study
from bnlib.page import figures
from bnlib.page.prose.phrases import at, capital, is_pair, noun
from bnlib.page.words import listing, plural

ANSWER = ("train_loss_first", "test_accuracy_last")  # the panels, from left to right
ACROSS = ("train_loss_last", "test_accuracy_last")


def curves(results: Results, rate: float) -> str:
    """Of the curves at one rate."""
    seeds = results.study.seeds
    lines = (
        f"Thin lines: single seeds ({seeds}); thick lines: their mean, which can lie where no run does; bands: 95% interval "
        "of each arm's mean, cut off at the frame."
        if seeds > 1
        else "One seed, hence no intervals."
    )
    return (
        f"Learning rate {rate_name(rate)}. Left: training loss, averaged over each epoch, on a logarithmic axis. "
        f"Right: test accuracy after each epoch, on a logarithmic axis of the error (100% − accuracy). {lines} "
        f"In test accuracy after the last epoch {_told_apart_at(results, rate)}."
    )


def _told_apart_at(results: Results, rate: float) -> str:
    """Which arms test accuracy tells apart at a rate."""
    apart = {c.arm: bool(c.sign) for c in results.find("test_accuracy_last", rate=rate)}
    if is_pair(results.study):
        return f"the arms are {'' if any(apart.values()) else 'not '}told apart"
    told = [arm.label for arm in results.others if apart[arm.name]]
    runs = f"runs {listing(told)} are" if told else "no arm is"
    return f"{runs} told apart from {'those' if told else 'that'} {results.study.arms[0].label}"


def answer(results: Results) -> str:
    """Of the paired differences at each rate, the first panel the first epoch's training loss, the second test accuracy."""
    study, pair, told = results.study, is_pair(results.study), []
    one = (
        "One pair of runs at each rate, hence no interval." if pair else "One run of each arm at each rate, hence no interval."
    )
    means = "squares: their mean" if pair else "filled points: their mean"
    marks = f"Hollow points: pairs of runs; {means}; bars: its 95% interval." if study.seeds > 1 else one
    for side, name in zip(("Left", "Right"), ANSWER, strict=True):
        outcome, threshold = OUTCOMES[name], figures.threshold(results, name)
        better = f"{'above' if outcome.higher_is_better else 'below'} zero, {_better(study)}"
        axis = f"; the axis is linear within ±{threshold:g} and logarithmic beyond" if threshold else ""
        told.append(f"{side}: {outcome.title(study.epochs)} ({better}{axis}).")
    return " ".join([*told, marks, *(_told_apart(results, name) for name in ANSWER)])


def _better(study: Study) -> str:
    return f"{noun(study.arms[1])} is better" if is_pair(study) else f"an arm is better than that {study.arms[0].label}"


def across(results: Results) -> str:
    """Of the outcomes against the learning rate."""
    left, right = (OUTCOMES[name].title(results.study.epochs) for name in ACROSS)
    return (
        f"Left: {left}. Right: {right}, on a logarithmic axis of the error. Small points: "
        f"single runs ({plural(results.study.seeds, 'seed')} at each rate); large points: medians of those that learned; bars: "
        f"their range. {' '.join(_told_apart(results, name) for name in ACROSS)}"
    )


def _told_apart(results: Results, name: str) -> str:
    """At which rates an outcome tells the arms apart."""
    title, told = capital(OUTCOMES[name].title(results.study.epochs)), []
    for arm in results.others:
        apart = [c.learning_rate for c in results.find(name, arm.name) if c.sign]
        rates = f"at {len(apart)} of {plural(len(results.rates), 'rate')}{f' ({at(apart)})' if apart else ''}"
        told.append(rates if is_pair(results.study) else f"{arm.label} {rates}")
    if is_pair(results.study):
        return f"{title} tells the arms apart {told[0]}."
    return f"{title} tells arms apart from that {results.study.arms[0].label}: {', '.join(told)}."


def survival(results: Results) -> str:
    """Of the Kaplan-Meier curves."""
    study = results.study
    lines = f"; dashed {study.arms[0].label}, solid with it" if is_pair(study) else f", for {_arms(study)}"
    return (
        f"Share of each arm's {plural(study.seeds, 'run')} whose test accuracy has not reached the one above the "
        f"panel by the end of an epoch (Kaplan-Meier), with its 95% log-log interval{lines}. "
        "At 0% and 100% the interval has no ends, and none is drawn. A line that ends above zero has runs that never got there."
    )


def _arms(study: Study) -> str:
    """The arms of several, in words."""
    return f"the arms {listing([arm.label for arm in study.arms])}"


def rate_range(results: Results) -> str:
    """Of the runs over many rates."""
    study = results.study
    marks = f"circles without and squares {study.arms[1].label}" if is_pair(study) else f"of {_arms(study)}"
    return (
        f"Left and middle: runs of {plural(study.epochs, 'epoch')} at {plural(len(results.rates), 'rate')}, "
        f"{plural(study.seeds, 'seed')} each (points, where they learned), and their medians (lines); logarithmic axes, of the "
        f"error for the accuracy. Right: the share of runs that failed, {marks}; bars: 95% Wilson intervals."
    )


def chain(study: Study) -> str:
    """Of the chain beside the published figures."""
    return (
        f"Training loss along the chain. Crosses: what the original printed. Line and band: mean over our "
        f"{plural(study.seeds, 'seed')} "
        "and the 95% prediction interval for one more run. Dotted, where the report has them: the median of runs that start "
        "afresh at that rate. Logarithmic axis."
    )


def why(study: Study, rate: float) -> str:
    """Of what probes saw at one rate, and of the first step."""
    return (
        f"Left: channels of the second convolution zero on all of 2,000 test images, at {rate_name(rate)}. Thin lines: "
        f"runs; thick lines: each arm's median, of {plural(study.seeds, 'seed')}. Right: the size of Adam's first step beside "
        f"that of each layer's weights, {study.arms[0].label}; at the dotted line they are as large."
    )
