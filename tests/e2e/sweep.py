#!/usr/bin/env python3
"""What an interrupted run of the tests has left: `sweep.py DIRECTORY`. Test programs that are still at work below it clean up after
themselves, and are given the time; everything that belongs to the directory afterwards is ended by force, and told."""

import sys
from pathlib import Path

from lib import Failed, end_processes, processes_of, wait_for


def main():
    base = Path(sys.argv[1]).resolve()
    if not base.name.startswith(("envctl-tests.", "e2e-")):
        sys.exit(f"{base} is no directory of the tests")
    try:
        wait_for(lambda: not [p for p in processes_of(base) if any("tests/e2e/" in a for a in p.argv)], "the tests to end", 60)
    except Failed as e:
        print(e, file=sys.stderr)
    for text in end_processes(base):
        print("ended", text, file=sys.stderr)


if __name__ == "__main__":
    main()
