"""HTTP on a TCP connection of the test's own, for what HTTP libraries do not do: pipelining, half-closing, waiting."""

import socket

from edge import parse_head
from signing import sign


class Wire:
    """A TCP connection to the API port on which whole responses are read one after the other."""

    def __init__(self, http):
        self.http = http
        self.socket = socket.create_connection(http.address, timeout=10)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def request(self, body=b"{}", target="/ListRooms", **how):
        """A signed request as bytes."""
        headers = {**sign("POST", target, self.http.host, body, **how), "Content-Length": str(len(body))}
        lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode() + body

    def _fill(self):
        received = self.socket.recv(65536)
        assert received, "the server hung up"
        self.buffer += received

    def response(self):
        """Status, headers and body of the next response."""
        while b"\r\n\r\n" not in self.buffer:
            self._fill()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        status, headers = parse_head(head)
        length = int(headers.get("content-length", "0"))
        while len(self.buffer) < length:
            self._fill()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return status, headers, body


def answers_until_the_end(connection):
    """All answers of a connection that the server ends, as (status, headers, body); a reset fails the test."""
    received = bytearray()
    while piece := connection.recv(65536):
        received += piece
    answers, start = [], 0
    while start < len(received):
        end = received.index(b"\r\n\r\n", start)
        status, headers = parse_head(received[start:end])
        start = end + 4 + int(headers["content-length"])
        answers.append((status, headers, bytes(received[end + 4 : start])))
    return answers
