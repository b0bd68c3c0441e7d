"""The AWS CLI from PyPI, in a process of its own, with nothing but `AWS_ENDPOINT_URL_IVSCHAT`: all 17 operations.

Whole answers are compared: what was asked for is equal, ids and times have their form, and times are near.
"""

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pytest

from edge import ChatSocket
from server import (
    ACCESS_KEY_ID, ID, MILLIS_TIME, NANOS_TIME, REGION, SECRET_ACCESS_KEY, logging_configuration_arn, room_arn,
)  # fmt: skip

DEADLINE_SECONDS = 60
HANDLER = "arn:aws:lambda:us-west-2:123456789012:function:review"


def moment(text):
    """A time as the server writes it, which the CLI passes on."""
    assert MILLIS_TIME.match(text), text
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)


def is_near(text, after=timedelta()):
    """Whether a time is within a minute of now, or of so long after it."""
    return abs(moment(text) - datetime.now(timezone.utc) - after) < timedelta(minutes=1)


@pytest.fixture(scope="module")
def aws(server, tmp_path_factory):
    """Runs `aws ivschat …`: the parsed output, or `None` when there was none."""
    home = tmp_path_factory.mktemp("home")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "AWS_ENDPOINT_URL_IVSCHAT": server.api,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "LANG": "C.UTF-8",
    }

    def aws(*arguments, fails=False):
        command = [sys.executable, "-m", "awscli", "ivschat", *arguments, "--output", "json"]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
        )
        if fails:
            assert done.returncode != 0
            return done.stderr
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    return aws


@pytest.fixture(scope="module")
def room(aws):
    """A room for the tests that only read it."""
    return aws("create-room", "--name", "cli", "--tags", "made=cli")


@pytest.mark.covers("CreateRoom", "GetRoom", "ListRooms", "UpdateRoom", "DeleteRoom")
def test_the_life_of_a_room(aws):
    created = aws(
        "create-room", "--name", "cli-life", "--maximum-message-length", "7", "--maximum-message-rate-per-second", "20",
        "--message-review-handler", f"uri={HANDLER},fallbackResult=DENY", "--tags", "a=b",
    )  # fmt: skip
    assert ID.match(created["id"]) and is_near(created["createTime"])
    assert created == {
        "arn": room_arn(created["id"]),
        "id": created["id"],
        "name": "cli-life",
        "createTime": created["createTime"],
        "updateTime": created["createTime"],
        "maximumMessageRatePerSecond": 20,
        "maximumMessageLength": 7,
        "messageReviewHandler": {"uri": HANDLER, "fallbackResult": "DENY"},
        "tags": {"a": "b"},
    }
    arn = created["arn"]
    assert aws("get-room", "--identifier", arn) == created
    updated = aws("update-room", "--identifier", arn, "--name", "cli-renamed", "--maximum-message-length", "8")
    assert is_near(updated["updateTime"]) and moment(updated["updateTime"]) > moment(created["updateTime"])
    assert updated == created | {"name": "cli-renamed", "maximumMessageLength": 8, "updateTime": updated["updateTime"]}
    assert aws("get-room", "--identifier", arn) == updated
    # The published example of the CLI passes an empty token.
    listed = aws("list-rooms", "--name", "cli-renamed", "--next-token", "", "--max-results", "5")
    hidden = ("maximumMessageLength", "maximumMessageRatePerSecond")
    assert listed == {"rooms": [{name: value for name, value in updated.items() if name not in hidden}]}
    assert aws("delete-room", "--identifier", arn) is None
    assert aws("list-rooms", "--name", "cli-renamed") == {"rooms": []}
    error = aws("get-room", "--identifier", arn, fails=True)
    assert "(ResourceNotFoundException)" in error and "GetRoom" in error and f"Resource: {arn} not found" in error


