"""A raw WebSocket client for the messaging edge: sees every byte, and can break every rule.

It checks what a server must always do (unmasked frames, no reserved bits, the token echoed), and leaves everything
else to the test. All reads have a deadline.
"""

import base64
import hashlib
import json
import os
import socket
import struct
from dataclasses import dataclass
from urllib.parse import urlsplit

from server import address

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
CONTINUATION = 0x0
DEADLINE_SECONDS = 10
ACCEPT_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Refused(Exception):
    """The server answered the handshake with something other than 101."""

    def __init__(self, status, headers, body):
        super().__init__(f"{status} {body!r}")
        self.status, self.headers, self.body = status, headers, body


class Dropped(Exception):
    """The peer closed the TCP connection without a Close frame."""


@dataclass(frozen=True)
class Frame:
    """A frame as it came over the wire."""

    opcode: int
    payload: bytes
    final: bool


def encode_frame(opcode, payload=b"", *, final=True, mask=True, reserved=0, length=None, mask_key=None):
    """A client frame; `mask=False`, reserved bits and a wrong length form break the rules on purpose."""
    payload = payload.encode() if isinstance(payload, str) else payload
    head = bytes([(0x80 if final else 0) | reserved << 4 | opcode])
    size = len(payload) if length is None else length
    bit = 0x80 if mask else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 1 << 16:
        head += bytes([bit | 126]) + struct.pack("!H", size)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", size)
    if not mask:
        return head + payload
    key = mask_key or os.urandom(4)
    repeated = key * (len(payload) // 4 + 1)
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(repeated[: len(payload)], "big")
    return head + key + masked.to_bytes(len(payload), "big")


def handshake_bytes(host, token, *, key=None, path="/", extra=(), omit=()):
    """The request that opens a WebSocket."""
    key = key or base64.b64encode(os.urandom(16)).decode()
    headers = [
        ("Host", host),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", key),
        ("Sec-WebSocket-Version", "13"),
    ]
    if token is not None:
        headers.append(("Sec-WebSocket-Protocol", token))
    headers = [(name, value) for name, value in headers if name not in omit] + list(extra)
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode(), key


def parse_head(head):
    """Status and lower-case headers of a response head."""
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(status_line.split(" ", 2)[1]), headers


def refusal(url, token, **handshake):
    """How a handshake is refused that must be, before the upgrade: its status, and its one line for people."""
    try:
        ChatSocket(url, token, **handshake).close()
    except Refused as refused:
        text = refused.body.decode()
        assert refused.headers["content-type"] == "text/plain" and refused.headers["connection"] == "close"
        assert text.endswith("\n") and len(text.splitlines()) == 1, text
        return refused.status, text.removesuffix("\n")
    raise AssertionError("let in")


class ChatSocket:
    """One connection to the messaging edge."""

    def __init__(self, url, token, *, timeout=DEADLINE_SECONDS, receive_buffer=None, **handshake):
        """`receive_buffer`: so many bytes, and hardly more, does the kernel take in before they are read."""
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(address(url))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.buffer = b""
        try:
            request, key = handshake_bytes(urlsplit(url).netloc, token, **handshake)
            self.socket.sendall(request)
            self._read_answer(token, key)
        except BaseException:
            self.socket.close()
            raise

    def _read_answer(self, token, key):
        while b"\r\n\r\n" not in self.buffer:
            self._fill()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        self.status, self.headers = parse_head(head)
        if self.status != 101:
            raise Refused(self.status, self.headers, self._rest_of_body())
        accept = base64.b64encode(hashlib.sha1(key.encode() + ACCEPT_SUFFIX).digest()).decode()
        assert self.headers["sec-websocket-accept"] == accept
        assert self.headers["sec-websocket-protocol"] == token
        assert self.headers["upgrade"].lower() == "websocket"
        assert "upgrade" in self.headers["connection"].lower()
        assert "sec-websocket-extensions" not in self.headers

    def _rest_of_body(self):
        length = int(self.headers.get("content-length", "0"))
        while len(self.buffer) < length:
            self._fill()
        return self.buffer[:length]

    def _fill(self):
        try:
            received = self.socket.recv(65536)
        except ConnectionResetError:
            raise Dropped from None
        if not received:
            raise Dropped
        self.buffer += received

    def _take(self, count):
        while len(self.buffer) < count:
            self._fill()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Closes the TCP connection, without ceremony."""
        self.socket.close()

    def send_bytes(self, data):
        """Sends anything."""
        self.socket.sendall(data)

    def send_frame(self, opcode, payload=b"", **how):
        """Sends one frame."""
        self.socket.sendall(encode_frame(opcode, payload, **how))

    def send_json(self, value):
        """Sends an action."""
        self.send_frame(TEXT, json.dumps(value, ensure_ascii=False))

    def receive_frame(self):
        """The next frame of any kind."""
        first, second = self._take(2)
        assert not second & 0x80, "a server must not mask"
        assert not first & 0x70, "no extension was negotiated"
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self._take(2))
            assert size > 125
        elif size == 127:
            (size,) = struct.unpack("!Q", self._take(8))
            assert size > 65535
        return Frame(first & 0x0F, self._take(size), bool(first & 0x80))

    def receive_text(self):
        """The next text message as bytes; pings that come in between are answered."""
        while True:
            frame = self.receive_frame()
            if frame.opcode == PING:
                self.send_frame(PONG, frame.payload)
                continue
            assert frame.opcode == TEXT, f"expected text, got {frame}"
            assert frame.final
            return frame.payload

    def receive_json(self):
        """The next text message as JSON."""
        return json.loads(self.receive_text())

    def receive_close(self):
        """Waits for a Close frame, answers it, and returns its code and reason."""
        while True:
            frame = self.receive_frame()
            if frame.opcode == CLOSE:
                break
            assert frame.opcode in (PING, PONG), f"expected Close, got {frame}"
        try:
            self.send_frame(CLOSE, frame.payload[:2])
        except OSError:
            pass  # The server may have hung up right behind its Close frame.
        (code,) = struct.unpack("!H", frame.payload[:2])
        return code, frame.payload[2:].decode()

    def expect_silence_until(self, marker):
        """Sends a ping and asserts that nothing but its pong comes back: what was to come would have come before."""
        self.send_frame(PING, marker)
        frame = self.receive_frame()
        assert (frame.opcode, frame.payload) == (PONG, marker), frame

    def act(self, **action):
        """Sends an action and returns the next frame as JSON."""
        self.send_json(action)
        return self.receive_json()
