"""Turns the output of `cargo test` into the records that the other suites write themselves."""

import json
import re
import sys
from pathlib import Path

BINARY = re.compile(r"\s*Running (?:unittests )?(\S+) \(.*/([a-zA-Z0-9_]+)-[0-9a-f]+\)$")
DOC_TESTS = re.compile(r"\s*Doc-tests (\S+)$")
TEST = re.compile(r"test (.+) \.\.\. (ok|FAILED|ignored)(?:, .*)?$")
OUTCOMES = {"ok": "passed", "FAILED": "failed", "ignored": "skipped"}


def records(lines):
    """One record per test line."""
    binary = "?"
    for line in lines:
        if match := BINARY.match(line):
            binary = match[2]
        elif match := DOC_TESTS.match(line):
            binary = f"{match[1]} (documentation)"
        elif match := TEST.match(line):
            name = match[1].removesuffix(" - should panic")
            yield {
                "suite": "cargo", "test": f"{binary}::{name}", "outcome": OUTCOMES[match[2]], "client": "cargo", "covers": [],
            }  # fmt: skip


if __name__ == "__main__":
    found = list(records(Path(sys.argv[1]).read_text().splitlines()))
    for record in found:
        print(json.dumps(record))
    if not found:
        sys.exit("cargo test ran no test")
