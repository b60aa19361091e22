"""`python -m bnlib COMMAND`: what make does in a checkout, anywhere."""

import argparse
import runpy
import sys

COMMANDS = {
    "report": "run what is missing and render the pages",
    "reproduce": "do a whole report anew and say what agrees",
    "verify": "check a report's records and pages; do some runs anew",
    "adopt": "after a change that leaves bits alone: show it, keep runs",
    "bench": "time training beside the original's loop",
}


def main() -> None:
    """Runs one of `COMMANDS` as `python -m bnlib.commands.COMMAND` does."""
    parser = argparse.ArgumentParser(
        "python -m bnlib",
        description="\n".join(f"  {name:10} {what}" for name, what in COMMANDS.items()),
        epilog="What is asked for is in environment variables, as for make: SEEDS=5 DATASET=mnist python -m bnlib report. "
        "Relative places count from this folder: reports into reports, finished runs into .cache, data into data.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    command = parser.parse_args().command
    sys.argv = sys.argv[:1]
    runpy.run_module(f"bnlib.commands.{command}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
