"""The example `echo`: the messaging edge, but that messages come back; and a doorman for clients without a chat token."""

import asyncio
import os
import queue
import subprocess
from pathlib import Path

from server import ROOT, Lines, address

ECHO_BINARY = Path(os.environ.get("GRANDSTAND_ECHO_BIN", ROOT / "target" / "debug" / "examples" / "echo"))
ANSWER_SECONDS_MAX = 20
END_SECONDS_MAX = 10
PIECE_BYTES = 1024 * 1024


class Echo:
    """The echo server, for messages of up to so many bytes; with TLS when it is given a certificate and its key."""

    def __init__(self, message_bytes_max, certificate=()):
        assert ECHO_BINARY.exists(), f"build it first (cargo build --example echo), or set GRANDSTAND_ECHO_BIN: no {ECHO_BINARY}"
        command = [ECHO_BINARY, str(message_bytes_max), *certificate]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines = Lines(self.process.stdout)
        try:
            self.url = self._line()
        except BaseException:
            self.process.kill()
            raise

    def _line(self):
        try:
            line = self.lines.next(ANSWER_SECONDS_MAX)
        except queue.Empty:
            line = None
        assert line, f"the echo server does not answer; its exit code: {self.process.poll()}"
        return line.rstrip("\n")

    def token(self):
        """A chat token that opens one connection."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._line()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            assert self.process.wait(END_SECONDS_MAX) == 0
        finally:
            self.process.kill()


class Doorman:
    """Leads whoever connects to an echo server, with a chat token put into the handshake, and over TLS if it has that.

    All bytes behind the handshake go through as they are, and so does the end of either side.
    """

    def __init__(self, echo, tls=None):
        self.echo, self.tls = echo, tls
        self.server = None

    @property
    def url(self):
        """Where to knock."""
        return "ws://{}:{}".format(*self.server.sockets[0].getsockname())

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._lead, "127.0.0.1", 0, limit=PIECE_BYTES)
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    async def _lead(self, guest_reader, guest_writer):
        host, port = address(self.echo.url)
        name = host if self.tls else None
        reader, writer = await asyncio.open_connection(host, port, ssl=self.tls, server_hostname=name, limit=PIECE_BYTES)
        try:
            request = await guest_reader.readuntil(b"\r\n\r\n")
            token = self.echo.token().encode()
            writer.write(request[:-2] + b"Sec-WebSocket-Protocol: " + token + b"\r\n\r\n")
            answer = await reader.readuntil(b"\r\n\r\n")
            # A client that has not asked for it must not see it.
            guest_writer.write(answer.replace(b"Sec-WebSocket-Protocol: " + token + b"\r\n", b""))
            await asyncio.gather(_pass_on(guest_reader, writer), _pass_on(reader, guest_writer))
        except (OSError, asyncio.IncompleteReadError):
            pass  # Either side has gone.
        finally:
            writer.close()
            guest_writer.close()


async def _pass_on(reader, writer):
    """All that one side says, to the other, and then that it has ended."""
    while piece := await reader.read(PIECE_BYTES):
        writer.write(piece)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    else:
        writer.close()
