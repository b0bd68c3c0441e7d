"""TLS on all three ports: boto3 over HTTPS, Python `websockets` over WSS, health over HTTPS, and bytes that are no TLS."""

import http.client
import json
import socket
import ssl
import time
import urllib.request

import pytest
from websockets.sync.client import connect

import clients
from certificate import certify
from server import Server, address
from work import Work

DEADLINE_SECONDS = 10


@pytest.fixture(scope="module")
def tls_server(certificate, tmp_path_factory):
    """A server with TLS."""
    cert, key = certificate
    environment = {"GRANDSTAND_TLS_CERT_FILE": str(cert), "GRANDSTAND_TLS_KEY_FILE": str(key)}
    server = Server(tmp_path_factory.mktemp("server") / "data", environment=environment).start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def tls_chat(tls_server, certificate):
    """A boto3 client that trusts the certificate."""
    return clients.ivschat(tls_server, certificate=str(certificate[0]))


@pytest.fixture
def join(tls_server, tls_chat, certificate):
    """Opens a secure connection for a user of a room."""
    context = ssl.create_default_context(cafile=certificate[0])

    def join(room, user):
        capabilities = ["SEND_MESSAGE", "DISCONNECT_USER"]
        token = tls_chat.create_chat_token(roomIdentifier=room, userId=user, capabilities=capabilities)["token"]
        return connect(tls_server.edge, subprotocols=[token], ssl=context, open_timeout=DEADLINE_SECONDS)

    return join


def receive(connection):
    """The next frame as JSON."""
    return json.loads(connection.recv(timeout=DEADLINE_SECONDS))


def test_all_ports_announce_and_speak_tls(tls_server, certificate):
    assert tls_server.edge.startswith("wss://")
    context = ssl.create_default_context(cafile=certificate[0])
    for url in (tls_server.api, tls_server.admin, tls_server.edge.replace("wss:", "https:")):
        assert url.startswith("https://")
        with urllib.request.urlopen(f"{url}/health/ready", context=context, timeout=DEADLINE_SECONDS) as response:
            assert response.status == 200


@pytest.mark.covers("CreateRoom", "CreateChatToken", "SEND_MESSAGE", "DISCONNECT_USER", "frame:MESSAGE", "frame:EVENT")
def test_a_chat_over_wss_keeps_every_message_in_order(tls_chat, join):
    room = tls_chat.create_room(maximumMessageRatePerSecond=100)["arn"]
    with join(room, "alice") as alice, join(room, "bob") as bob:
        contents = [f"{number} " + "é" * 490 for number in range(10)]
        for content in contents:
            alice.send(json.dumps({"Action": "SEND_MESSAGE", "Content": content}))
        assert [receive(bob)["Content"] for _ in contents] == contents
        assert [receive(alice)["Content"] for _ in contents] == contents
        bob.send(json.dumps({"Action": "DISCONNECT_USER", "UserId": "alice", "Reason": "enough"}))
        assert receive(alice)["EventName"] == "aws:DISCONNECT_USER"
        with pytest.raises(Exception, match="1000.*enough"):
            receive(alice)


def test_a_message_in_many_tls_records_is_one_message(tls_chat, join):
    room = tls_chat.create_room()["arn"]
    with join(room, "alice") as alice:
        alice.send(iter(['{"Action":"SEND_MESSAGE",', '"Content":"in ', 'pieces"}']))
        assert receive(alice)["Content"] == "in pieces"


def test_refusals_are_whole_over_tls(tls_server, certificate):
    context = ssl.create_default_context(cafile=certificate[0])
    padding = b"GET / HTTP/1.1\r\nHost: x\r\nX-Padding: " + b"x" * 100_000 + b"\r\n\r\n"
    for url in (tls_server.api, tls_server.admin, tls_server.edge):
        plain = socket.create_connection(address(url), DEADLINE_SECONDS)
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as wire:
            wire.sendall(padding)
            answer = http.client.HTTPResponse(wire)
            answer.begin()
            body = answer.read()
            assert answer.status == 431 and body, url
            assert url != tls_server.api or answer.headers["x-amzn-ErrorType"] == "RequestHeaderFieldsTooLargeException"
            assert url != tls_server.edge or body == b"the request's headers are too long\n"


def test_a_client_that_speaks_no_tls_is_dropped_and_others_are_served(tls_server, tls_chat):
    with socket.create_connection(address(tls_server.edge), DEADLINE_SECONDS) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + bytes(64))
        while stranger.recv(4096):
            pass
    assert "rooms" in tls_chat.list_rooms()


def test_while_another_process_takes_over_no_tls_connection_is_refused(tls_server, certificate):
    context = ssl.create_default_context(cafile=certificate[0])

    def asking(url):
        def ask(_):
            with urllib.request.urlopen(f"{url}/health/ready", context=context, timeout=DEADLINE_SECONDS) as response:
                assert response.status == 200

        return ask

    urls = (tls_server.api, tls_server.admin, tls_server.edge.replace("wss:", "https:"))
    with Work(*map(asking, urls)) as work:
        for _ in range(3):
            work.go_on()
            tls_server.hand_over()
        work.go_on()


def test_a_new_certificate_is_used_without_a_restart_and_connections_stay(tmp_path):
    cert, key = certify(tmp_path)
    environment = {"GRANDSTAND_TLS_CERT_FILE": str(cert), "GRANDSTAND_TLS_KEY_FILE": str(key)}
    server = Server(tmp_path / "data", environment=environment).start()
    chat = clients.ivschat(server, certificate=str(cert))
    room = chat.create_room()["arn"]
    token = chat.create_chat_token(roomIdentifier=room, userId="alice", capabilities=["SEND_MESSAGE"])["token"]
    context = ssl.create_default_context(cafile=cert)
    with connect(server.edge, subprotocols=[token], ssl=context, open_timeout=DEADLINE_SECONDS) as alice:
        renewed = tmp_path / "renewed"
        renewed.mkdir()
        for new, old in zip(certify(renewed), (cert, key), strict=True):
            new.rename(old)
        deadline = time.monotonic() + DEADLINE_SECONDS
        for url in (server.api, server.admin, server.edge):
            while ssl.get_server_certificate(address(url)) != cert.read_text():
                assert time.monotonic() < deadline, f"{url} has the old certificate"
        alice.send(json.dumps({"Action": "SEND_MESSAGE", "Content": "still here"}))
        assert receive(alice)["Content"] == "still here"
    renewed_chat = clients.ivschat(server, certificate=str(cert))
    assert [found["arn"] for found in renewed_chat.list_rooms()["rooms"]] == [room]
    server.stop()


def test_a_client_that_comes_back_resumes_its_session(tls_server, certificate):
    context = ssl.create_default_context(cafile=certificate[0])
    for url in (tls_server.api, tls_server.admin, tls_server.edge):
        session = None
        for is_reused in (False, True):
            plain = socket.create_connection(address(url), DEADLINE_SECONDS)
            with context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as wire:
                wire.sendall(b"GET /health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                # Tickets come with the first bytes of the answer.
                assert wire.recv(4096).startswith(b"HTTP/1.1 200")
                assert wire.session_reused == is_reused, url
                session = wire.session
