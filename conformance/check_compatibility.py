"""Checks that docs/compatibility.md is true: each row's test ran and passed, and no operation, action or frame lacks
a row; and that every client of the matrix proved what is required of it.

A row of a table names what it is about in its first column (`CreateRoom`, `SEND_MESSAGE`, `MESSAGE` frame, or a
difference from the service in words) and its tests in the last column, in backticks, separated by commas.
"""

import re
import sys

from matrix import REQUIRED, empty_cells
from outcomes import ACTIONS, FRAMES, OPERATIONS, ROOT, by_test, load

PAGE = ROOT / "docs" / "compatibility.md"
QUOTED = re.compile(r"`([^`]+)`")


def rows(text):
    """(first column, tests) of each row of each table."""
    for line in text.splitlines():
        if not line.startswith("|"):
            continue
        columns = [column.strip() for column in line.strip().strip("|").split("|")]
        if set(line) <= set("|-: ") or columns[-1] == "test":
            continue
        yield columns[0], QUOTED.findall(columns[-1])


def named_things(text):
    """Operations, actions and frames that a first column stands for."""
    for first, _ in rows(text):
        for name in QUOTED.findall(first):
            yield f"frame:{name}" if f"frame:{name}" in FRAMES else name


def outcome(test, outcomes):
    """The outcome of a test; a name without parameters stands for all of its variants."""
    variants = [value for name, value in outcomes.items() if name == test or name.startswith(f"{test}[")]
    if not variants:
        return "did not run"
    return "passed" if set(variants) == {"passed"} else "did not pass"


def faults(text, outcomes):
    """What is wrong with the page, as lines."""
    named = set(named_things(text))
    for name in (*OPERATIONS, *ACTIONS, *FRAMES):
        if name not in named:
            yield f"{name} has no row"
    for first, tests in rows(text):
        if not tests:
            yield f"no test is named for: {first}"
        for test in tests:
            if (result := outcome(test, outcomes)) != "passed":
                yield f"{test} {result} (row: {first})"


def main():
    """Prints what is wrong; the exit code says whether anything is."""
    text = PAGE.read_text()
    records = load()
    found = list(faults(text, by_test(records)))
    empty = list(empty_cells(records))
    required = sum(map(len, REQUIRED.values()))
    print(f"\n== Compatibility: {sum(1 for _ in rows(text))} rows, {len(found)} of them unproved or missing")
    print(f"   Clients: {required} cells of the matrix are required, {len(empty)} of them empty")
    for line in (*found, *empty):
        print(f"  {line}")
    return bool(found or empty)


if __name__ == "__main__":
    sys.exit(main())
