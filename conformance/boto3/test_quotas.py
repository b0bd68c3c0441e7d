"""boto3 against the limits profile `aws`: quotas of an account in a region, as typed errors with all their members, and
retries that get past them. Each test has a region of its own, and with it its own quotas.
"""

import itertools
import time

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

import clients
from clients import members_of
from edge import ChatSocket
from server import ACCOUNT

SECONDS_MAX = 60
# Of the server, lowered.
QUOTAS = {"GRANDSTAND_LIMITS_ROOMS": "3", "GRANDSTAND_LIMITS_DELETE_MESSAGE_REQUESTS_PER_SECOND": "2"}
S3 = {"s3": {"bucketName": "chat-logs"}}
REGIONS = (f"quotas-{number}" for number in itertools.count(1))


@pytest.fixture
def region():
    """A region that no other test uses."""
    return next(REGIONS)


@pytest.fixture
def strict(strict_server, region):
    """A client that tries once."""
    return clients.ivschat(strict_server, region=region)


@pytest.fixture
def patient(strict_server, region):
    """A client with boto3's standard retries, and enough of them that chance plays no part."""
    retries = Config(retries={"mode": "standard", "total_max_attempts": 20})
    return clients.ivschat(strict_server, region=region, config=retries)


def throttled(call):
    """The exception once `call` has been made too often; every call before it may fail in no other way."""
    give_up_at = time.monotonic() + SECONDS_MAX
    while time.monotonic() < give_up_at:
        try:
            call()
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ThrottlingException", error
            return error
    raise AssertionError(f"never throttled in {SECONDS_MAX} s")


@pytest.mark.covers("ListRooms", "GetRoom", "ListTagsForResource", "ListLoggingConfigurations", "SendEvent", "CreateChatToken")
def test_each_operation_has_aws_s_rate_and_its_throttling_exception_says_which(strict):
    room = strict.create_room()
    for call, subject, limit in (
        (strict.list_rooms, ACCOUNT, 5),
        (lambda: strict.get_room(identifier=room["arn"]), room["id"], 5),
        (lambda: strict.list_tags_for_resource(resourceArn=room["arn"]), room["id"], 10),
        (strict.list_logging_configurations, ACCOUNT, 3),
        (lambda: strict.send_event(roomIdentifier=room["arn"], eventName="app:flood"), room["id"], 100),
    ):
        error = throttled(call)
        assert isinstance(error, strict.exceptions.ThrottlingException)
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 429
        assert error.response["Error"] == {"Code": "ThrottlingException", "Message": "Rate exceeded"}
        assert members_of(error) == {
            "message": "Rate exceeded", "resourceId": subject, "resourceType": "ROOM", "limit": limit,
        }  # fmt: skip
    # Each operation has a rate of its own: this one has been left alone.
    assert strict.create_chat_token(roomIdentifier=room["arn"], userId="u")["token"]


@pytest.mark.covers("ListRooms")
def test_each_region_has_its_own_rate(strict_server, strict):
    throttled(strict.list_rooms)
    assert clients.ivschat(strict_server, region=next(REGIONS)).list_rooms()["rooms"] == []


@pytest.mark.covers("ListRooms")
def test_standard_retries_get_past_a_rate_by_themselves(patient):
    retried, calls = 0, 0
    give_up_at = time.monotonic() + SECONDS_MAX
    while retried < 3 or calls < 12:
        answer = patient.list_rooms()
        assert answer["rooms"] == []
        retried += answer["ResponseMetadata"]["RetryAttempts"] > 0
        calls += 1
        assert time.monotonic() < give_up_at, f"only {retried} of {calls} calls were throttled"


def check_quota(error, exceptions, limit, what):
    """A ServiceQuotaExceededException in full."""
    message = f"The account has {limit} {what} in this region already, its quota"
    assert isinstance(error, exceptions.ServiceQuotaExceededException)
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 402
    assert error.response["Error"] == {"Code": "ServiceQuotaExceededException", "Message": message}
    assert members_of(error) == {"message": message, "resourceId": ACCOUNT, "resourceType": "ROOM", "limit": limit}


@pytest.mark.covers("CreateRoom")
def test_one_room_too_many_is_a_service_quota_exceeded_exception(patient):
    rooms = [patient.create_room()["arn"] for _ in range(3)]
    with pytest.raises(ClientError) as caught:
        patient.create_room()
    check_quota(caught.value, patient.exceptions, 3, "rooms")
    assert len(patient.list_rooms()["rooms"]) == 3
    patient.delete_room(identifier=rooms[0])
    patient.create_room()


@pytest.mark.covers("CreateLoggingConfiguration")
def test_the_eleventh_logging_configuration_is_a_service_quota_exceeded_exception(patient):
    arns = [patient.create_logging_configuration(destinationConfiguration=S3)["arn"] for _ in range(10)]
    with pytest.raises(ClientError) as caught:
        patient.create_logging_configuration(destinationConfiguration=S3)
    check_quota(caught.value, patient.exceptions, 10, "logging configurations")
    patient.delete_logging_configuration(identifier=arns[0])
    patient.create_logging_configuration(destinationConfiguration=S3)


@pytest.mark.covers("DeleteMessage", "DELETE_MESSAGE", "frame:ERROR")
def test_deletions_over_the_api_and_over_sockets_share_a_quota(strict_server, strict):
    room = strict.create_room()
    token = strict.create_chat_token(roomIdentifier=room["arn"], userId="moderator", capabilities=["DELETE_MESSAGE"])
    error = throttled(lambda: strict.delete_message(roomIdentifier=room["arn"], id="M2YcHkgffEvU"))
    assert members_of(error)["limit"] == 2, "the lowered quota, and not the operation's own rate of 100"
    with ChatSocket(strict_server.edge, token["token"]) as socket:
        give_up_at = time.monotonic() + SECONDS_MAX
        while True:
            # The connection's own rate is 10, the quota 2: five at a time meet the quota first.
            for _ in range(5):
                socket.send_json({"Action": "DELETE_MESSAGE", "Id": "M2YcHkgffEvU"})
            answers = [socket.receive_json() for _ in range(5)]
            refused = [answer for answer in answers if answer["Type"] == "ERROR"]
            if refused:
                assert (refused[0]["ErrorCode"], refused[0]["ErrorMessage"]) == (429, "rate limit exceeded")
                return
            assert time.monotonic() < give_up_at, "never refused"
