"""The messaging edge through a raw client: handshake, frames byte for byte, capabilities, limits, moderation."""

import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from edge import BINARY, TEXT, ChatSocket, Refused, encode_frame, handshake_bytes, parse_head, refusal
from server import ID, NANOS_TIME, address, narrow_connection

ALL = ["SEND_MESSAGE", "DELETE_MESSAGE", "DISCONNECT_USER"]


@pytest.fixture
def join(server, chat, room):
    """Opens connections to the test's room; all are closed in the end."""
    sockets = []

    def join(user="alice", capabilities=ALL, attributes=None, room=room):
        given = {"attributes": attributes} if attributes is not None else {}
        token = chat.create_chat_token(roomIdentifier=room["arn"], userId=user, capabilities=capabilities, **given)
        sockets.append(ChatSocket(server.edge, token["token"]))
        return sockets[-1]

    yield join
    for socket in sockets:
        socket.close()


def varying(text):
    """The id and the time of a frame, which differ each time, checked for their form."""
    frame = json.loads(text)
    assert ID.match(frame["Id"])
    return frame["Id"], frame.get("SendTime")


# --- handshake ---------------------------------------------------------------------------------------------------


MISSING = (401, "the chat token is missing: offer it as the one WebSocket sub-protocol")
MALFORMED = (403, "the chat token is malformed")
NOT_VALID = (403, "the chat token is not valid here")
USED = (403, "the chat token has been used already")
TOO_LONG = (431, "the request's headers are too long")
WRONG_VERSION = (426, "the WebSocket version must be 13")


@pytest.mark.covers("CreateChatToken")
def test_a_token_is_echoed_and_opens_one_connection_ever(server, chat, room):
    token = chat.create_chat_token(roomIdentifier=room["arn"], userId="once")["token"]
    with ChatSocket(server.edge, token) as socket:
        assert socket.headers["sec-websocket-protocol"] == token
        assert refusal(server.edge, token) == USED
    assert refusal(server.edge, token) == USED


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (None, MISSING), ("", MISSING), ("garbage", MALFORMED), ("two, tokens", MALFORMED), ("v4.local.AAAA", MALFORMED),
        ("A" * 640, MALFORMED), ("A" * 8000, MALFORMED),
    ],
)  # fmt: skip
def test_no_token_or_garbage_is_refused_before_the_upgrade(server, token, expected):
    assert refusal(server.edge, token) == expected


