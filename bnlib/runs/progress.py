"""How far the runs are: workers append lines to a log, and one bar, in a notebook or on a terminal, follows it."""

import contextlib
import io
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from bnlib import plural
from bnlib.system import files

VARIABLE = "BNLIB_PROGRESS"  # names the log when somebody else shows it
EVERY = 8.0  # seconds between lines where the output is no terminal


@dataclass
class Tally:
    """How many epochs were trained, of how many runs; how many the store had; how many runs a report's records gave."""

    runs: int = 0
    epochs: int = 0
    kept: int = 0
    given: int = 0

    def add(self, event: dict) -> None:
        """Counts what an event of the log says."""
        self.runs += "trained" in event
        self.epochs += event.get("trained", 0)
        self.kept += event.get("kept", 0) + event.get("found", 0)
        self.given += event.get("given", 0)

    def __str__(self) -> str:
        told = [f"trained {plural(self.epochs, 'epoch')} in {plural(self.runs, 'run')}"] if self.runs else []
        told += [f"took {plural(self.kept, 'epoch')} from the store"] if self.kept else []
        told += [f"took {plural(self.given, 'run')} from the report's records"] if self.given else []
        return f"Runs: {', '.join(told)}"


def event(config, epoch: int, ended: bool = False) -> dict:
    """That `config`'s run finished an epoch; `ended` if it stops there, whatever epochs it had left."""
    done = config.all_epochs - epoch + 1 if ended else 1
    where = {"rate": config.learning_rate, "chain": bool(config.later_rates), "run": str((config.changed, config.probed))}
    where |= {"epoch": epoch, "epochs": config.all_epochs}
    return where | {"done": done}


def append(log: str, event: dict) -> None:
    """Adds an event to the log, from whatever process."""
    with open(log, "a", encoding="utf-8") as stream:  # one short write in append mode: lines of several processes never mix
        stream.write(json.dumps(event) + "\n")


@contextlib.contextmanager
def shown(kept: Mapping, given: int = 0) -> Iterator[str]:
    """Yields the log for runs and, unless `VARIABLE` names one that is watched already, shows it as a bar.

    Args:
        kept: for each run's configuration, how many of its epochs are in the store.
        given: how many runs are taken from a report's records.
    """
    left = [config.all_epochs - epochs for config, epochs in kept.items()]
    begun = {"left": sum(left), "runs": sum(epochs > 0 for epochs in left), "kept": sum(kept.values()), "given": given}
    watched = os.environ.get(VARIABLE)
    if watched:
        append(watched, begun)
        yield watched
        return
    from tqdm.auto import notebook_tqdm  # a widget where widgets can be shown, else the terminal's

    with files.scratch() as folder:
        log = str(folder / "progress.jsonl")
        with following(log, bar=notebook_tqdm) as tally:
            append(log, begun)
            yield log
        print(tally)


@contextlib.contextmanager
def following(log: str, bar: type[tqdm] = tqdm) -> Iterator[Tally]:
    """Shows the log as a bar for as long as the block lasts: a moving one on a terminal, else a line now and then.

    Yields a tally that is complete after the block.

    Args:
        log: the file that `append` adds to; it may not exist yet.
        bar: the kind of tqdm bar.
    """
    Path(log).touch()
    stop, tally = threading.Event(), Tally()
    follower = threading.Thread(target=_follow, args=(log, bar, tally, stop), daemon=True)
    follower.start()
    try:
        yield tally
    finally:
        stop.set()
        follower.join()


def _bar(kind: type[tqdm], plain: bool) -> tqdm:
    return kind(
        total=0,
        unit="epoch",
        leave=not plain,
        file=_Nowhere() if plain else None,
        smoothing=0.05,
        bar_format="{percentage:3.0f}% |{bar:6}| {n_fmt}/{total_fmt} epochs, {remaining} left{postfix}",
    )


class _Nowhere(io.TextIOBase):
    """Takes what tqdm would draw where nothing can be drawn over."""

    def write(self, text: str) -> int:
        return len(text)


def _follow(log: str, kind: type[tqdm], tally: Tally, stop: threading.Event) -> None:
    bar, seen, runs = None, {}, 0
    plain = kind is tqdm and not sys.stderr.isatty()
    said, before = time.monotonic(), ""
    with open(log, encoding="utf-8") as stream:
        while True:
            last = stop.is_set()
            for event in map(json.loads, stream):
                tally.add(event)
                if event.get("left"):
                    bar = bar or _bar(kind, plain)  # none where there is nothing to do
                    runs, bar.total = runs + event["runs"], bar.total + event["left"]
                elif bar and "found" in event:
                    bar.total -= event["found"]
                elif bar and "epoch" in event:
                    run = event["run"], event["epochs"]
                    if event["epoch"] > seen.get(run, 0):  # not where another worker does a lost one's epochs again
                        seen[run] = event["epoch"]
                        bar.update(event["done"])
                    bar.set_postfix_str(_where(event, len(seen), runs), refresh=False)
            if bar:
                bar.refresh()
                if plain and (last or time.monotonic() - said >= EVERY) and (now := str(bar).strip()) != before:
                    said, before = time.monotonic(), now
                    print(now, file=sys.stderr, flush=True)
            if last:
                bar and bar.close()
                return
            stop.wait(0.5)


def _where(event: dict, run: int, runs: int) -> str:
    """Fits 80 columns."""
    what = "replay" if event["chain"] else f"rate {event['rate']:g}"
    return f"{what}, run {run}/{runs}, epoch {event['epoch']}/{event['epochs']}"