@pytest.mark.covers(
    "CreateLoggingConfiguration", "GetLoggingConfiguration", "ListLoggingConfigurations", "UpdateLoggingConfiguration",
    "DeleteLoggingConfiguration",
)  # fmt: skip
def test_the_life_of_a_logging_configuration(aws):
    created = aws(
        "create-logging-configuration", "--name", "cli-logs", "--destination-configuration", "s3={bucketName=chat-logs}",
        "--tags", "a=b",
    )  # fmt: skip
    assert ID.match(created["id"]) and is_near(created["createTime"])
    assert created == {
        "arn": logging_configuration_arn(created["id"]),
        "id": created["id"],
        "createTime": created["createTime"],
        "updateTime": created["createTime"],
        "name": "cli-logs",
        "destinationConfiguration": {"s3": {"bucketName": "chat-logs"}},
        "state": "ACTIVE",
        "tags": {"a": "b"},
    }
    arn = created["arn"]
    assert aws("get-logging-configuration", "--identifier", arn) == created
    updated = aws(
        "update-logging-configuration", "--identifier", arn, "--name", "cli-renamed",
        "--destination-configuration", "firehose={deliveryStreamName=chat}",
    )  # fmt: skip
    assert is_near(updated["updateTime"]) and moment(updated["updateTime"]) > moment(created["updateTime"])
    assert updated == created | {
        "name": "cli-renamed",
        "destinationConfiguration": {"firehose": {"deliveryStreamName": "chat"}},
        "updateTime": updated["updateTime"],
    }
    listed = aws("list-logging-configurations", "--max-results", "1")
    assert listed.pop("nextToken", "more") != ""
    assert listed == {"loggingConfigurations": [updated]}
    assert aws("delete-logging-configuration", "--identifier", arn) is None
    error = aws("get-logging-configuration", "--identifier", arn, fails=True)
    assert "(ResourceNotFoundException)" in error and f"Resource: {arn} not found" in error


@pytest.mark.covers("CreateChatToken")
def test_create_chat_token(aws, server, room):
    created = aws(
        "create-chat-token", "--room-identifier", room["arn"], "--user-id", "11231234",
        "--capabilities", "SEND_MESSAGE", "--session-duration-in-minutes", "30", "--attributes", "displayName=CLI",
    )  # fmt: skip
    assert is_near(created["sessionExpirationTime"], timedelta(minutes=30))
    # Up to a tenth earlier than the session, at random.
    earlier = moment(created["sessionExpirationTime"]) - moment(created["tokenExpirationTime"])
    assert timedelta() <= earlier <= timedelta(minutes=3)
    assert created == {
        "token": created["token"],
        "tokenExpirationTime": created["tokenExpirationTime"],
        "sessionExpirationTime": created["sessionExpirationTime"],
    }
    with ChatSocket(server.edge, created["token"]) as socket:
        message = socket.act(Action="SEND_MESSAGE", Content="hello")
    assert message["Sender"] == {"UserId": "11231234", "Attributes": {"displayName": "CLI"}}


@pytest.mark.covers("SendEvent", "DeleteMessage", "DisconnectUser")
def test_messages_and_events(aws, chat, server, room):
    arn = room["arn"]
    token = chat.create_chat_token(roomIdentifier=arn, userId="ABC")["token"]
    with ChatSocket(server.edge, token) as viewer:

        def check_event(name, attributes, answer=None):
            """The room hears of it; the id is the one that was answered."""
            frame = viewer.receive_json()
            assert ID.match(frame["Id"]) and NANOS_TIME.match(frame["SendTime"])
            if answer is not None:
                assert answer == {"id": frame["Id"]}
            assert frame == {
                "Type": "EVENT", "Id": frame["Id"], "RequestId": "", "EventName": name, "Attributes": attributes,
                "SendTime": frame["SendTime"],
            }  # fmt: skip

        sent = aws("send-event", "--room-identifier", arn, "--event-name", "SystemMessage", "--attributes", "msg=hi")
        check_event("SystemMessage", {"msg": "hi"}, sent)
        deleted = aws("delete-message", "--room-identifier", arn, "--id", sent["id"], "--reason", "rude")
        check_event(
            "aws:DELETE_MESSAGE", {"MessageID": sent["id"], "MessageId": sent["id"], "Reason": "rude"}, deleted
        )
        # The CLI prints nothing for an empty answer.
        assert aws("disconnect-user", "--room-identifier", arn, "--user-id", "ABC", "--reason", "rude") is None
        check_event("aws:DISCONNECT_USER", {"UserId": "ABC", "Reason": "rude"})
        assert viewer.receive_close() == (1000, "rude")


@pytest.mark.covers("TagResource", "UntagResource", "ListTagsForResource")
def test_tags(aws):
    arn = aws("create-room", "--tags", "made=cli")["arn"]
    assert aws("tag-resource", "--resource-arn", arn, "--tags", "tag1=one,tag2=two") is None
    assert aws("list-tags-for-resource", "--resource-arn", arn) == {"tags": {"made": "cli", "tag1": "one", "tag2": "two"}}
    assert aws("untag-resource", "--resource-arn", arn, "--tag-keys", "tag1", "tag2") is None
    assert aws("list-tags-for-resource", "--resource-arn", arn) == {"tags": {"made": "cli"}}


def test_a_typed_error_is_readable(aws):
    error = aws("create-room", "--name", "not a name", fails=True)
    assert error.strip() == (
        "An error occurred (ValidationException) when calling the CreateRoom operation: Request member: name failed to "
        "satisfy the constraints: must be a string of 0 to 128 characters that matches [a-zA-Z0-9-_]*"
    )
