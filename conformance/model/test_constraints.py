"""Each constraint of the installed service model is enforced by the running server, and nothing stricter.

The requests are signed by botocore's signer and sent without its client-side validation.
"""

import copy
import dataclasses
import json
from urllib.parse import quote, urlencode

import pytest
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from constraints import LOGGING_CONFIGURATION, ROOM, generate, load_model
from server import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY

MODEL = load_model()
OPERATIONS = sorted(MODEL["operations"])
# What was generated when this was written, less a little: the suite must not pass by generating nothing.
CASES_MIN = 850
CASES_MIN_OF = {"CreateRoom": 90, "UpdateRoom": 80, "CreateLoggingConfiguration": 100, "CreateChatToken": 50}


@pytest.fixture(scope="module")
def pool(server):
    """Connections to the API."""
    pool = urllib3.connection_from_url(server.api, maxsize=4, retries=False, timeout=urllib3.Timeout(15))
    yield pool
    pool.close()


class Runner:
    """Sends cases and says what was wrong with the answer."""

    def __init__(self, server, chat, pool):
        self.server, self.chat, self.pool = server, chat, pool
        self.credentials = Credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY)
        self.room = self.logging_configuration = None

    def _real(self, value):
        if value == ROOM:
            return self.room
        if value == LOGGING_CONFIGURATION:
            return self.logging_configuration
        return value

    def _resources(self, operation):
        # Deletions need a resource of their own; so do updates, for the tags and attachments of one case to be gone.
        if self.room is None or operation in ("DeleteRoom", "TagResource"):
            self.room = self.chat.create_room()["arn"]
        if self.logging_configuration is None or operation == "DeleteLoggingConfiguration":
            destination = {"s3": {"bucketName": "logs"}}
            created = self.chat.create_logging_configuration(destinationConfiguration=destination)
            self.logging_configuration = created["arn"]

    def send(self, case):
        """Sends a case as it is: no validation on the way."""
        self._resources(case.operation)
        http = MODEL["operations"][case.operation]["http"]
        members = {name: self._real(value) for name, value in case.members.items()}
        path, query = http["requestUri"], ""
        if "{resourceArn}" in path:
            path = path.replace("{resourceArn}", quote(members.pop("resourceArn", ""), safe=""))
        if case.operation == "UntagResource":
            keys = members.pop("tagKeys", None) or []
            query = "?" + urlencode([("tagKeys", key) for key in keys], quote_via=quote) if keys else ""
        body = b"" if http["method"] in ("GET", "DELETE") else json.dumps(members).encode()
        request = AWSRequest(http["method"], self.server.api + path + query, data=body)
        request.headers["Content-Type"] = "application/json"
        SigV4Auth(self.credentials, "ivschat", REGION).add_auth(request)
        headers = dict(request.headers.items())
        return self.pool.urlopen(http["method"], path + query, body=body, headers=headers)

    def fault(self, case):
        """What is wrong with the answer to a case; `None` when it is as it must be."""
        answer = self.send(case)
        error_type = answer.headers.get("x-amzn-ErrorType")
        seen = f"{answer.status} {error_type} {answer.data[:300]!r}"
        if case.failing is None:
            not_found = case.may_be_not_found and (answer.status, error_type) == (404, "ResourceNotFoundException")
            expected = MODEL["operations"][case.operation]["http"]["responseCode"]
            return None if answer.status == expected or not_found else f"{case}: to be accepted, got {seen}"
        if (answer.status, error_type) != (400, "ValidationException"):
            return f"{case}: to be refused, got {seen}"
        error = json.loads(answer.data)
        entries = error.get("fieldList", [])
        names = [entry["name"] for entry in entries]
        named = [name for name in names if name == case.failing or (case.by_prefix and name.startswith(case.failing))]
        if error.get("reason") != "FIELD_VALIDATION_FAILED" or len(named) != 1 or len(names) != 1:
            return f"{case}: {case.failing} alone is to be named, got {seen}"
        if not all(text in entries[0]["message"] for text in case.allowed):
            return f"{case}: {case.allowed} is to be said, got {seen}"
        return None


@pytest.fixture(scope="module")
def runner(server, chat, pool):
    """Sends cases to the shared server."""
    return Runner(server, chat, pool)


@pytest.mark.parametrize(
    "operation", [pytest.param(name, marks=pytest.mark.covers(name)) for name in OPERATIONS]
)
def test_every_constraint_of(runner, operation, record_property):
    cases = generate(MODEL, operation)
    record_property("cases", len(cases))
    print(f"{operation}: {len(cases)} cases")
    assert len(cases) >= CASES_MIN_OF.get(operation, 8)
    faults = [fault for fault in map(runner.fault, cases) if fault]
    assert not faults, f"{len(faults)} of {len(cases)} cases:\n" + "\n".join(faults)


def test_the_generator_makes_enough_cases_of_both_kinds():
    cases = [case for operation in OPERATIONS for case in generate(MODEL, operation)]
    assert len(OPERATIONS) == 17
    assert len(cases) >= CASES_MIN
    assert sum(case.failing is None for case in cases) >= CASES_MIN // 5
    assert all(case.allowed for case in cases if case.failing is not None), "each refusal says what is allowed"
    assert len({str(case) for case in cases}) == len(cases), "no case twice"


def test_an_answer_that_does_not_say_what_is_allowed_is_seen(runner):
    refused = [case for case in generate(MODEL, "CreateRoom") if case.failing is not None]
    for case in refused:
        assert runner.fault(dataclasses.replace(case, allowed=(*case.allowed, "whatever you like"))), case


@pytest.mark.parametrize(
    ("shape", "constraint", "value"),
    [
        ("RoomName", "max", 129),
        ("RoomName", "max", 127),
        ("RoomMaxMessageLength", "max", 501),
        ("RoomMaxMessageRatePerSecond", "min", 2),
        ("TagKey", "max", 129),
        ("LoggingConfigurationIdentifierList", "max", 4),
        ("FallbackResult", "enum", ["ALLOW", "DENY", "ASK"]),
    ],
)
def test_a_planted_drift_is_seen(runner, shape, constraint, value):
    drifted = copy.deepcopy(MODEL)
    drifted["shapes"][shape][constraint] = value
    assert any(runner.fault(case) for case in generate(drifted, "CreateRoom"))
