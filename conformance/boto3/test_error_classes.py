"""boto3: every error class of the public model that has a cause here, as botocore reads it: class, status and all members.

The model is the one that botocore ships, so a class that it gets one day fails this file until it has its place.
"""

import resource
import time

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

import clients
from clients import body_of, members_of
from server import ACCOUNT, Server, logging_configuration_arn, room_arn

SECONDS_MAX = 60
UNKNOWN = "AbCdEfGh1234"
S3 = {"s3": {"bucketName": "chat-logs"}}
# Accounts are never pending, and root may do everything.
WITHOUT_A_CAUSE = {"AccessDeniedException", "PendingVerification"}
# A damaged page of the store's file makes this one: see `durability/test_commands.py`.
MADE_ELSEWHERE = {"InternalServerException"}


def modelled_errors():
    """The error classes of the model and their HTTP status."""
    model = botocore.session.get_session().get_service_model("ivschat")
    return {shape.name: shape.metadata["error"]["httpStatusCode"] for shape in model.error_shapes}


def not_found(chat):
    """A room that is not there."""
    chat.get_room(identifier=room_arn(UNKNOWN))


def conflict(chat):
    """The deletion of a logging configuration that a room has."""
    used = chat.create_logging_configuration(destinationConfiguration=S3)["arn"]
    chat.create_room(loggingConfigurationIdentifiers=[used])
    chat.delete_logging_configuration(identifier=used)


def invalid(chat):
    """Members that break the model's constraints in ways that botocore does not look for itself."""
    chat.create_room(name="not a name", maximumMessageLength=501)


def throttled(chat):
    """More requests than the rate allows."""
    give_up_at = time.monotonic() + SECONDS_MAX
    while time.monotonic() < give_up_at:
        chat.list_rooms()


def too_many(chat):
    """More rooms than the quota allows."""
    for _ in range(3):
        chat.create_room()


CAUSES = {
    "ConflictException": (conflict, lambda found: {
        "message": f"Resource: {logging_configuration_arn(found['resourceId'], 'conflict')} is in use by a room",
        "resourceId": found["resourceId"], "resourceType": "ROOM",
    }),
    "ResourceNotFoundException": (not_found, lambda _: {
        "message": f"Resource: {room_arn(UNKNOWN)} not found", "resourceId": UNKNOWN, "resourceType": "ROOM",
    }),
    "ServiceQuotaExceededException": (too_many, lambda _: {
        "message": "The account has 2 rooms in this region already, its quota",
        "resourceId": ACCOUNT, "resourceType": "ROOM", "limit": 2,
    }),
    "ThrottlingException": (throttled, lambda _: {
        "message": "Rate exceeded", "resourceId": ACCOUNT, "resourceType": "ROOM", "limit": 5,
    }),
    "ValidationException": (invalid, lambda _: {
        "message": "Request members: name, maximumMessageLength failed to satisfy the constraints, see fieldList",
        "reason": "FIELD_VALIDATION_FAILED",
        "fieldList": [
            {"name": "name", "message": "must be a string of 0 to 128 characters that matches [a-zA-Z0-9-_]*"},
            {"name": "maximumMessageLength", "message": "must be an integer from 1 to 500"},
        ],
    }),
}  # fmt: skip


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory):
    """A server with quotas, one of them low."""
    environment = {"GRANDSTAND_LIMITS_PROFILE": "aws", "GRANDSTAND_LIMITS_ROOMS": "2"}
    server = Server(tmp_path_factory.mktemp("errors") / "data", environment=environment).start()
    yield server
    server.stop()


def test_every_error_class_of_the_model_has_a_cause_or_is_known_to_have_none():
    assert sorted([*CAUSES, *WITHOUT_A_CAUSE, *MADE_ELSEWHERE]) == sorted(modelled_errors())


@pytest.mark.covers("GetRoom", "CreateRoom", "ListRooms", "DeleteLoggingConfiguration")
@pytest.mark.parametrize("name", CAUSES)
def test_the_error_arrives_as_its_own_class_with_all_its_members(strict_server, name):
    chat = clients.ivschat(strict_server, region=name.removesuffix("Exception").lower())
    cause, expected = CAUSES[name]
    with pytest.raises(getattr(chat.exceptions, name)) as caught:
        cause(chat)
    response = caught.value.response
    members = members_of(caught.value)
    expected = expected(members)
    assert members == expected
    assert response["Error"] == {"Code": name, "Message": expected["message"]}
    metadata = response["ResponseMetadata"]
    assert metadata["HTTPStatusCode"] == modelled_errors()[name]
    assert metadata["HTTPHeaders"]["x-amzn-requestid"] == metadata["RequestId"] != ""
    assert (metadata["HTTPHeaders"]["content-type"], metadata["HTTPHeaders"]["x-amzn-errortype"]) == (
        "application/json", name,
    )  # fmt: skip


@pytest.fixture
def cramped_server(tmp_path):
    """A server that is told when a file cannot grow, instead of being killed: `setrlimit` can then make its disk full."""
    wrapper = ("sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh")
    server = Server(tmp_path / "data", wrapper=wrapper).start()
    yield server
    server.stop()


@pytest.mark.covers("CreateRoom", "GetRoom")
def test_a_store_that_cannot_write_is_a_503_which_standard_retries_outlast(cramped_server):
    chat = clients.ivschat(cramped_server)
    room = chat.create_room(name="before")
    process, unlimited = cramped_server.process.pid, resource.RLIM_INFINITY
    largest = max(file.stat().st_size for file in cramped_server.data_dir.iterdir() if file.is_file())
    resource.prlimit(process, resource.RLIMIT_FSIZE, (largest, unlimited))
    with pytest.raises(ClientError) as caught:
        # The write-ahead log is the largest file; what still fits behind its end does not reach beyond it.
        for _ in range(100):
            chat.create_room()
    response = caught.value.response
    assert response["Error"] == {
        "Code": "ServiceUnavailable", "Message": "The server cannot process requests at the moment",
    }  # fmt: skip
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert body_of(chat.get_room(identifier=room["arn"])) == body_of(room)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (unlimited, unlimited))
    retries = Config(retries={"mode": "standard", "total_max_attempts": 20})
    assert clients.ivschat(cramped_server, config=retries).create_room(name="after")["name"] == "after"
