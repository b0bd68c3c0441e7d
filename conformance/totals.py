"""Prints each suite's counts and, as the last line, the total; fails when anything failed.

Arguments: the names of suites whose command failed. A suite that failed without a failed test (it could not be built,
or it broke off) counts as one failure, so that nothing is hidden.
"""

import sys
from collections import Counter

from outcomes import load

# Which records belong to which command of ./test.
COMMAND_OF_SUITE = {"js-sdk": "node", "js-messaging": "node", "js-raw": "node", "browser": "node"}


def main():
    """Prints the counts; the exit code says whether anything failed."""
    records = load()
    counts = Counter((record["suite"], record["outcome"]) for record in records)
    print("\n== Suites")
    for suite in sorted({suite for suite, _ in counts}):
        skipped = counts[suite, "skipped"]
        print(
            f"{suite:<14} {counts[suite, 'passed']} passed, {counts[suite, 'failed']} failed"
            + (f", {skipped} skipped" if skipped else "")
        )
    failing_commands = {COMMAND_OF_SUITE.get(suite, suite) for (suite, outcome) in counts if outcome == "failed"}
    broken = [name for name in sys.argv[1:] if name not in failing_commands]
    for name in broken:
        print(f"{name:<14} broke off")
    # A skipped test proves nothing: it counts as failed.
    failed = sum(record["outcome"] != "passed" for record in records) + len(broken)
    print(f"\n{sum(record['outcome'] == 'passed' for record in records)} passed, {failed} failed")
    return failed > 0 or bool(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
