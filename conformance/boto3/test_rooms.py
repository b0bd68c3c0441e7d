"""boto3: rooms are created, read, changed and deleted; whole bodies and types are compared."""

import pytest
from botocore.exceptions import ClientError

import clients
from clients import body_of, is_now, members_of
from server import ID, logging_configuration_arn, room_arn

HANDLER = "arn:aws:lambda:us-west-2:123456789012:function:review"
OTHER_HANDLER = "arn:aws:lambda:us-west-2:123456789012:function:review:live"


@pytest.mark.covers("CreateRoom")
def test_create_room_returns_the_whole_room(chat, logging_configuration):
    created = chat.create_room(
        name="Lobby_1-a",
        maximumMessageRatePerSecond=7,
        maximumMessageLength=42,
        messageReviewHandler={"uri": HANDLER, "fallbackResult": "DENY"},
        loggingConfigurationIdentifiers=[logging_configuration["arn"]],
        tags={"stage": "test", "empty": ""},
    )
    assert created["ResponseMetadata"]["HTTPStatusCode"] == 200
    room_id, time = created["id"], created["createTime"]
    assert ID.match(room_id)
    assert is_now(time)
    assert body_of(created) == {
        "arn": room_arn(room_id),
        "id": room_id,
        "name": "Lobby_1-a",
        "createTime": time,
        "updateTime": time,
        "maximumMessageRatePerSecond": 7,
        "maximumMessageLength": 42,
        "messageReviewHandler": {"uri": HANDLER, "fallbackResult": "DENY"},
        "loggingConfigurationIdentifiers": [logging_configuration["arn"]],
        "tags": {"stage": "test", "empty": ""},
    }


@pytest.mark.covers("CreateRoom", "GetRoom")
def test_defaults_are_filled_in_and_what_is_unset_is_absent(chat):
    created = chat.create_room()
    assert body_of(created) == {
        "arn": room_arn(created["id"]),
        "id": created["id"],
        "name": "",
        "createTime": created["createTime"],
        "updateTime": created["createTime"],
        "maximumMessageRatePerSecond": 10,
        "maximumMessageLength": 500,
        "tags": {},
    }
    assert body_of(chat.get_room(identifier=created["arn"])) == body_of(created)


@pytest.mark.covers("GetRoom")
def test_get_room_returns_what_create_room_did(chat, logging_configuration):
    created = chat.create_room(
        name="same",
        messageReviewHandler={"uri": HANDLER},
        loggingConfigurationIdentifiers=[logging_configuration["arn"]],
        tags={"a": "b"},
    )
    assert created["messageReviewHandler"] == {"uri": HANDLER, "fallbackResult": "ALLOW"}
    assert body_of(chat.get_room(identifier=created["arn"])) == body_of(created)


@pytest.mark.covers("UpdateRoom", "GetRoom")
def test_update_room_changes_what_is_given_and_nothing_else(chat, logging_configuration):
    created = chat.create_room(
        name="before",
        maximumMessageLength=100,
        maximumMessageRatePerSecond=20,
        messageReviewHandler={"uri": HANDLER, "fallbackResult": "DENY"},
        loggingConfigurationIdentifiers=[logging_configuration["arn"]],
        tags={"kept": "yes"},
    )
    expected = body_of(created)
    changes = [
        {"name": "after"},
        {"maximumMessageLength": 1},
        {"maximumMessageRatePerSecond": 100},
        {"messageReviewHandler": {"uri": OTHER_HANDLER}},
        {"messageReviewHandler": {"fallbackResult": "ALLOW"}},
        {"name": ""},
    ]
    for change in changes:
        updated = body_of(chat.update_room(identifier=created["arn"], **change))
        handler = expected["messageReviewHandler"] | change.get("messageReviewHandler", {})
        expected |= change | {"messageReviewHandler": handler, "updateTime": updated["updateTime"]}
        assert updated == expected
        assert body_of(chat.get_room(identifier=created["arn"])) == updated
        assert created["createTime"] <= updated["updateTime"] and is_now(updated["updateTime"])


@pytest.mark.covers("UpdateRoom")
def test_update_room_clears_the_list_and_dissociates_the_handler(chat, logging_configuration):
    created = chat.create_room(
        messageReviewHandler={"uri": HANDLER}, loggingConfigurationIdentifiers=[logging_configuration["arn"]]
    )
    expected = body_of(created)
    for change, cleared in (
        ({"loggingConfigurationIdentifiers": []}, "loggingConfigurationIdentifiers"),
        ({"messageReviewHandler": {"uri": ""}}, "messageReviewHandler"),
    ):
        updated = chat.update_room(identifier=created["arn"], **change)
        del expected[cleared]
        expected["updateTime"] = updated["updateTime"]
        assert body_of(updated) == expected
    assert body_of(chat.get_room(identifier=created["arn"])) == body_of(updated)


@pytest.mark.covers("UpdateRoom")
def test_update_room_replaces_the_list_of_logging_configurations(chat):
    destination = {"cloudWatchLogs": {"logGroupName": "/chat/logs"}}
    arns = [chat.create_logging_configuration(destinationConfiguration=destination)["arn"] for _ in range(3)]
    created = chat.create_room(loggingConfigurationIdentifiers=arns)
    assert created["loggingConfigurationIdentifiers"] == arns
    updated = chat.update_room(identifier=created["arn"], loggingConfigurationIdentifiers=[arns[2], arns[0]])
    assert updated["loggingConfigurationIdentifiers"] == [arns[2], arns[0]]


