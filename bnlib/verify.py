"""`make verify`: some of a report's runs are done anew, without the store, and compared with what the report has."""

import random
import sys
import tempfile

import pandas as pd

from bnlib import UserError, cluster, commands, data, devices, parameters, paths, provenance, raw, records, store
from bnlib.config import RunConfig, rate_name
from bnlib.runs import run_all
from bnlib.words import ARMS, plural

SAMPLE = 1  # runs of each arm
MEASURED = records.COLUMNS[records.COLUMNS.index("epoch") + 1 :]


def sample(epochs: pd.DataFrame, facts: dict[str, str], count: int, rng: random.Random) -> list[RunConfig]:
    """`count` runs of each arm, or all where there are fewer, drawn from a report's records.

    Args:
        epochs: the records.
        facts: the report's provenance.
    """
    shared = {"batch_size": int(facts["batch size"]), "precision": facts["precision"], "device": _device(facts)}
    drawn = []
    for norm in ARMS:
        runs = epochs.loc[epochs.norm == norm, ["dataset", "learning_rate", "seed"]].drop_duplicates().to_dict("records")
        for run in rng.sample(runs, min(count, len(runs))):
            drawn.append(RunConfig(norm=norm, epochs=int(facts["epochs"]), **run, **shared))
    return drawn


def _device(facts: dict[str, str]) -> str:
    """The device of the report's runs or, where this machine has none, the one it has."""
    try:
        return devices.resolve(facts["device"])
    except UserError:
        return devices.resolve("auto")


def differences(kept: pd.DataFrame, anew: pd.DataFrame) -> pd.Series:
    """The largest difference in each measurement between two records of one run; all zero only where the bits agree."""
    if len(kept) != len(anew):
        return pd.Series(float("inf"), MEASURED)  # one of them diverged earlier
    a, b = (table.sort_values("epoch")[MEASURED].reset_index(drop=True) for table in (kept, anew))
    return (a - b).abs().mask((a == b) | (a.isna() & b.isna()), 0.0).fillna(float("inf")).max()


def changed(facts: dict[str, str]) -> list[str]:
    """What is other here than where the report was made, of what decides the bits; a line for each."""
    device = _device(facts)
    unset = dict.fromkeys(provenance.SWITCHES, "not set")
    here = unset | store.environment(device) | {"SHA-256 of the training code": store.SOURCE, "device": device}
    there = unset | facts
    other = [f"{name}: {here[name]} here, {there[name]} there" for name in here if name in there and here[name] != there[name]]
    return other if facts["device"] == "cpu" else [*other, f"device: {facts['device']}, for which no bits are promised"]


def verify(count: int) -> bool:
    """Does runs anew, says what came of it, and returns whether that is as it should be.

    Bits that differ are as they should be only where the processor, torch or the code does.

    Raises:
        UserError: there is no report on the data set, or its data are other ones.
    """
    asked = parameters.read()
    folder = paths.report(raw.choose(asked.dataset)) / "data"
    epochs, facts = records.of(records.load(folder).epochs, records.CONTROLLED), provenance.load(folder)
    loaded = data.load(epochs.dataset.iloc[0])
    if loaded.checksum != facts["SHA-256 of the data"]:
        raise UserError(f"the files of {loaded.name} are not those of the report in {folder.parent}")
    seed = parameters.count("VERIFY_SEED", random.randrange(1, 10**6))
    configs = sample(epochs, facts, count, random.Random(seed))
    print(f"Doing {plural(len(configs), 'run')} of {folder.parent} anew (VERIFY_SEED={seed})", flush=True)
    with tempfile.TemporaryDirectory(prefix="bnlib-") as empty, paths.variables({"BNLIB_CACHE": empty, cluster.VARIABLE: ""}):
        anew = run_all(configs, loaded).epochs
    found = pd.DataFrame([_compare(config, epochs, anew, loaded.fingerprint) for config in configs])
    return _say(found, changed(facts))


def _compare(config: RunConfig, epochs: pd.DataFrame, anew: pd.DataFrame, fingerprint: str) -> pd.Series:
    """The differences of one run to the report's records and, where the store has it, to the store."""
    mine, its = (
        (t.norm == config.norm) & (t.learning_rate == config.learning_rate) & (t.seed == config.seed) for t in (anew, epochs)
    )
    found = differences(epochs[its], anew[mine])
    stored = store.get(config, fingerprint)
    if stored and stored.is_finished(config.epochs):
        kept = records.collect([(config, stored.epochs[: config.epochs])]).epochs
        found = pd.concat([found, differences(kept, anew[mine])], axis=1).max(axis=1)
    name = f"{ARMS[config.norm]}, learning rate {rate_name(config.learning_rate)}, seed {config.seed}"
    print(f"  {name}, {plural(config.epochs, 'epoch')}: {'other numbers' if found.any() else 'the same bits'}")
    return found


def _say(found: pd.DataFrame, other: list[str]) -> bool:
    same, runs = not found.to_numpy().any(), plural(len(found), "run")
    if same:
        print(f"All bits agree, in {runs}.")
        return True
    largest = ", ".join(f"{value:.2g} in {name.replace('_', ' ')}" for name, value in found.max().items())
    print(f"{(found > 0).any(axis=1).sum()} of {runs} differ; at most by {largest}.")
    print(
        "\n".join(["That is to be expected here, where other things differ too:", *other])
        if other
        else "Nothing explains that."
    )
    return bool(other)


def main() -> int:
    """`python -m bnlib.verify`; VERIFY says how many runs of each arm; returns the exit status."""
    return commands.run(lambda: verify(parameters.count("VERIFY", SAMPLE)), "interrupted")


if __name__ == "__main__":
    sys.exit(main())
