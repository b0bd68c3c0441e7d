"""`trusted_proxies`: whom the server takes a chat client to be, which it says in its debug log."""

import socket
import struct

import pytest

import clients
from edge import handshake_bytes
from server import Server, address

DEADLINE_SECONDS = 10
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def preface(client):
    """A PROXY header, version 2, that names an IPv4 client."""
    addresses = socket.inet_aton(client) + socket.inet_aton("127.0.0.1") + struct.pack("!HH", 1234, 80)
    return SIGNATURE + b"\x21\x11" + struct.pack("!H", len(addresses)) + addresses


@pytest.fixture(scope="module", params=["127.0.0.0/8", ""], ids=["trusted", "not trusted"])
def proxied(request, tmp_path_factory):
    """A server that trusts its neighbours or nobody, and says whom it lets in."""
    environment = {"GRANDSTAND_LOG_FILTER": "info,server::edge=debug", "GRANDSTAND_TRUSTED_PROXIES": request.param}
    server = Server(tmp_path_factory.mktemp("proxies") / "data", environment=environment).start()
    yield server, bool(request.param)
    server.stop()


def client_in_log(server, before=b"", extra=()):
    """Joins behind `before`, and answers the client's address as the log has it; `None` if nobody was let in."""
    chat = clients.ivschat(server)
    room = chat.create_room()["arn"]
    token = chat.create_chat_token(roomIdentifier=room, userId="u")["token"]
    request, _ = handshake_bytes("x", token, extra=extra)
    with socket.create_connection(address(server.edge), DEADLINE_SECONDS) as connection:
        connection.sendall(before + request)
        if not connection.recv(4096).startswith(b"HTTP/1.1 101 "):
            return None
    room_id = room.rsplit("/", 1)[1]
    lines = [line for line in server.log_path.read_text().splitlines() if "let in" in line and room_id in line]
    (line,) = lines
    return line.split("client=")[1].split()[0]


def test_without_a_proxy_the_client_is_the_peer(proxied):
    server, _ = proxied
    assert client_in_log(server) == "127.0.0.1"


def test_forwarded_for_is_believed_from_a_trusted_proxy_only(proxied):
    server, trusted = proxied
    extra = [("X-Forwarded-For", "6.6.6.6, 203.0.113.7, 127.0.0.9")]
    assert client_in_log(server, extra=extra) == ("203.0.113.7" if trusted else "127.0.0.1")


def test_a_proxy_header_is_believed_from_a_trusted_proxy_only(proxied):
    server, trusted = proxied
    assert client_in_log(server, before=preface("203.0.113.9")) == ("203.0.113.9" if trusted else None)