@pytest.mark.covers("DeleteRoom", "GetRoom")
def test_delete_room_answers_204_and_the_room_is_gone(chat, room):
    deleted = chat.delete_room(identifier=room["arn"])
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert body_of(deleted) == {}
    for call in (chat.get_room, chat.delete_room):
        with pytest.raises(chat.exceptions.ResourceNotFoundException) as caught:
            call(identifier=room["arn"])
        assert members_of(caught.value) == {
            "message": f"Resource: {room['arn']} not found", "resourceId": room["id"], "resourceType": "ROOM",
        }  # fmt: skip


UNKNOWN = "AbCdEfGh1234"


@pytest.mark.covers("GetRoom", "UpdateRoom", "DeleteRoom", "CreateChatToken", "SendEvent")
def test_foreign_and_unknown_rooms_are_not_found(chat, room):
    calls = {
        "get_room": lambda arn: chat.get_room(identifier=arn),
        "update_room": lambda arn: chat.update_room(identifier=arn, name="mine"),
        "delete_room": lambda arn: chat.delete_room(identifier=arn),
        "create_chat_token": lambda arn: chat.create_chat_token(roomIdentifier=arn, userId="u"),
        "send_event": lambda arn: chat.send_event(roomIdentifier=arn, eventName="e"),
        "delete_message": lambda arn: chat.delete_message(roomIdentifier=arn, id=UNKNOWN),
        "disconnect_user": lambda arn: chat.disconnect_user(roomIdentifier=arn, userId="u"),
    }
    arns = [
        room_arn(UNKNOWN),
        room_arn(room["id"], region="eu-west-1"),
        room_arn(room["id"], account="999999999999"),
        room_arn("not-an-id-of-12"),
    ]
    for name, call in calls.items():
        for arn in arns:
            with pytest.raises(ClientError) as caught:
                call(arn)
            response = caught.value.response
            assert (name, response["Error"]["Code"]) == (name, "ResourceNotFoundException")
            assert response["ResponseMetadata"]["HTTPStatusCode"] == 404
            assert members_of(caught.value) == {
                "message": f"Resource: {arn} not found", "resourceId": arn.rsplit("/")[-1], "resourceType": "ROOM",
            }  # fmt: skip
    assert chat.get_room(identifier=room["arn"])["id"] == room["id"]


@pytest.mark.covers("CreateRoom", "GetRoom", "ListRooms")
def test_each_region_has_its_own_rooms(server, chat, room):
    elsewhere = clients.ivschat(server, region="eu-central-1")
    there = elsewhere.create_room(name="there")
    assert there["arn"] == room_arn(there["id"], region="eu-central-1")
    assert there["id"] in {entry["id"] for entry in elsewhere.list_rooms()["rooms"]}
    assert room["id"] not in {entry["id"] for entry in elsewhere.list_rooms()["rooms"]}
    with pytest.raises(elsewhere.exceptions.ResourceNotFoundException):
        elsewhere.get_room(identifier=room["arn"])


@pytest.mark.covers("CreateRoom", "UpdateRoom")
@pytest.mark.parametrize("where", ["unknown", "foreign account", "foreign region"])
def test_only_existing_logging_configurations_of_the_same_owner_can_be_attached(chat, room, logging_configuration, where):
    arn = {
        "unknown": logging_configuration_arn(UNKNOWN),
        "foreign account": logging_configuration_arn(logging_configuration["id"], account="999999999999"),
        "foreign region": logging_configuration_arn(logging_configuration["id"], region="eu-west-1"),
    }[where]
    for call in (
        lambda: chat.create_room(loggingConfigurationIdentifiers=[logging_configuration["arn"], arn]),
        lambda: chat.update_room(identifier=room["arn"], loggingConfigurationIdentifiers=[arn]),
    ):
        with pytest.raises(chat.exceptions.ResourceNotFoundException) as caught:
            call()
        assert members_of(caught.value) == {
            "message": f"Resource: {arn} not found", "resourceId": arn.rsplit("/")[-1], "resourceType": "ROOM",
        }  # fmt: skip
    assert "loggingConfigurationIdentifiers" not in chat.get_room(identifier=room["arn"])


@pytest.mark.covers("CreateRoom")
def test_names_need_not_be_unique(chat):
    first, second = chat.create_room(name="twin"), chat.create_room(name="twin")
    assert first["id"] != second["id"]


@pytest.mark.covers("CreateRoom")
def test_every_failing_field_is_named(chat, http):
    answer = http.call(
        "CreateRoom",
        {
            "name": "not a name",
            "maximumMessageLength": 501,
            "maximumMessageRatePerSecond": 0,
            "messageReviewHandler": {"uri": "nonsense", "fallbackResult": "MAYBE"},
            "tags": {"": "x"},
        },
    )
    assert answer.status == 400 and answer.error_type == "ValidationException"
    assert answer.json["reason"] == "FIELD_VALIDATION_FAILED"
    names = [field["name"] for field in answer.json["fieldList"]]
    assert len(names) == 6, names
    assert {name.split(".")[0].split("[")[0] for name in names} == {
        "name", "maximumMessageLength", "maximumMessageRatePerSecond", "messageReviewHandler", "tags",
    }  # fmt: skip
    assert all(field["message"] for field in answer.json["fieldList"])


@pytest.mark.covers("CreateRoom")
def test_boto3_reads_the_typed_validation_error(chat):
    with pytest.raises(chat.exceptions.ValidationException) as caught:
        chat.create_room(name="not a name")
    response = caught.value.response
    assert response["reason"] == "FIELD_VALIDATION_FAILED"
    assert [field["name"] for field in response["fieldList"]] == ["name"]
    assert response["Error"]["Code"] == "ValidationException"
    assert response["message"] == response["Error"]["Message"] != ""