def test_a_token_that_was_tampered_with_is_refused(server, chat, room):
    token = chat.create_chat_token(roomIdentifier=room["arn"], userId="u")["token"]
    # The first character is of the format's version; all the others are of what the seal covers.
    for position, expected in ((0, MALFORMED), (len(token) // 2, NOT_VALID), (len(token) - 2, NOT_VALID)):
        swapped = "z" if token[position] != "z" else "y"
        assert refusal(server.edge, token[:position] + swapped + token[position + 1 :]) == expected
    with ChatSocket(server.edge, token):
        pass


def test_a_token_of_another_server_is_refused(server, chat, room, fresh_server):
    token = chat.create_chat_token(roomIdentifier=room["arn"], userId="u")["token"]
    assert refusal(fresh_server.edge, token) == NOT_VALID


def test_any_origin_and_path_spelling_of_real_clients_is_accepted(server, chat, room):
    for extra in ([("Origin", "https://app.example")], [("User-Agent", "okhttp/4.9"), ("Pragma", "no-cache")]):
        token = chat.create_chat_token(roomIdentifier=room["arn"], userId="u")["token"]
        with ChatSocket(server.edge, token, extra=extra):
            pass


def test_an_extension_that_was_offered_is_declined(server, chat, room):
    token = chat.create_chat_token(roomIdentifier=room["arn"], userId="u")["token"]
    with ChatSocket(server.edge, token, extra=[("Sec-WebSocket-Extensions", "permessage-deflate")]) as socket:
        assert "sec-websocket-extensions" not in socket.headers


def test_what_is_no_websocket_handshake_is_refused_and_costs_no_token(server, chat, room):
    token = chat.create_chat_token(roomIdentifier=room["arn"], userId="u")["token"]
    key = (400, "the header Sec-WebSocket-Key must be 16 bytes in base64")
    connection = (400, "a WebSocket needs HTTP/1.1 and the header Connection: Upgrade")
    for omitted, expected in (
        ("Upgrade", (426, "This is a WebSocket endpoint for chat clients.")),
        ("Connection", connection),
        ("Sec-WebSocket-Key", key),
        ("Sec-WebSocket-Version", WRONG_VERSION),
    ):
        assert refusal(server.edge, token, omit=[omitted]) == expected
    with pytest.raises(Refused) as caught:
        ChatSocket(server.edge, token, omit=["Sec-WebSocket-Version"], extra=[("Sec-WebSocket-Version", "8")])
    refused = caught.value
    assert (refused.status, refused.body.decode()) == (WRONG_VERSION[0], f"{WRONG_VERSION[1]}\n")
    assert refused.headers["sec-websocket-version"] == "13"
    with ChatSocket(server.edge, token):
        pass


def test_an_oversized_handshake_is_a_431(server):
    assert refusal(server.edge, "A", extra=[("X-Padding", "x" * 17_000)]) == TOO_LONG


@pytest.mark.parametrize(("length", "expected"), [(0, MALFORMED), (900_000, TOO_LONG)])
def test_a_refusal_reaches_a_client_that_is_still_sending(server, length, expected):
    request, _ = handshake_bytes("x", "garbage", extra=[("X-Padding", "x" * length)])
    with narrow_connection(address(server.edge)) as connection:
        connection.sendall(request + b"x" * (900_000 - length))
        answer = b""
        while received := connection.recv(65536):
            answer += received
    head, _, text = answer.partition(b"\r\n\r\n")
    assert (parse_head(head)[0], text.decode()) == (expected[0], f"{expected[1]}\n")


HOST = b"Host: x\r\n"
ONE_HOST = "the request must have one header Host"
CR_LF = "the request's lines must end in CR LF"
NO_BODY = "a request for a WebSocket must not have a body"
BROKEN_HTTP = {
    "no Host": (HOST, b"", ONE_HOST),
    "two Hosts": (HOST, b"Host: x\r\nHost: y\r\n", ONE_HOST),
    "a bare line feed": (HOST, b"Host: x\n", CR_LF),
    "a bare line feed in front": (b"GET /", b"\nGET /", CR_LF),
    "a bare line feed at the end": (b"\r\n\r\n", b"\r\n\n", CR_LF),
    "a length": (HOST, b"Host: x\r\nContent-Length: 2\r\n", NO_BODY),
    "a length that is none": (HOST, b"Host: x\r\nContent-Length: +0\r\n", NO_BODY),
    "chunks": (HOST, b"Host: x\r\nTransfer-Encoding: chunked\r\n", NO_BODY),
    "a folded header": (HOST, b"Host: x\r\nX: a\r\n b\r\n", "this is not an HTTP/1.1 request"),
    "HTTP/1.0": (b"HTTP/1.1", b"HTTP/1.0", "a WebSocket needs HTTP/1.1 and the header Connection: Upgrade"),
}


def test_an_upgrade_that_breaks_http_is_a_400_and_costs_no_token(server, chat, room):
    token = chat.create_chat_token(roomIdentifier=room["arn"], userId="u")["token"]
    request, _ = handshake_bytes("x", token)
    for name, (good, bad, reason) in BROKEN_HTTP.items():
        assert good in request
        with socket.create_connection(address(server.edge), timeout=10) as connection:
            connection.sendall(request.replace(good, bad, 1))
            answer = b""
            while received := connection.recv(65536):
                answer += received
        head, _, text = answer.partition(b"\r\n\r\n")
        assert (parse_head(head)[0], text.decode()) == (400, f"{reason}\n"), (name, answer)
    with ChatSocket(server.edge, token, extra=[("Content-Length", "0")]):
        pass


def test_who_has_a_connection_is_greeted_a_quarter_of_a_second_later(server, chat, room, join):
    join(user="alice")
    token = chat.create_chat_token(roomIdentifier=room["arn"], userId="alice")["token"]
    began = time.monotonic()
    with ChatSocket(server.edge, token):
        assert time.monotonic() - began >= 0.25


def test_joins_of_one_user_in_a_hot_loop_are_paced_and_none_is_refused(server, chat, room):
    """Fifty may come at once, and ten each second after that: so sixty take a second at least."""
    tokens = [chat.create_chat_token(roomIdentifier=room["arn"], userId="hasty")["token"] for _ in range(60)]
    began = time.monotonic()
    with ThreadPoolExecutor(len(tokens)) as threads:
        sockets = list(threads.map(lambda token: ChatSocket(server.edge, token), tokens))
    assert time.monotonic() - began >= 1
    for socket in sockets:
        assert socket.act(Action="FLY")["ErrorCode"] == 400, "it is a member like any other"
        socket.close()


# --- frames, byte for byte ---------------------------------------------------------------------------------------


@pytest.mark.covers("SEND_MESSAGE", "frame:MESSAGE")
def test_a_message_frame_byte_for_byte(join):
    sender = join(user="alice", attributes={"username": "Alice", "avatar": "https://a.example/1"})
    viewer = join(user="bob", capabilities=[])
    sender.send_json({"Action": "SEND_MESSAGE", "RequestId": "r-1", "Content": "Hi", "Attributes": {"b": "2", "a": "1"}})
    text = viewer.receive_text()
    assert sender.receive_text() == text, "one frame serves everybody"
    frame_id, time = varying(text)
    assert NANOS_TIME.match(time)
    assert text.decode() == (
        f'{{"Type":"MESSAGE","Id":"{frame_id}","RequestId":"r-1","Attributes":{{"a":"1","b":"2"}},"Content":"Hi",'
        f'"SendTime":"{time}","Sender":{{"UserId":"alice",'
        '"Attributes":{"avatar":"https://a.example/1","username":"Alice"}}}'
    )


@pytest.mark.covers("SEND_MESSAGE", "frame:MESSAGE")
def test_what_is_absent_in_a_message_frame(join):
    sender = join(user="a")
    for request in (
        {"Action": "SEND_MESSAGE", "Content": "x"},
        {"Action": "SEND_MESSAGE", "Content": "x", "Attributes": None, "RequestId": ""},
    ):
        sender.send_json(request)
        text = sender.receive_text()
        frame_id, time = varying(text)
        assert text.decode() == (
            f'{{"Type":"MESSAGE","Id":"{frame_id}","RequestId":"","Attributes":null,"Content":"x",'
            f'"SendTime":"{time}","Sender":{{"UserId":"a","Attributes":{{}}}}}}'
        )


@pytest.mark.covers("SEND_MESSAGE")
def test_content_is_passed_through_untouched(join):
    sender = join()
    for content in ("<b>&amp;</b>", "quote \" back \\ slash / ", "tab\t nl\n \u0001 \u2028", "🎉 é 日本 \U0010ffff", " "):
        assert sender.act(Action="SEND_MESSAGE", Content=content)["Content"] == content


@pytest.mark.covers("SEND_MESSAGE")
def test_half_an_emoji_is_replaced(join):
    sender = join()
    sender.send_frame(TEXT, '{"Action":"SEND_MESSAGE","Content":"a\\ud83db"}')
    assert sender.receive_json()["Content"] == "a\ufffdb"


@pytest.mark.covers("DELETE_MESSAGE", "frame:EVENT")
def test_a_delete_message_event_byte_for_byte(join):
    moderator, viewer = join(), join(user="bob", capabilities=[])
    moderator.send_json({"Action": "DELETE_MESSAGE", "Id": "M2YcHkgffEvU", "Reason": "Off topic", "RequestId": "r-2"})
    text = viewer.receive_text()
    assert moderator.receive_text() == text
    frame_id, time = varying(text)
    assert NANOS_TIME.match(time)
    assert text.decode() == (
        f'{{"Type":"EVENT","Id":"{frame_id}","RequestId":"r-2","EventName":"aws:DELETE_MESSAGE",'
        '"Attributes":{"MessageID":"M2YcHkgffEvU","MessageId":"M2YcHkgffEvU","Reason":"Off topic"},'
        f'"SendTime":"{time}"}}'
    )


@pytest.mark.covers("DISCONNECT_USER", "frame:EVENT")
def test_a_disconnect_user_event_byte_for_byte_then_close_1000_with_the_reason(join):
    moderator, viewer = join(), join(user="bob", capabilities=[])
    victims = [join(user="troll"), join(user="troll")]
    moderator.send_json({"Action": "DISCONNECT_USER", "UserId": "troll", "Reason": "Enough", "RequestId": "r-3"})
    text = viewer.receive_text()
    frame_id, time = varying(text)
    assert text.decode() == (
        f'{{"Type":"EVENT","Id":"{frame_id}","RequestId":"r-3","EventName":"aws:DISCONNECT_USER",'
        f'"Attributes":{{"Reason":"Enough","UserId":"troll"}},"SendTime":"{time}"}}'
    )
    for socket in (moderator, *victims):
        assert socket.receive_text() == text
    for victim in victims:
        assert victim.receive_close() == (1000, "Enough")


@pytest.mark.covers("DISCONNECT_USER")
def test_what_a_user_sent_behind_the_disconnection_is_not_published(join):
    moderator, viewer, troll = join(), join(user="bob", capabilities=[]), join(user="troll")
    actions = [{"Action": "DISCONNECT_USER", "UserId": "troll", "Reason": "Enough"}]
    actions += [{"Action": "SEND_MESSAGE", "Content": "too late"}] * 3
    troll.send_bytes(b"".join(encode_frame(TEXT, json.dumps(action)) for action in actions))
    assert viewer.receive_json()["EventName"] == "aws:DISCONNECT_USER"
    assert troll.receive_json()["EventName"] == "aws:DISCONNECT_USER"
    assert troll.receive_close() == (1000, "Enough")
    assert join(user="troll").act(Action="SEND_MESSAGE", Content="back")["Content"] == "back"
    assert viewer.receive_json()["Content"] == "back"
    assert moderator.receive_json()["EventName"] == "aws:DISCONNECT_USER"


@pytest.mark.covers("DISCONNECT_USER")
def test_a_long_reason_is_cut_at_a_character_to_fit_a_close_frame(join):
    moderator, victim = join(), join(user="troll")
    reason = "é" * 256
    event = moderator.act(Action="DISCONNECT_USER", UserId="troll", Reason=reason)
    assert event["Attributes"]["Reason"] == reason
    assert victim.receive_json()["Attributes"]["Reason"] == reason
    code, close_reason = victim.receive_close()
    assert code == 1000 and reason.startswith(close_reason) and 120 <= len(close_reason.encode()) <= 123


@pytest.mark.covers("DISCONNECT_USER")
def test_a_moderator_may_disconnect_herself(join):
    moderator = join(user="me")
    assert moderator.act(Action="DISCONNECT_USER", UserId="me")["EventName"] == "aws:DISCONNECT_USER"
    code, _ = moderator.receive_close()
    assert code == 1000


@pytest.mark.covers("frame:ERROR", "SEND_MESSAGE")
def test_an_error_frame_goes_to_the_requester_alone_and_the_connection_lives_on(join):
    sender, viewer = join(), join(user="bob")
    sender.send_json({"Action": "SEND_MESSAGE", "Content": "x" * 501, "RequestId": "too-long"})
    text = sender.receive_text()
    frame_id, _ = varying(text)
    frame = json.loads(text)
    assert frame == {
        "Type": "ERROR",
        "Id": frame_id,
        "RequestId": "too-long",
        "ErrorCode": 400,
        "ErrorMessage": "Message exceeds maximum length",
    }
    assert not re.search(rb'": |, "', text), "no spaces between tokens"
    assert sender.act(Action="SEND_MESSAGE", Content="fine")["Content"] == "fine"
    assert viewer.receive_json()["Content"] == "fine"


# --- requests ----------------------------------------------------------------------------------------------------


@pytest.mark.covers("SEND_MESSAGE", "DELETE_MESSAGE", "DISCONNECT_USER")
def test_keys_in_any_case_and_unknown_keys(join):
    sender = join(user="alice")
    frame = sender.act(action="SEND_MESSAGE", content="lower", attributes={"Kept": "As"}, requestId="q", id="ignored", x=[{}])
    assert (frame["Content"], frame["Attributes"], frame["RequestId"]) == ("lower", {"Kept": "As"}, "q")
    frame = sender.act(ACTION="DELETE_MESSAGE", iD="M2YcHkgffEvU", REASON="why", requestid="d")
    assert (frame["EventName"], frame["Attributes"]["Reason"], frame["RequestId"]) == ("aws:DELETE_MESSAGE", "why", "d")
    frame = sender.act(action="DISCONNECT_USER", userId="nobody", reason="r")
    assert (frame["EventName"], frame["Attributes"]["UserId"]) == ("aws:DISCONNECT_USER", "nobody")


@pytest.mark.covers("frame:ERROR")
@pytest.mark.parametrize(
    "request_text",
    [
        "", "null", "[]", "{", "nonsense", '"text"', "{}", '{"Action":7}', '{"Action":"FLY"}', '{"Action":"send_message "}',
        '{"Action":"SEND_MESSAGE"}', '{"Action":"SEND_MESSAGE","Content":""}', '{"Action":"SEND_MESSAGE","Content":5}',
        '{"Action":"SEND_MESSAGE","Content":null}',
        '{"Action":"SEND_MESSAGE","Content":"x","Attributes":[]}', '{"Action":"SEND_MESSAGE","Content":"x","Attributes":{"a":1}}',
        '{"Action":"SEND_MESSAGE","Content":"x","RequestId":{}}', "[" * 5000, '{"Action":"SEND_MESSAGE","Content":"a"}{}',
        '{"Action":"DELETE_MESSAGE"}', '{"Action":"DELETE_MESSAGE","Id":"short"}', '{"Action":"DELETE_MESSAGE","Id":"M2YcHkgffEv\\n"}',
        '{"Action":"DISCONNECT_USER"}', '{"Action":"DISCONNECT_USER","UserId":""}',
        '{"Action":"DELETE_MESSAGE","Id":"M2YcHkgffEvU","Reason":""}',
    ],
    ids=lambda text: text[:48] or "empty",
)  # fmt: skip
def test_requests_that_are_wrong_get_400_and_the_connection_lives_on(join, request_text):
    sender = join()
    sender.send_frame(TEXT, request_text)
    frame = sender.receive_json()
    assert (frame["Type"], frame["ErrorCode"]) == ("ERROR", 400), frame
    assert frame["ErrorMessage"] and ID.match(frame["Id"])
    assert sender.act(Action="SEND_MESSAGE", Content="alive")["Content"] == "alive"


@pytest.mark.covers("frame:ERROR")
def test_the_request_id_of_a_wrong_request_comes_back(join):
    sender = join()
    for request in (
        {"Action": "FLY", "RequestId": "r-9"},
        {"Action": "SEND_MESSAGE", "requestid": "r-9"},
        {"Action": "DELETE_MESSAGE", "Id": "?", "RequestId": "r-9"},
    ):
        assert sender.act(**request)["RequestId"] == "r-9"


@pytest.mark.covers("frame:ERROR")
def test_fields_that_are_too_large_are_refused(join):
    sender = join()
    exact = sender.act(Action="SEND_MESSAGE", Content="x", Attributes={"k": "v" * 1023})
    assert exact["Attributes"] == {"k": "v" * 1023}
    frame = sender.act(Action="SEND_MESSAGE", Content="x", Attributes={"k": "é" * 512})
    text = "Attributes must have at most 1024 bytes, keys and values together"
    assert (frame["Type"], frame["ErrorCode"], frame["ErrorMessage"]) == ("ERROR", 413, text)
    for request, text in (
        ({"Action": "DISCONNECT_USER", "UserId": "u" * 129}, "UserId must have at most 128 characters"),
        ({"Action": "DISCONNECT_USER", "UserId": "u", "Reason": "r" * 257}, "Reason must have 1 to 256 characters"),
        ({"Action": "DELETE_MESSAGE", "Id": "M2YcHkgffEvU", "Reason": "é" * 257}, "Reason must have 1 to 256 characters"),
    ):
        frame = sender.act(**request)
        assert (frame["Type"], frame["ErrorCode"], frame["ErrorMessage"]) == ("ERROR", 413, text)
    assert sender.act(Action="SEND_MESSAGE", Content="alive")["Content"] == "alive"


@pytest.mark.covers("frame:ERROR", "SEND_MESSAGE")
def test_a_request_id_has_at_most_256_bytes(join):
    sender = join()
    longest = "é" * 128
    assert sender.act(Action="SEND_MESSAGE", Content="x", RequestId=longest)["RequestId"] == longest
    frame = sender.act(Action="SEND_MESSAGE", Content="x", RequestId=f"{longest}r")
    assert (frame["Type"], frame["ErrorCode"], frame["RequestId"]) == ("ERROR", 413, f"{longest}r")


@pytest.mark.covers("SEND_MESSAGE")
@pytest.mark.parametrize("first, last", [("Content", "content"), ("content", "Content"), ("Content", "Content")])
def test_of_a_member_given_twice_the_last_one_counts(join, first, last):
    sender = join()
    sender.send_frame(TEXT, '{"Action":"SEND_MESSAGE","%s":"first","%s":"last"}' % (first, last))
    assert sender.receive_json()["Content"] == "last"


@pytest.mark.covers("frame:ERROR")
def test_binary_is_closed_with_1003(join):
    sender = join()
    sender.send_frame(BINARY, b'{"Action":"SEND_MESSAGE","Content":"binary"}')
    assert sender.receive_close()[0] == 1003


# --- capabilities ------------------------------------------------------------------------------------------------

REQUESTS = {
    "SEND_MESSAGE": {"Action": "SEND_MESSAGE", "Content": "x"},
    "DELETE_MESSAGE": {"Action": "DELETE_MESSAGE", "Id": "M2YcHkgffEvU"},
    "DISCONNECT_USER": {"Action": "DISCONNECT_USER", "UserId": "nobody"},
}


@pytest.mark.covers("SEND_MESSAGE", "DELETE_MESSAGE", "DISCONNECT_USER", "frame:ERROR")
@pytest.mark.parametrize("capabilities", [[], *([one] for one in ALL), ALL[:2]], ids=",".join)
def test_a_capability_is_needed_for_each_action(join, capabilities):
    socket, viewer = join(capabilities=capabilities), join(user="bob")
    for action, request in REQUESTS.items():
        frame = socket.act(**request, RequestId=action)
        assert frame["RequestId"] == action
        if action in capabilities:
            assert frame["Type"] != "ERROR"
            assert viewer.receive_json() == frame
        else:
            assert (frame["Type"], frame["ErrorCode"]) == ("ERROR", 403)
    viewer.expect_silence_until(b"nobody saw what was refused")


# --- limits ------------------------------------------------------------------------------------------------------


@pytest.mark.covers("SEND_MESSAGE")
@pytest.mark.parametrize("character", ["x", "é", "日", "🎉"])
def test_the_length_of_a_message_counts_code_points(join, character):
    sender = join()
    assert sender.act(Action="SEND_MESSAGE", Content=character * 500)["Content"] == character * 500
    frame = sender.act(Action="SEND_MESSAGE", Content=character * 501)
    assert (frame["ErrorCode"], frame["ErrorMessage"]) == (400, "Message exceeds maximum length")


def answers(socket, requests):
    """Sends everything at once; the answers by RequestId, in whatever order they come, and how long that took."""
    frames, expected = {}, {request["RequestId"] for request in requests}
    started = time.monotonic()
    for request in requests:
        socket.send_json(request)
    while len(frames) < len(requests):
        frame = socket.receive_json()
        # Others' messages come in between, each with the RequestId of its sender.
        if frame["RequestId"] in expected:
            frames[frame["RequestId"]] = frame
    return frames, time.monotonic() - started


def assert_rate(passed, per_second, seconds):
    """A second's worth passes at once, and then as many as the time that went by allows."""
    assert per_second <= passed <= per_second * (1 + seconds) + 1, f"{passed} in {seconds} s"


def burst(count, prefix="n"):
    """As many messages as asked for, each with its own RequestId."""
    return [{"Action": "SEND_MESSAGE", "Content": "x", "RequestId": f"{prefix}{number}"} for number in range(count)]


def send_until_accepted(socket):
    """Sends until a message goes through; each try waits for its answer, so the limit itself sets the pace."""
    for attempt in range(10_000):
        request_id = f"again{attempt}"
        request = {"Action": "SEND_MESSAGE", "Content": "again", "RequestId": request_id}
        frame = answers(socket, [request])[0][request_id]
        if frame["Type"] == "MESSAGE":
            return frame
    raise AssertionError("never accepted again")


@pytest.mark.covers("SEND_MESSAGE", "frame:ERROR")
def test_ten_requests_a_second_of_one_connection(join):
    sender, other = join(), join(user="bob")
    frames, seconds = answers(sender, burst(40))
    passed = [frame for frame in frames.values() if frame["Type"] == "MESSAGE"]
    refused = [frame for frame in frames.values() if frame["Type"] == "ERROR"]
    assert_rate(len(passed), 10, seconds)
    for frame in refused:
        assert (frame["ErrorCode"], frame["ErrorMessage"]) == (429, "rate limit exceeded")
    assert answers(other, burst(1, "other"))[0]["other0"]["Type"] == "MESSAGE", "the limit is the connection's own"
    assert send_until_accepted(sender)["Content"] == "again"


@pytest.mark.covers("frame:ERROR")
def test_every_kind_of_request_counts_against_the_connection(join):
    sender = join(capabilities=["DELETE_MESSAGE"])
    requests = [{"Action": "DELETE_MESSAGE", "Id": "M2YcHkgffEvU", "RequestId": f"n{number}"} for number in range(20)]
    frames, seconds = answers(sender, requests)
    codes = [frame.get("ErrorCode") for frame in frames.values()]
    assert_rate(codes.count(None), 10, seconds)
    assert codes.count(429) == 20 - codes.count(None)


@pytest.mark.covers("SEND_MESSAGE", "CreateRoom")
def test_the_rooms_own_rate_counts_all_senders(chat, join):
    slow = chat.create_room(maximumMessageRatePerSecond=2)
    senders = [join(user=f"u{number}", room=slow) for number in range(3)]
    passed, started = 0, time.monotonic()
    for number, sender in enumerate(senders):
        frames, _ = answers(sender, burst(4, f"s{number}-"))
        for frame in frames.values():
            if frame["Type"] == "MESSAGE":
                passed += 1
            else:
                assert (frame["ErrorCode"], frame["ErrorMessage"]) == (429, "rate limit exceeded")
    assert_rate(passed, 2, time.monotonic() - started)


# --- moderation from the control plane, and life-cycle -----------------------------------------------------------


@pytest.mark.covers("SendEvent", "frame:EVENT")
def test_an_application_event_byte_for_byte(chat, room, join):
    viewer = join(capabilities=[])
    sent = chat.send_event(roomIdentifier=room["arn"], eventName="app:x", attributes={"b": "2", "a": "1"})
    text = viewer.receive_text()
    frame_id, time = varying(text)
    assert frame_id == sent["id"]
    assert text.decode() == (
        f'{{"Type":"EVENT","Id":"{frame_id}","RequestId":"","EventName":"app:x","Attributes":{{"a":"1","b":"2"}},'
        f'"SendTime":"{time}"}}'
    )
    chat.send_event(roomIdentifier=room["arn"], eventName="app:bare")
    frame = viewer.receive_json()
    assert frame["EventName"] == "app:bare" and not frame["Attributes"]


@pytest.mark.covers("DeleteRoom", "SEND_MESSAGE", "frame:ERROR")
def test_a_deleted_room_keeps_its_connections_and_publishing_gets_404(chat, room, join):
    sender, viewer = join(), join(user="bob", capabilities=[])
    chat.delete_room(identifier=room["arn"])
    for request in REQUESTS.values():
        frame = sender.act(**request, RequestId="late")
        assert (frame["Type"], frame["ErrorCode"], frame["RequestId"]) == ("ERROR", 404, "late")
    viewer.expect_silence_until(b"open, and nothing was published")


@pytest.mark.covers("UpdateRoom", "SEND_MESSAGE")
def test_update_room_takes_hold_on_open_connections(chat, room, join):
    sender = join()
    assert sender.act(Action="SEND_MESSAGE", Content="x" * 500)["Type"] == "MESSAGE"
    chat.update_room(identifier=room["arn"], maximumMessageLength=5)
    assert sender.act(Action="SEND_MESSAGE", Content="123456")["ErrorMessage"] == "Message exceeds maximum length"
    assert sender.act(Action="SEND_MESSAGE", Content="12345")["Content"] == "12345"
    chat.update_room(identifier=room["arn"], maximumMessageLength=500)
    assert sender.act(Action="SEND_MESSAGE", Content="123456")["Content"] == "123456"


@pytest.mark.covers("UpdateRoom")
def test_a_lower_rate_takes_hold_on_open_connections(chat, room, join):
    senders = [join(user=f"u{number}") for number in range(2)]
    chat.update_room(identifier=room["arn"], maximumMessageRatePerSecond=1)
    started = time.monotonic()
    frames = [frame for n, sender in enumerate(senders) for frame in answers(sender, burst(5, f"s{n}-"))[0].values()]
    passed = sum(frame["Type"] == "MESSAGE" for frame in frames)
    assert_rate(passed, 1, time.monotonic() - started)


@pytest.mark.covers("CreateRoom", "frame:MESSAGE")
def test_rooms_do_not_hear_each_other(chat, room, join):
    other = chat.create_room()
    here, there = join(), join(room=other)
    here.act(Action="SEND_MESSAGE", Content="here")
    there.expect_silence_until(b"nothing of the other room")


@pytest.mark.covers("frame:MESSAGE")
def test_everybody_sees_one_order(join):
    senders = [join(user=f"u{number}") for number in range(5)]
    for number, sender in enumerate(senders):
        for request in burst(5, f"u{number}-"):
            sender.send_json(request)
    seen = [[socket.receive_json()["Id"] for _ in range(25)] for socket in senders]
    assert all(order == seen[0] for order in seen) and len(set(seen[0])) == 25
