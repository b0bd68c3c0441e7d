"""The AWS CLI from PyPI, in a process of its own, with nothing but `AWS_ENDPOINT_URL_IVSCHAT`: all 17 operations."""

import json
import os
import subprocess
import sys

import pytest

from server import ACCESS_KEY_ID, ACCOUNT, ID, REGION, SECRET_ACCESS_KEY

DEADLINE_SECONDS = 60


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
    created = aws("create-room", "--name", "cli-life", "--maximum-message-length", "7", "--tags", "a=b")
    assert ID.match(created["id"])
    assert created == {
        "arn": f"arn:aws:ivschat:{REGION}:{ACCOUNT}:room/{created['id']}",
        "id": created["id"],
        "name": "cli-life",
        "createTime": created["createTime"],
        "updateTime": created["createTime"],
        "maximumMessageRatePerSecond": 10,
        "maximumMessageLength": 7,
        "tags": {"a": "b"},
    }
    arn = created["arn"]
    assert aws("get-room", "--identifier", arn) == created
    updated = aws("update-room", "--identifier", arn, "--name", "cli-renamed")
    assert updated == created | {"name": "cli-renamed", "updateTime": updated["updateTime"]}
    # The published example of the CLI passes an empty token.
    listed = aws("list-rooms", "--name", "cli-renamed", "--next-token", "", "--max-results", "5")
    assert [entry["arn"] for entry in listed["rooms"]] == [arn] and "nextToken" not in listed
    assert aws("delete-room", "--identifier", arn) is None
    error = aws("get-room", "--identifier", arn, fails=True)
    assert "(ResourceNotFoundException)" in error and "GetRoom" in error


@pytest.mark.covers(
    "CreateLoggingConfiguration", "GetLoggingConfiguration", "ListLoggingConfigurations", "UpdateLoggingConfiguration",
    "DeleteLoggingConfiguration",
)  # fmt: skip
def test_the_life_of_a_logging_configuration(aws):
    created = aws(
        "create-logging-configuration", "--name", "cli-logs", "--destination-configuration", "s3={bucketName=chat-logs}"
    )
    assert created == {
        "arn": f"arn:aws:ivschat:{REGION}:{ACCOUNT}:logging-configuration/{created['id']}",
        "id": created["id"],
        "createTime": created["createTime"],
        "updateTime": created["updateTime"],
        "name": "cli-logs",
        "destinationConfiguration": {"s3": {"bucketName": "chat-logs"}},
        "state": "ACTIVE",
        "tags": {},
    }
    arn = created["arn"]
    assert aws("get-logging-configuration", "--identifier", arn) == created
    assert created in aws("list-logging-configurations")["loggingConfigurations"]
    updated = aws("update-logging-configuration", "--identifier", arn, "--name", "cli-renamed")
    assert updated == created | {"name": "cli-renamed", "updateTime": updated["updateTime"]}
    assert aws("delete-logging-configuration", "--identifier", arn) is None
    assert "(ResourceNotFoundException)" in aws("get-logging-configuration", "--identifier", arn, fails=True)


@pytest.mark.covers("CreateChatToken")
def test_create_chat_token(aws, room):
    token = aws(
        "create-chat-token", "--room-identifier", room["arn"], "--user-id", "11231234",
        "--capabilities", "SEND_MESSAGE", "--session-duration-in-minutes", "30",
    )  # fmt: skip
    assert set(token) == {"token", "tokenExpirationTime", "sessionExpirationTime"} and token["token"]


@pytest.mark.covers("SendEvent", "DeleteMessage", "DisconnectUser")
def test_messages_and_events(aws, room):
    sent = aws("send-event", "--room-identifier", room["arn"], "--event-name", "SystemMessage", "--attributes", "msg=hi")
    assert set(sent) == {"id"} and ID.match(sent["id"])
    deleted = aws("delete-message", "--room-identifier", room["arn"], "--id", sent["id"], "--reason", "rude")
    assert set(deleted) == {"id"} and ID.match(deleted["id"])
    assert not aws("disconnect-user", "--room-identifier", room["arn"], "--user-id", "ABC", "--reason", "rude")


@pytest.mark.covers("TagResource", "UntagResource", "ListTagsForResource")
def test_tags(aws):
    arn = aws("create-room", "--tags", "made=cli")["arn"]
    assert not aws("tag-resource", "--resource-arn", arn, "--tags", "tag1=one,tag2=two")
    assert aws("list-tags-for-resource", "--resource-arn", arn) == {"tags": {"made": "cli", "tag1": "one", "tag2": "two"}}
    assert not aws("untag-resource", "--resource-arn", arn, "--tag-keys", "tag1", "tag2")
    assert aws("list-tags-for-resource", "--resource-arn", arn) == {"tags": {"made": "cli"}}


def test_a_typed_error_is_readable(aws):
    error = aws("create-room", "--name", "not a name", fails=True)
    assert "(ValidationException)" in error and "name" in error
