"""RFC 6455 by Autobahn's own cases, which PyPI `kosoku` drives: against the codec, the connections and the TLS of the edge.

The example `echo` is the edge with one difference: a message comes back instead of being an action, since that is what
the cases expect. Groups 12 and 13 are about compression, which the edge declines.
"""

import asyncio
import ssl
from collections import Counter

import kosoku
import pytest

from echo import Doorman, Echo

# There is no group 8.
GROUPS = [f"{group}.*" for group in (1, 2, 3, 4, 5, 6, 7, 9, 10)]
CASES = 301
# Whatever a server does there is right; Autobahn only tells what it was.
INFORMATIONAL = {"7.1.6", "7.13.1", "7.13.2"}
# The longest message of the cases of group 9.
MESSAGE_BYTES_MAX = 16 * 1024 * 1024
CASES_AT_ONCE = 8


async def run_cases(echo, tls=None):
    """The verdicts by case: on the exchange of messages, and on the closing handshake."""
    async with Doorman(echo, tls) as doorman:
        try:
            results = await kosoku.run_fuzzingclient(doorman.url, GROUPS, concurrency=CASES_AT_ONCE)
        except kosoku.FailureError as failure:
            failed = [f"{result.case_id}: {result.result}; {result.result_close}" for result in failure.results]
            raise AssertionError("\n".join(failed)) from None
    return {result.case_id: (result.behavior.value, result.behavior_close.value) for result in results}


@pytest.mark.parametrize("transport", ["plain", "over TLS"])
def test_all_cases_are_ok_but_those_that_only_inform(transport, request, capsys):
    certificate, tls = (), None
    if transport == "over TLS":
        certificate = request.getfixturevalue("certificate")
        tls = ssl.create_default_context(cafile=certificate[0])
    with Echo(MESSAGE_BYTES_MAX, certificate) as echo:
        verdicts = asyncio.run(run_cases(echo, tls))
    counts = Counter(behavior for behavior, _ in verdicts.values())
    with capsys.disabled():
        print(f"\nAutobahn's cases, {transport}: {len(verdicts)}, of them", ", ".join(f"{n} {b}" for b, n in counts.items()))
    others = {case: verdict for case, verdict in verdicts.items() if verdict != ("OK", "OK")}
    assert others == dict.fromkeys(INFORMATIONAL, ("INFORMATIONAL", "INFORMATIONAL"))
    assert counts == {"OK": CASES - len(INFORMATIONAL), "INFORMATIONAL": len(INFORMATIONAL)}
