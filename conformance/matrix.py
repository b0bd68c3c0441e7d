"""The matrix of clients and what they proved: operations, socket actions and frames.

Printed after every run; a whole run fails when a required cell is empty (see check_compatibility.py).
"""

from collections import defaultdict

from outcomes import ACTIONS, FRAMES, OPERATIONS, load

# What each client that nobody here wrote must prove. Other clients prove more, and nothing is asked of them.
REQUIRED = {
    "boto3": OPERATIONS,
    "AWS CLI": OPERATIONS,
    "@aws-sdk/client-ivschat": OPERATIONS,
    "aws-sdk-ivschat": OPERATIONS,
    "amazon-ivs-chat-messaging": (*ACTIONS, *FRAMES),
    "amazon-ivs-chat-messaging in Chromium": (*ACTIONS, *FRAMES),
    "raw clients of old": (*ACTIONS, *FRAMES),
    "Python websockets": (*ACTIONS, *FRAMES),
    "tokio-tungstenite": (*ACTIONS, *FRAMES),
}


def cells(records):
    """(covered thing, client) -> how many tests passed and failed."""
    counts = defaultdict(lambda: [0, 0])
    for record in records:
        for name in record["covers"]:
            counts[name, record["client"]][record["outcome"] != "passed"] += 1
    return counts


def empty_cells(records):
    """The required cells that no test proved, as lines."""
    counts = cells(records)
    for client, names in REQUIRED.items():
        for name in names:
            passed, _ = counts.get((name, client), (0, 0))
            if not passed:
                yield f"no test passed that covers {name} with {client}"


def main():
    """Prints one row per operation, action and frame, one column per client."""
    counts = cells(load())
    clients = sorted({client for _, client in counts})
    if not clients:
        return
    print("\n== Clients and operations: tests that passed (! some failed, - none)")
    for number, client in enumerate(clients, 1):
        print(f"  {number}: {client}")
    width = max(map(len, (*OPERATIONS, *FRAMES)))
    print(" " * width, *(f"{number:>5}" for number in range(1, len(clients) + 1)))
    for name in (*OPERATIONS, *ACTIONS, *FRAMES):
        row = [counts.get((name, client), [0, 0]) for client in clients]
        texts = ["-" if not passed + failed else f"{passed}{'!' if failed else ''}" for passed, failed in row]
        print(f"{name:<{width}}", *(f"{text:>5}" for text in texts))


if __name__ == "__main__":
    main()
