"""boto3: logging configurations are created, read, listed, changed and deleted; whole bodies are compared."""

import pytest

import clients
from clients import body_of, is_now, members_of
from server import ID, logging_configuration_arn

DESTINATIONS = [
    {"s3": {"bucketName": "chat-logs.example"}},
    {"cloudWatchLogs": {"logGroupName": "/aws/ivschat/room#1"}},
    {"firehose": {"deliveryStreamName": "chat_stream-1.x"}},
]
UNKNOWN = "AbCdEfGh1234"


@pytest.mark.covers("CreateLoggingConfiguration", "GetLoggingConfiguration")
@pytest.mark.parametrize("destination", DESTINATIONS, ids=lambda destination: next(iter(destination)))
def test_create_logging_configuration_returns_the_whole_configuration(chat, destination):
    created = chat.create_logging_configuration(name="Logs_1", destinationConfiguration=destination, tags={"a": "b"})
    assert created["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert ID.match(created["id"])
    assert is_now(created["createTime"])
    assert body_of(created) == {
        "arn": logging_configuration_arn(created["id"]),
        "id": created["id"],
        "createTime": created["createTime"],
        "updateTime": created["createTime"],
        "name": "Logs_1",
        "destinationConfiguration": destination,
        "state": "ACTIVE",
        "tags": {"a": "b"},
    }
    assert body_of(chat.get_logging_configuration(identifier=created["arn"])) == body_of(created)


@pytest.mark.covers("CreateLoggingConfiguration")
def test_without_name_and_tags(chat):
    created = chat.create_logging_configuration(destinationConfiguration=DESTINATIONS[0])
    assert body_of(created) == {
        "arn": logging_configuration_arn(created["id"]),
        "id": created["id"],
        "createTime": created["createTime"],
        "updateTime": created["createTime"],
        "name": "",
        "destinationConfiguration": DESTINATIONS[0],
        "state": "ACTIVE",
        "tags": {},
    }


@pytest.mark.covers("UpdateLoggingConfiguration", "GetLoggingConfiguration")
def test_update_changes_what_is_given_and_keeps_the_arn(chat):
    created = chat.create_logging_configuration(name="old", destinationConfiguration=DESTINATIONS[0], tags={"a": "b"})
    expected = body_of(created)
    for change in ({"name": "new"}, {"destinationConfiguration": DESTINATIONS[1]}, {}):
        updated = body_of(chat.update_logging_configuration(identifier=created["arn"], **change))
        expected |= change | {"updateTime": updated["updateTime"]}
        assert updated == expected
        assert updated["updateTime"] >= created["updateTime"] and is_now(updated["updateTime"])
        assert body_of(chat.get_logging_configuration(identifier=created["arn"])) == updated


@pytest.mark.covers("DeleteLoggingConfiguration")
def test_delete_answers_204_and_it_is_gone(chat, logging_configuration):
    deleted = chat.delete_logging_configuration(identifier=logging_configuration["arn"])
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert body_of(deleted) == {}
    for call in (chat.get_logging_configuration, chat.delete_logging_configuration, chat.update_logging_configuration):
        with pytest.raises(chat.exceptions.ResourceNotFoundException) as caught:
            call(identifier=logging_configuration["arn"])
        # The model's enumeration has the one value ROOM, for logging configurations too.
        assert members_of(caught.value) == {
            "message": f"Resource: {logging_configuration['arn']} not found",
            "resourceId": logging_configuration["id"],
            "resourceType": "ROOM",
        }


@pytest.mark.covers("DeleteLoggingConfiguration")
def test_a_configuration_in_use_cannot_be_deleted(chat, logging_configuration):
    room = chat.create_room(loggingConfigurationIdentifiers=[logging_configuration["arn"]])
    with pytest.raises(chat.exceptions.ConflictException) as caught:
        chat.delete_logging_configuration(identifier=logging_configuration["arn"])
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 409
    assert members_of(caught.value) == {
        "message": f"Resource: {logging_configuration['arn']} is in use by a room",
        "resourceId": logging_configuration["id"],
        "resourceType": "ROOM",
    }
    chat.delete_room(identifier=room["arn"])
    chat.delete_logging_configuration(identifier=logging_configuration["arn"])


@pytest.mark.covers("GetLoggingConfiguration", "UpdateLoggingConfiguration", "DeleteLoggingConfiguration")
def test_foreign_and_unknown_configurations_are_not_found(chat, logging_configuration):
    for arn in (
        logging_configuration_arn(UNKNOWN),
        logging_configuration_arn(logging_configuration["id"], region="eu-west-1"),
        logging_configuration_arn(logging_configuration["id"], account="999999999999"),
    ):
        for call in (
            chat.get_logging_configuration, chat.update_logging_configuration, chat.delete_logging_configuration,
        ):  # fmt: skip
            with pytest.raises(chat.exceptions.ResourceNotFoundException) as caught:
                call(identifier=arn)
            assert members_of(caught.value) == {
                "message": f"Resource: {arn} not found", "resourceId": arn.rsplit("/")[-1], "resourceType": "ROOM",
            }  # fmt: skip
    assert chat.get_logging_configuration(identifier=logging_configuration["arn"])["state"] == "ACTIVE"


@pytest.mark.covers("ListLoggingConfigurations")
def test_list_has_every_configuration_once(server):
    chat = clients.ivschat(server, region="logging-list-1")
    assert body_of(chat.list_logging_configurations()) == {"loggingConfigurations": []}
    created = [
        body_of(chat.create_logging_configuration(name=f"c{number}", destinationConfiguration=destination))
        for number, destination in enumerate(DESTINATIONS * 2)
    ]
    assert chat.list_logging_configurations()["loggingConfigurations"] == created[::-1]
    found, token = [], None
    while True:
        page = chat.list_logging_configurations(maxResults=4, **({"nextToken": token} if token else {}))
        found.append(page["loggingConfigurations"])
        token = page.get("nextToken")
        if not token:
            break
    assert [len(page) for page in found] == [4, 2]
    assert [entry for page in found for entry in page] == created[::-1]


@pytest.mark.covers("CreateLoggingConfiguration", "UpdateLoggingConfiguration")
def test_exactly_one_destination(http, logging_configuration):
    both = DESTINATIONS[0] | DESTINATIONS[1]
    for operation, rest in (
        ("CreateLoggingConfiguration", {}),
        ("UpdateLoggingConfiguration", {"identifier": logging_configuration["arn"]}),
    ):
        for destination in ({}, both):
            answer = http.call(operation, {"destinationConfiguration": destination, **rest})
            assert (answer.status, answer.error_type) == (400, "ValidationException")
            assert [field["name"] for field in answer.json["fieldList"]] == ["destinationConfiguration"]


@pytest.mark.covers("CreateLoggingConfiguration")
def test_more_than_ten_configurations(server):
    chat = clients.ivschat(server, region="logging-many-1")
    for _ in range(11):
        chat.create_logging_configuration(destinationConfiguration=DESTINATIONS[0])
    assert len(chat.list_logging_configurations()["loggingConfigurations"]) == 11
