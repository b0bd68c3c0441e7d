"""The outcomes that all suites left in `.test-results/*.jsonl`."""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / ".test-results"

OPERATIONS = (
    "CreateRoom", "GetRoom", "ListRooms", "UpdateRoom", "DeleteRoom", "CreateLoggingConfiguration",
    "GetLoggingConfiguration", "ListLoggingConfigurations", "UpdateLoggingConfiguration", "DeleteLoggingConfiguration",
    "CreateChatToken", "SendEvent", "DeleteMessage", "DisconnectUser", "TagResource", "UntagResource",
    "ListTagsForResource",
)  # fmt: skip
ACTIONS = ("SEND_MESSAGE", "DELETE_MESSAGE", "DISCONNECT_USER")
FRAMES = ("frame:MESSAGE", "frame:EVENT", "frame:ERROR")


def load():
    """All records: suite, test, outcome (`passed`, `failed` or `skipped`), client, covers."""
    records = []
    for path in sorted(RESULTS.glob("*.jsonl")):
        records += [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return records


def by_test(records):
    """The outcome of each test; passed only when each of its records passed."""
    outcomes = {}
    for record in records:
        known = outcomes.get(record["test"], "passed")
        outcomes[record["test"]] = record["outcome"] if known == "passed" else known
    return outcomes
