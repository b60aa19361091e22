"""Results of some arms, rates or seeds alone, or against another reference: as if nothing else had been asked for."""

from collections.abc import Iterable

from bnlib.analysis.contrasts.computed import contrasted
from bnlib.analysis.results import Results


def between(results: Results, reference: str, arm: str) -> Results | None:
    """The results of two arms alone, as if no others had been asked for; None where the study has not both."""
    arms = {each.name: each for each in results.study.arms}
    if reference not in arms or arm not in arms:
        return None
    levels = {f: tuple(dict.fromkeys(arms[name].levels[f] for name in (reference, arm))) for f in results.study.reference}
    changed = {"factors": results.study.factors | levels, "reference": dict(arms[reference].levels)}
    if results.study.combined:
        changed["combined"] = (dict(arms[arm].levels),)
    study = results.study.model_copy(update=changed)
    runs = results.runs[results.runs.arm.isin((reference, arm))]
    return results if study == results.study else contrasted(study, runs, results.chosen)


def only(results: Results, seeds: Iterable[int]) -> Results | None:
    """The results of some seeds alone, as if no others had been asked for; None where the study has none of them."""
    chosen = tuple(sorted(set(seeds) & set(results.seeds)))
    if not chosen or chosen == results.seeds:
        return results if chosen else None
    study = results.study.model_copy(update={"seeds": len(chosen)})
    return contrasted(study, results.runs[results.runs.seed.isin(chosen)], chosen)


def at_rates(results: Results, rates: Iterable[float]) -> Results:
    """The results at some rates alone, as if no others had been asked for; all of them where the study has none of these."""
    factors = results.study.factors
    chosen = tuple(rate for rate in factors.get("learning_rate", ()) if rate in set(rates))
    if not chosen or len(chosen) == len(results.rates):
        return results
    study = results.study.model_copy(update={"factors": factors | {"learning_rate": chosen}})
    return contrasted(study, results.runs[results.runs.learning_rate.isin(chosen)], results.chosen)


def against(results: Results, arm: str) -> Results:
    """The results of the same runs with all arms held against another one."""
    return contrasted(results.study.against(arm), results.runs, results.chosen)
