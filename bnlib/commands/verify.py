"""`make verify`: some of a report's runs are done anew, without the store, and compared with what the report has."""

import random
import sys
import tempfile
from pathlib import Path

import pandas as pd

from bnlib import UserError, commands
from bnlib.experiment import records, settings
from bnlib.experiment.config import RunConfig, rate_name
from bnlib.experiment.records import MEASURED, Records
from bnlib.page.words import plural
from bnlib.runs import cluster, provenance, store
from bnlib.runs.pool import run_all
from bnlib.system import download, paths
from bnlib.training import data, hardware

SAMPLE = 1  # runs of each arm


def sample(kept: Records, count: int, rng: random.Random) -> dict[RunConfig, pd.Series]:
    """`count` runs of each norm, or all where there are fewer, drawn from those that start afresh.

    Returns:
        For each configuration, as many epochs as the records have, on the device that this machine has: its row of `runs.csv`.
    """
    epochs = kept.epochs.groupby("run").epoch.max()
    configs = [RunConfig.model_validate_json(text) for text in kept.runs.configuration]
    by_norm: dict[str, list[tuple[RunConfig, pd.Series]]] = {}
    for config, (_, row) in zip(configs, kept.runs.iterrows(), strict=True):
        if not config.later_rates:
            update = {"epochs": int(epochs[row.run]), "device": _device(config.device)}
            by_norm.setdefault(config.norm, []).append((config.model_copy(update=update), row))
    return dict(pair for runs in by_norm.values() for pair in rng.sample(runs, min(count, len(runs))))


def _device(device: str) -> str:
    """The device of the report's runs or, where this machine has none, the one it has."""
    try:
        return environment.device(device)
    except UserError:
        return environment.device("auto")


def differences(kept: pd.DataFrame, anew: pd.DataFrame) -> pd.Series:
    """The largest difference in each measurement between two records of one run; all zero only where the bits agree."""
    if len(kept) != len(anew):
        return pd.Series(float("inf"), MEASURED)  # one of them diverged earlier
    a, b = (table.sort_values("epoch")[MEASURED].astype(float).reset_index(drop=True) for table in (kept, anew))
    return (a - b).abs().mask((a == b) | (a.isna() & b.isna()), 0.0).fillna(float("inf")).max()


def changed(config: RunConfig, row: pd.Series) -> list[str]:
    """What is other here than where a run was made, of what decides its bits; a line for each."""
    (recipe,) = store.recipes([config], row.data)
    lines = [f"{name}: {here} here, {row.get(name)} there" for name, here in recipe.machine.items() if row.get(name) != here]
    lines += ["the training code"] * (recipe.made_by["code"] != row.code)
    was = RunConfig.model_validate_json(row.configuration).device
    return lines if was == "cpu" else [*lines, f"device: {was}, for which no bits are promised"]


def verify(count: int) -> bool:
    """Does runs anew, says what came of it, and returns whether that is as it should be.

    Bits that differ are as they should be only where the processor, torch or the code does.

    Raises:
        UserError: there is no report on the data set, or its data are other ones.
    """
    folder = paths.report(download.choose(settings.read().dataset)) / "data"
    kept = records.load(folder)
    loaded = data.load(kept.epochs.dataset.iloc[0])
    if loaded.checksum != provenance.load(folder)["SHA-256 of the data"]:
        raise UserError(f"the files of {loaded.name} are not those of the report in {folder.parent}")
    seed = settings.count("VERIFY_SEED", random.randrange(1, 10**6))
    drawn = sample(kept, count, random.Random(seed))
    print(f"Doing {plural(len(drawn), 'run')} of {folder.parent} anew (VERIFY_SEED={seed})", flush=True)
    with tempfile.TemporaryDirectory(prefix="bnlib-") as empty, paths.variables({"BNLIB_CACHE": empty, cluster.VARIABLE: ""}):
        anew = run_all(list(drawn), loaded)
    found = [_compare(run, kept, drawn[run.config].run) for run in anew]
    other = list(dict.fromkeys(line for config, row in drawn.items() for line in changed(config, row)))
    return _say(pd.DataFrame(found), other, folder)


def _compare(run: records.Run, kept: Records, name: str) -> pd.Series:
    """The differences of one run to the report's records."""
    mine = records.collect("", [run]).epochs
    its = kept.epochs[kept.epochs.run == name].drop_duplicates("epoch")  # a run can be of several studies
    found = differences(its, mine)
    config = run.config
    told = f"{config.norm}, learning rate {rate_name(config.learning_rate)}, seed {config.seed}"
    print(f"  {told}, {plural(config.epochs, 'epoch')}: {'other numbers' if found.any() else 'the same bits'}")
    return found


def _say(found: pd.DataFrame, other: list[str], folder: Path) -> bool:
    same, runs = not found.to_numpy().any(), plural(len(found), "run")
    if same:
        print(f"All bits agree, in {runs}.")
        return True
    largest = ", ".join(f"{value:.2g} in {name.replace('_', ' ')}" for name, value in found.max().items())
    print(f"{(found > 0).any(axis=1).sum()} of {runs} differ; at most by {largest}.")
    if other:
        print("\n".join(["That is to be expected here, where other things differ too:", *other]))
    else:
        print(f"Nothing explains that: {folder / 'epochs.csv'} is not what these runs give.")
    return bool(other)


def main() -> int:
    """`python -m bnlib.commands.verify`; VERIFY says how many runs of each arm; returns the exit status."""
    return commands.run(lambda: verify(settings.count("VERIFY", SAMPLE)), "interrupted")


if __name__ == "__main__":
    sys.exit(main())
