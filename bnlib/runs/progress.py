"""How far the runs are: workers append lines to a log, and one bar, in a notebook or on a terminal, follows it."""

import contextlib
import io
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

VARIABLE = "BNLIB_PROGRESS"  # names the log when somebody else shows it
EVERY = 8.0  # seconds between lines where the output is no terminal


@dataclass
class Tally:
    """How many runs were finished, how many epochs they were trained for, and how many epochs the store had."""

    runs: int = 0
    epochs: int = 0
    kept: int = 0


def event(config, epoch: int, ended: bool = False) -> dict:
    """That `config`'s run finished an epoch; `ended` if it stops there, whatever epochs it had left."""
    done = config.all_epochs - epoch + 1 if ended else 1
    where = {"rate": config.learning_rate, "chain": bool(config.later_rates), "run": str(config.changed)}
    where |= {"epoch": epoch, "epochs": config.all_epochs}
    return where | {"done": done}


def append(log: str, event: dict) -> None:
    """Adds an event to the log, from whatever process."""
    with open(log, "a") as stream:  # one short write in append mode: lines of several processes never mix
        stream.write(json.dumps(event) + "\n")


@contextlib.contextmanager
def shown(kept: Mapping) -> Iterator[str]:
    """Yields the log for runs and, unless `VARIABLE` names one that is watched already, shows it as a bar.

    Args:
        kept: for each run's configuration, how many of its epochs are in the store.
    """
    left = {config: config.all_epochs - epochs for config, epochs in kept.items()}
    runs = sum(epochs > 0 for epochs in left.values())
    watched = os.environ.get(VARIABLE)
    if watched:
        first = next(iter(kept))
        begun = {"rate": first.learning_rate, "chain": bool(first.later_rates)}
        append(watched, {"kept": len(kept) - runs, "epochs": sum(kept.values())} | begun)
        yield watched
        return
    from tqdm.auto import notebook_tqdm  # a widget where widgets can be shown, else the terminal's

    with tempfile.TemporaryDirectory(prefix="bnlib-") as folder:
        log = str(Path(folder) / "progress.jsonl")
        with following(log, sum(left.values()), runs, bar=notebook_tqdm):
            yield log


@contextlib.contextmanager
def following(log: str, epochs: int, runs: int, rates: Sequence[float] = (), bar: type[tqdm] = tqdm) -> Iterator[Tally]:
    """Shows the log as a bar for as long as the block lasts: a moving one on a terminal, else a line now and then.

    Yields a tally that is complete after the block.

    Args:
        log: the file that `append` adds to; it may not exist yet.
        epochs, runs: how many there are in all.
        rates: the learning rates in the order in which they are run, to say which one it is.
        bar: the kind of tqdm bar.
    """
    Path(log).touch()
    plain = bar is tqdm and not sys.stderr.isatty()
    shown_bar = bar(
        total=epochs,
        unit="epoch",
        leave=not plain,
        disable=epochs == 0,
        file=_Nowhere() if plain else None,
        smoothing=0.05,
        bar_format="{percentage:3.0f}% |{bar:6}| {n_fmt}/{total_fmt} epochs, {remaining} left{postfix}",
    )
    stop, tally = threading.Event(), Tally()
    follower = threading.Thread(target=_follow, args=(log, shown_bar, tally, runs, list(rates), plain, stop), daemon=True)
    follower.start()
    try:
        yield tally
    finally:
        stop.set()
        follower.join()
        shown_bar.close()


class _Nowhere(io.TextIOBase):
    """Takes what tqdm would draw where nothing can be drawn over."""

    def write(self, text: str) -> int:
        return len(text)


def _follow(log: str, bar: tqdm, tally: Tally, runs: int, rates: list[float], plain: bool, stop: threading.Event) -> None:
    seen: dict[tuple, int] = {}
    said, before = time.monotonic(), ""
    with open(log) as stream:
        while True:
            last = stop.is_set()
            for line in stream:
                event = json.loads(line)
                if "kept" in event:
                    # What the store holds is neither work done nor work left.
                    runs, bar.total = runs - event["kept"], max(bar.total - event["epochs"], 0)
                    tally.kept += event["epochs"]
                    bar.unpause()  # no runs went on since the last notebook's: the time left should not count that
                    bar.set_postfix_str(f"{_rate(event, rates)}, first epochs", refresh=False)
                elif "trained" in event:
                    tally.runs, tally.epochs = tally.runs + 1, tally.epochs + event["trained"]
                else:
                    run = event["run"], event["epochs"]
                    if event["epoch"] > seen.get(run, 0):  # not where another worker does a lost one's epochs again
                        seen[run] = event["epoch"]
                        bar.update(event["done"])
                    bar.set_postfix_str(_where(event, len(seen), runs, rates), refresh=False)
            bar.refresh()
            if plain and bar.total and (last or time.monotonic() - said >= EVERY) and (now := str(bar).strip()) != before:
                said, before = time.monotonic(), now
                print(now, file=sys.stderr, flush=True)
            if last:
                return
            stop.wait(0.5)


def _where(event: dict, run: int, runs: int, rates: list[float]) -> str:
    return f"{_rate(event, rates)}, run {run}/{runs}, epoch {event['epoch']}/{event['epochs']}"  # fits 80 columns


def _rate(event: dict, rates: list[float]) -> str:
    """Which rate, and its place among those that are asked for."""
    if event["chain"]:
        return "replay"
    which = f" ({rates.index(event['rate']) + 1}/{len(rates)})" if event["rate"] in rates else ""
    return f"rate {event['rate']:g}{which}"
