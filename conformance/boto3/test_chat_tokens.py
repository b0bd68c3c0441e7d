"""boto3: CreateChatToken; what a token lets its bearer do is shown on the messaging edge."""

import base64
from datetime import datetime, timedelta, timezone

import pytest
from botocore.exceptions import ClientError

from clients import body_of
from edge import ChatSocket, refusal

TOKEN_CHARACTERS = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~")


@pytest.mark.covers("CreateChatToken")
@pytest.mark.parametrize(("minutes", "session"), [(None, 60), (1, 1), (30, 30), (60, 60), (180, 180)])
def test_create_chat_token_returns_a_token_and_two_times(chat, room, minutes, session):
    duration = {} if minutes is None else {"sessionDurationInMinutes": minutes}
    asked = datetime.now(timezone.utc)
    created = chat.create_chat_token(
        roomIdentifier=room["arn"],
        userId="Zoë 🎉",
        capabilities=["SEND_MESSAGE", "DELETE_MESSAGE", "DISCONNECT_USER"],
        attributes={"displayName": "Zoë"},
        **duration,
    )
    assert created["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert set(body_of(created)) == {"token", "tokenExpirationTime", "sessionExpirationTime"}
    assert created["token"] and set(created["token"]) <= TOKEN_CHARACTERS
    assert len(created["token"]) < 4096
    session_life = created["sessionExpirationTime"] - asked
    assert abs(session_life - timedelta(minutes=session)) < timedelta(seconds=5)
    # The lesser of 60 minutes and the session, less up to 10 %, so that a crowd does not refresh together.
    longest = timedelta(minutes=min(60, session))
    token_life = created["tokenExpirationTime"] - asked
    assert longest * 0.9 - timedelta(seconds=5) < token_life < longest + timedelta(seconds=5)


@pytest.mark.covers("CreateChatToken")
def test_two_tokens_for_one_user_differ_and_both_join(server, chat, room):
    tokens = [chat.create_chat_token(roomIdentifier=room["arn"], userId="twice")["token"] for _ in range(2)]
    assert tokens[0] != tokens[1]
    with ChatSocket(server.edge, tokens[0]), ChatSocket(server.edge, tokens[1]):
        pass


@pytest.mark.covers("CreateChatToken")
def test_no_secret_is_readable_in_the_token(chat, room):
    token = chat.create_chat_token(roomIdentifier=room["arn"], userId="visible-user", attributes={"k": "visible-value"})
    plain = base64.urlsafe_b64decode(token["token"].replace(".", "A") + "===")
    for part in (b"visible-user", b"visible-value", room["id"].encode()):
        assert part not in plain and part.decode() not in token["token"]


@pytest.mark.covers("CreateChatToken", "DeleteRoom")
def test_a_deleted_room_has_no_tokens(server, chat, room):
    token = chat.create_chat_token(roomIdentifier=room["arn"], userId="late")["token"]
    chat.delete_room(identifier=room["arn"])
    with pytest.raises(chat.exceptions.ResourceNotFoundException):
        chat.create_chat_token(roomIdentifier=room["arn"], userId="late")
    assert refusal(server.edge, token) == (403, "the chat token's room does not exist any more")


@pytest.mark.covers("CreateChatToken")
def test_attributes_of_one_kilobyte_and_no_more(chat, room):
    def create(attributes):
        return chat.create_chat_token(roomIdentifier=room["arn"], userId="u", attributes=attributes)

    assert create({"k": "v" * 1023})["token"]
    # Bytes of UTF-8, keys plus values.
    assert create({"é": "é" * 511})["token"]
    for attributes in ({"k": "v" * 1024}, {"é": "é" * 511 + "x"}, {f"k{n}": "v" * 100 for n in range(11)}):
        with pytest.raises(ClientError) as caught:
            create(attributes)
        assert caught.value.response["Error"]["Code"] == "ValidationException"
        assert [field["name"] for field in caught.value.response["fieldList"]] == ["attributes"]
