"""RFC 6455 to the letter: fragments, control frames, UTF-8, and the close code of each violation."""

import json
import struct

import pytest

from edge import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, ChatSocket, encode_frame


@pytest.fixture
def socket(server, chat, room):
    """A connection that may send."""
    token = chat.create_chat_token(roomIdentifier=room["arn"], userId="u", capabilities=["SEND_MESSAGE"])["token"]
    with ChatSocket(server.edge, token) as socket:
        yield socket


def message(content):
    """A SEND_MESSAGE as UTF-8."""
    return json.dumps({"Action": "SEND_MESSAGE", "Content": content}, ensure_ascii=False).encode()


@pytest.mark.covers("SEND_MESSAGE")
def test_a_message_in_one_byte_fragments_with_pings_in_between(socket):
    data = message("é🎉 fragments")
    socket.send_frame(TEXT, data[:1], final=False)
    for position in range(1, len(data) - 1):
        socket.send_frame(CONTINUATION, data[position : position + 1], final=False)
        if position % 10 == 0:
            socket.send_frame(PING, b"%d" % position)
    socket.send_frame(CONTINUATION, data[-1:], final=True)
    pongs = []
    while (frame := socket.receive_frame()).opcode == PONG:
        pongs.append(int(frame.payload))
    assert pongs == list(range(10, len(data) - 1, 10))
    assert frame.opcode == TEXT and json.loads(frame.payload)["Content"] == "é🎉 fragments"


def test_empty_fragments_are_allowed(socket):
    data = message("empty")
    for opcode, part, final in ((TEXT, b"", False), (CONTINUATION, data, False), (CONTINUATION, b"", True)):
        socket.send_frame(opcode, part, final=final)
    assert socket.receive_json()["Content"] == "empty"


def test_a_frame_in_single_bytes_on_the_wire(socket):
    for byte in encode_frame(TEXT, message("slow")):
        socket.send_bytes(bytes([byte]))
    assert socket.receive_json()["Content"] == "slow"


def test_many_frames_in_one_segment(socket):
    socket.send_bytes(b"".join(encode_frame(TEXT, message(str(number))) for number in range(5)))
    assert [socket.receive_json()["Content"] for _ in range(5)] == list("01234")


@pytest.mark.parametrize("payload", [b"", b"x", bytes(range(125))])
def test_a_ping_comes_back_as_a_pong(socket, payload):
    socket.send_frame(PING, payload)
    frame = socket.receive_frame()
    assert (frame.opcode, frame.payload, frame.final) == (PONG, payload, True)


def test_an_unasked_pong_is_ignored(socket):
    socket.send_frame(PONG, b"unasked")
    socket.expect_silence_until(b"still here")


