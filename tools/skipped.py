#!/usr/bin/env python3
"""Prints which tests of a ctest run were skipped: a line for each reason, with the number of cases.

    tools/skipped.py LOG    LOG is ctest's own: build/PRESET/Testing/Temporary/LastTest.log

A test says "SKIPPED: reason" on a line of its own, and Python's unittest counts what it skips. Reasons that differ only
in the path of a file count as one, which is shown with the first path."""
import collections
import pathlib
import re
import sys

REASON = re.compile(r"SKIPPED: (.+)")
UNITTEST = re.compile(r"OK \(skipped=(\d+)\)")
PATH = re.compile(r"\S*/\S+")


def skipped(text):
    """Returns (number, reason) for each reason, the most frequent first."""
    counts, shown = collections.Counter(), {}
    for line in text.splitlines():
        if match := REASON.fullmatch(line.rstrip()):
            reason, number = match[1], 1
        elif match := UNITTEST.fullmatch(line.rstrip()):
            reason, number = "Python tests that name their reasons when they are run with -v", int(match[1])
        else:
            continue
        kind = PATH.sub("/", reason)
        counts[kind] += number
        shown.setdefault(kind, reason)
    return [(number, shown[kind]) for kind, number in counts.most_common()]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for number, reason in skipped(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8", errors="replace")):
        print(f"{number} case{'s' if number > 1 else ''}: {reason}")


if __name__ == "__main__":
    main()
