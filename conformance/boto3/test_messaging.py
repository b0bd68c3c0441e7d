"""boto3: SendEvent, DeleteMessage and DisconnectUser, and the frames they cause in the room."""

import pytest
from botocore.exceptions import ClientError

from clients import body_of
from edge import ChatSocket
from server import ID, NANOS_TIME


@pytest.fixture
def viewer(server, chat, room):
    """A connection that only listens."""
    token = chat.create_chat_token(roomIdentifier=room["arn"], userId="viewer")["token"]
    with ChatSocket(server.edge, token) as socket:
        yield socket


def check_event(frame, name, attributes, event_id=None):
    """An EVENT frame in whole, with the id that the API answered, where it answered one."""
    assert ID.match(frame["Id"]) and NANOS_TIME.match(frame["SendTime"])
    assert frame == {
        "Type": "EVENT",
        "Id": event_id or frame["Id"],
        "RequestId": "",
        "EventName": name,
        "Attributes": attributes,
        "SendTime": frame["SendTime"],
    }


@pytest.mark.covers("SendEvent", "frame:EVENT")
def test_send_event_returns_the_id_of_the_frame(chat, room, viewer):
    sent = chat.send_event(roomIdentifier=room["arn"], eventName="app:poll", attributes={"b": "2", "a": "1 <é>"})
    assert sent["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert set(body_of(sent)) == {"id"} and ID.match(sent["id"])
    check_event(viewer.receive_json(), "app:poll", {"a": "1 <é>", "b": "2"}, sent["id"])


@pytest.mark.covers("SendEvent")
def test_send_event_without_attributes_and_to_nobody(chat, room):
    assert ID.match(chat.send_event(roomIdentifier=room["arn"], eventName="app:nobody")["id"])


@pytest.mark.covers("SendEvent")
def test_event_attributes_of_four_kilobytes_and_no_more(chat, room, viewer):
    sent = chat.send_event(roomIdentifier=room["arn"], eventName="big", attributes={"k": "v" * 4095})
    frame = viewer.receive_json()
    assert frame["Id"] == sent["id"] and frame["Attributes"] == {"k": "v" * 4095}
    with pytest.raises(ClientError) as caught:
        chat.send_event(roomIdentifier=room["arn"], eventName="big", attributes={"k": "é" * 2048})
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert [field["name"] for field in caught.value.response["fieldList"]] == ["attributes"]


@pytest.mark.covers("DeleteMessage", "frame:EVENT")
@pytest.mark.parametrize("reason", [None, "Off topic"])
def test_delete_message_tells_the_room(chat, room, viewer, reason):
    given = {} if reason is None else {"reason": reason}
    deleted = chat.delete_message(roomIdentifier=room["arn"], id="M2YcHkgffEvU", **given)
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert set(body_of(deleted)) == {"id"} and ID.match(deleted["id"])
    attributes = {"MessageID": "M2YcHkgffEvU", "MessageId": "M2YcHkgffEvU"}
    if reason is not None:
        attributes["Reason"] = reason
    check_event(viewer.receive_json(), "aws:DELETE_MESSAGE", attributes, deleted["id"])


@pytest.mark.covers("DisconnectUser", "frame:EVENT")
def test_disconnect_user_tells_the_room_and_closes_every_connection_of_the_user(server, chat, room, viewer):
    def join():
        return ChatSocket(server.edge, chat.create_chat_token(roomIdentifier=room["arn"], userId="troll")["token"])

    with join() as first, join() as second:
        answer = chat.disconnect_user(roomIdentifier=room["arn"], userId="troll", reason="Kicked by moderator")
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert body_of(answer) == {}
        frames = [socket.receive_json() for socket in (first, second, viewer)]
        check_event(frames[0], "aws:DISCONNECT_USER", {"Reason": "Kicked by moderator", "UserId": "troll"})
        assert frames[1:] == [frames[0], frames[0]]
        for socket in (first, second):
            assert socket.receive_close() == (1000, "Kicked by moderator")
    chat.send_event(roomIdentifier=room["arn"], eventName="still here")
    assert viewer.receive_json()["EventName"] == "still here"


@pytest.mark.covers("DisconnectUser")
def test_disconnecting_a_user_without_connections_succeeds(chat, room):
    assert body_of(chat.disconnect_user(roomIdentifier=room["arn"], userId="nobody")) == {}


@pytest.mark.covers("DisconnectUser", "CreateChatToken")
def test_a_disconnected_user_may_come_back(server, chat, room):
    chat.disconnect_user(roomIdentifier=room["arn"], userId="penitent")
    token = chat.create_chat_token(roomIdentifier=room["arn"], userId="penitent")["token"]
    with ChatSocket(server.edge, token) as socket:
        chat.send_event(roomIdentifier=room["arn"], eventName="welcome back")
        assert socket.receive_json()["EventName"] == "welcome back"