@pytest.mark.parametrize("mask_key", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\x02\x03\x04"])
def test_any_mask_key(socket, mask_key):
    socket.send_frame(TEXT, message("masked"), mask_key=mask_key)
    assert socket.receive_json()["Content"] == "masked"


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
def test_a_close_is_answered_with_a_close(socket, code):
    socket.send_frame(CLOSE, struct.pack("!H", code) + "tschüß".encode())
    frame = socket.receive_frame()
    assert frame.opcode == CLOSE and frame.payload[:2] == struct.pack("!H", code)


def test_an_empty_close_is_answered_with_a_close(socket):
    socket.send_frame(CLOSE)
    frame = socket.receive_frame()
    assert frame.opcode == CLOSE and frame.payload in (b"", struct.pack("!H", 1000))


GOOD = message("x")
OVERSIZED = 16 * 1024 + 1
VIOLATIONS = {
    "unmasked": (1002, [encode_frame(TEXT, GOOD, mask=False)]),
    "reserved bit 1": (1002, [encode_frame(TEXT, GOOD, reserved=4)]),
    "reserved bit 2": (1002, [encode_frame(TEXT, GOOD, reserved=2)]),
    "reserved bit 3": (1002, [encode_frame(TEXT, GOOD, reserved=1)]),
    "reserved bit on a ping": (1002, [encode_frame(PING, b"", reserved=1)]),
    "opcode 3": (1002, [encode_frame(0x3, GOOD)]),
    "opcode 7": (1002, [encode_frame(0x7, GOOD)]),
    "opcode 11": (1002, [encode_frame(0xB, b"")]),
    "opcode 15": (1002, [encode_frame(0xF, b"")]),
    "a ping of 126 bytes": (1002, [encode_frame(PING, b"x" * 126)]),
    "a fragmented ping": (1002, [encode_frame(PING, b"x", final=False)]),
    "a fragmented close": (1002, [encode_frame(CLOSE, b"\x03\xe8", final=False)]),
    "a continuation of nothing": (1002, [encode_frame(CONTINUATION, GOOD)]),
    "text inside a fragmented text": (1002, [encode_frame(TEXT, b"{", final=False), encode_frame(TEXT, b"}")]),
    "a close of one byte": (1002, [encode_frame(CLOSE, b"\x03")]),
    "a close of 126 bytes": (1002, [encode_frame(CLOSE, b"\x03\xe8" + b"x" * 124)]),
    "close code 0": (1002, [encode_frame(CLOSE, struct.pack("!H", 0))]),
    "close code 999": (1002, [encode_frame(CLOSE, struct.pack("!H", 999))]),
    "close code 1004": (1002, [encode_frame(CLOSE, struct.pack("!H", 1004))]),
    "close code 1005": (1002, [encode_frame(CLOSE, struct.pack("!H", 1005))]),
    "close code 1006": (1002, [encode_frame(CLOSE, struct.pack("!H", 1006))]),
    "close code 1015": (1002, [encode_frame(CLOSE, struct.pack("!H", 1015))]),
    "close code 2999": (1002, [encode_frame(CLOSE, struct.pack("!H", 2999))]),
    "close code 5000": (1002, [encode_frame(CLOSE, struct.pack("!H", 5000))]),
    "a 16-bit length below 126": (1002, [b"\x81\xfe\x00\x05\0\0\0\0hello"]),
    "a 64-bit length below 65536": (1002, [b"\x81\xff\0\0\0\0\0\0\x00\x05\0\0\0\0hello"]),
    "a binary message": (1003, [encode_frame(BINARY, b"\x00\x01\xff")]),
    "a fragmented binary message": (1003, [encode_frame(BINARY, b"\x00", final=False)]),
    "invalid UTF-8": (1007, [encode_frame(TEXT, b'{"Action":"\xff"}')]),
    "overlong UTF-8": (1007, [encode_frame(TEXT, b"\xc0\xaf")]),
    "a UTF-8 surrogate": (1007, [encode_frame(TEXT, b"\xed\xa0\x80")]),
    "beyond U+10FFFF": (1007, [encode_frame(TEXT, b"\xf4\x90\x80\x80")]),
    "UTF-8 that ends in the middle": (1007, [encode_frame(TEXT, b"x\xf0\x9f\x8e")]),
    "invalid UTF-8 across fragments": (
        1007, [encode_frame(TEXT, b"x\xf0\x9f", final=False), encode_frame(CONTINUATION, b"AB")],
    ),
    "invalid UTF-8 in a close reason": (1007, [encode_frame(CLOSE, b"\x03\xe8\xff\xfe")]),
    "an oversized frame": (1009, [encode_frame(TEXT, b"x" * OVERSIZED)]),
    "an oversized frame that is only announced": (1009, [encode_frame(TEXT, b"", length=OVERSIZED)]),
    "a frame of 2^62 bytes that is only announced": (1009, [encode_frame(TEXT, b"", length=1 << 62)]),
    "an oversized message in fragments": (
        1009,
        [encode_frame(TEXT, b"x" * 9000, final=False), encode_frame(CONTINUATION, b"x" * 9000, final=False)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_violation_is_closed_with_its_code(socket, name):
    code, frames = VIOLATIONS[name]
    for frame in frames:
        socket.send_bytes(frame)
    assert socket.receive_close()[0] == code


def test_the_highest_bit_of_a_64_bit_length_is_a_violation(socket):
    socket.send_bytes(b"\x81\xff\x80\0\0\0\0\0\0\0\0\0\0\0")
    assert socket.receive_close()[0] in (1002, 1009)


def test_a_message_of_the_largest_size_is_read(socket):
    socket.send_frame(TEXT, GOOD[:-1] + b',"Padding":"' + b"x" * (16 * 1024 - len(GOOD) - 13) + b'"}')
    assert socket.receive_json()["Content"] == "x"


def test_a_violation_ends_one_connection_only(server, chat, room, socket):
    token = chat.create_chat_token(roomIdentifier=room["arn"], userId="bad", capabilities=["SEND_MESSAGE"])["token"]
    with ChatSocket(server.edge, token) as bad:
        bad.send_frame(TEXT, GOOD, mask=False)
        assert bad.receive_close()[0] == 1002
    socket.send_frame(TEXT, message("alive"))
    assert socket.receive_json()["Content"] == "alive"
