"""The run contract, on which other people's scripts rely: the announcement, the settings, the first credentials, the
stop, and what a server costs that nobody uses.
"""

import contextlib
import http.client
import json
import os
import re
import select
import signal
import socket
import stat
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import clients
from edge import CLOSE, ChatSocket, Dropped, handshake_bytes
from server import BINARY, Server, address, get
from signing import Requester, sign

IDLE_MEMORY_KB_MAX = 25 * 1024


def test_the_first_line_on_stdout_is_the_announcement(fresh_server):
    url = r"http://127\.0\.0\.1:\d+"
    line = r'\{"event":"ready","api":"%s","edge":"%s","admin":"%s"\}\n' % (url, url.replace("http", "ws"), url)
    assert re.fullmatch(line, fresh_server.first_line.decode())
    assert len({fresh_server.api, fresh_server.admin, fresh_server.edge.replace("ws", "http")}) == 3


def test_an_empty_server_is_small(fresh_server):
    # How long a start takes is measured by the benchmarks, and decides no test.
    with open(f"/proc/{fresh_server.process.pid}/status") as status:
        memory_kb = int(re.search(r"VmRSS:\s+(\d+) kB", status.read())[1])
    assert memory_kb < IDLE_MEMORY_KB_MAX


def test_a_server_without_credentials_makes_a_pair_and_shows_it_once(tmp_path):
    server = Server(tmp_path / "data", with_root=False).start()
    log = server.log_path.read_text()
    pair = dict(re.findall(r"export (AWS_\w+)='([^']+)'", log))
    assert pair["AWS_ENDPOINT_URL_IVSCHAT"] == server.api
    key_id, secret = pair["AWS_ACCESS_KEY_ID"], pair["AWS_SECRET_ACCESS_KEY"]
    room = clients.ivschat(server, access_key_id=key_id, secret=secret).create_room(name="first")
    server.stop()
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert len(files) == 1 and stat.S_IMODE(files[0].stat().st_mode) == 0o600
    server.restart()
    assert server.log_path.read_text().count(secret) == 1, "shown once"
    again = clients.ivschat(server, access_key_id=key_id, secret=secret)
    assert again.get_room(identifier=room["arn"])["name"] == "first"
    server.stop()


def test_a_store_in_memory_forgets_and_leaves_nothing_behind(tmp_path):
    server = Server(tmp_path / "data", environment={"GRANDSTAND_STORE_URL": "memory:"}).start()
    clients.ivschat(server).create_room()
    server.stop()
    assert not (tmp_path / "data").exists()
    server.restart()
    assert clients.ivschat(server).list_rooms()["rooms"] == []
    server.stop()


def test_settings_from_a_file_give_way_to_variables(tmp_path):
    file = tmp_path / "grandstand.toml"
    file.write_text('account_id = "111111111111"\n')
    command = ["serve", "--config", str(file), "--data-dir", str(tmp_path / "data"), "--api-addr", "127.0.0.1:0"]
    for variables, account in (({}, "111111111111"), ({"GRANDSTAND_ACCOUNT_ID": "222222222222"}, "222222222222")):
        server = Server(tmp_path / "data", environment=variables, arguments=["--config", str(file)]).start()
        assert f":{account}:room/" in clients.ivschat(server).create_room()["arn"]
        server.stop()
    file.write_text('account_id = "111111111111"\n[edge]\nshard = 2\n')
    failed = subprocess.run([BINARY, *command], capture_output=True, text=True, timeout=20, check=False)
    assert failed.returncode != 0 and "shard" in failed.stderr and failed.stdout == ""


def test_an_unknown_variable_is_a_warning(tmp_path):
    server = Server(tmp_path / "data", environment={"GRANDSTAND_SERVICE_HOST": "10.0.0.1"}).start()
    warnings = [line for line in server.log_path.read_text().splitlines() if "WARN" in line]
    assert any("GRANDSTAND_SERVICE_HOST" in line for line in warnings)
    server.stop()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_stop_with_open_connections_ends_cleanly_and_brings_clients_back(fresh_server, name):
    chat = clients.ivschat(fresh_server)
    room = chat.create_room()["arn"]
    tokens = [chat.create_chat_token(roomIdentifier=room, userId=f"u{number}")["token"] for number in range(5)]
    sockets = [ChatSocket(fresh_server.edge, token) for token in tokens]
    assert get(fresh_server.admin, "/health/ready")[0] == 200
    fresh_server.process.send_signal(getattr(signal, name))
    for socket in sockets:
        opcodes = []
        with pytest.raises(Dropped):
            while True:
                opcodes.append(socket.receive_frame().opcode)
        assert CLOSE not in opcodes, "a Close frame tells official SDKs not to come back"
        socket.close()
    assert fresh_server.process.wait(10) == 0
    fresh_server.restart()
    token = clients.ivschat(fresh_server).create_chat_token(roomIdentifier=room, userId="u")["token"]
    with ChatSocket(fresh_server.edge, token) as socket:
        socket.expect_silence_until(b"back again")


def request_head(url, path, body, *, more=(), **keys):
    """The head of a signed request, as bytes."""
    headers = sign("POST", path, urlsplit(url).netloc, body, **keys) | {"Content-Length": str(len(body))} | dict(more)
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


def begin_request(server):
    """A request that waits for the rest of its body: a connection on which it is under way, and that rest."""
    body = b"{}"
    connection = socket.create_connection(address(server.api), timeout=10)
    connection.sendall(request_head(server.api, "/CreateRoom", body, more={"Expect": "100-continue"}))
    assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
    return connection, body


def listening_ports(pid):
    """The ports on which a process listens, in the order in which it opened them."""
    listening = {}
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *_, inode = line.split()[:10]
        if state == "0A":
            listening[inode] = int(local.rpartition(":")[2], 16)
    ports = []
    for descriptor in sorted(Path(f"/proc/{pid}/fd").iterdir(), key=lambda path: int(path.name)):
        target = descriptor.readlink().name
        if target.startswith("socket:[") and target[8:-1] in listening:
            ports.append(listening[target[8:-1]])
    return ports


def check_phase(ports, phase):
    """All ports say that the server is alive, and why it is not ready."""
    for port in ports:
        assert get(port, "/health/live")[::2] == (200, '{"status":"live"}')
        assert get(port, "/health/ready")[::2] == (503, f'{{"status":"{phase}"}}')


def send_on_new_connection(url, data):
    """A connection on which `data` has been sent and nothing been read."""
    connection = socket.create_connection(address(url), timeout=10)
    connection.sendall(data)
    return connection


def test_all_ports_tell_that_the_server_starts_and_hold_what_comes_meanwhile(tmp_path):
    server = Server(tmp_path / "data", with_root=False).start()
    credentials = tmp_path / "data" / "root-credentials.json"
    pair = credentials.read_text()
    loaded = json.loads(pair)
    keys = {"access_key_id": loaded["access_key_id"], "secret": loaded["secret_access_key"]}
    chat = clients.ivschat(server, **keys)
    room = chat.create_room()["arn"]
    handshake, _ = handshake_bytes("x", chat.create_chat_token(roomIdentifier=room, userId="u")["token"])
    server.stop()
    # The start comes as far as its credentials, and waits for somebody to write them.
    credentials.unlink()
    os.mkfifo(credentials, 0o600)
    body = json.dumps({"identifier": room}).encode()
    with contextlib.ExitStack() as opened:
        server.launch()
        with credentials.open("w") as pipe:
            ports = [f"http://127.0.0.1:{port}" for port in listening_ports(server.process.pid)]
            api, edge, _ = ports
            check_phase(ports, "starting")
            request = request_head(api, "/GetRoom", body, **keys) + body
            asked = opened.enter_context(send_on_new_connection(api, request))
            joining = opened.enter_context(send_on_new_connection(edge, handshake))
            # Who comes later is told that the server still starts; those two have heard nothing.
            check_phase(ports, "starting")
            assert select.select([asked, joining], [], [], 0) == ([], [], [])
            pipe.write(pair)
        server.wait_until_ready()
        answer = http.client.HTTPResponse(asked)
        answer.begin()
        assert answer.status == 200 and json.loads(answer.read())["arn"] == room
        assert joining.recv(4096).startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert ports == [server.api, server.edge.replace("ws", "http"), server.admin]
    assert get(server.admin, "/health/ready")[0] == 200
    server.stop()


def test_all_ports_tell_that_the_server_drains_and_let_nobody_in(fresh_server):
    ports = [url.replace("ws://", "http://") for url in (fresh_server.api, fresh_server.edge, fresh_server.admin)]
    chat = clients.ivschat(fresh_server)
    room = chat.create_room()["arn"]
    token = chat.create_chat_token(roomIdentifier=room, userId="u")["token"]
    for port in ports:
        assert get(port, "/health/ready")[0] == 200
    # Taken in this order, so once the request is under way the server has both.
    idle = socket.create_connection(address(fresh_server.api), timeout=10)
    under_way, rest = begin_request(fresh_server)
    with under_way, idle:
        fresh_server.process.send_signal(signal.SIGTERM)
        assert idle.recv(1) == b"", "the drain begins by closing what is idle"
        check_phase(ports, "draining")
        late = Requester(fresh_server).call("CreateRoom", {})
        assert (late.status, late.error_type, late.headers["Connection"]) == (503, "ServiceUnavailable", "close")
        handshake, _ = handshake_bytes("x", token)
        with send_on_new_connection(fresh_server.edge, handshake) as held:
            under_way.sendall(rest)
            assert under_way.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n"), "what was under way is answered"
            assert fresh_server.process.wait(10) == 0
            with contextlib.suppress(ConnectionResetError):
                assert held.recv(4096) == b"", "a handshake is held, neither refused nor let in"
    fresh_server.restart()
    with ChatSocket(fresh_server.edge, token):
        pass  # The token was not used up.


def test_idle_connections_of_the_other_ports_do_not_keep_chat_out(tmp_path):
    few = ["sh", "-c", 'ulimit -n 256; exec "$@"', "sh"]
    server = Server(tmp_path / "data", wrapper=few).start()
    chat = clients.ivschat(server)
    room = chat.create_room()["arn"]
    tokens = [chat.create_chat_token(roomIdentifier=room, userId=f"u{number}")["token"] for number in range(20)]
    with contextlib.ExitStack() as opened:
        for url in (server.api, server.admin):
            for _ in range(200):
                opened.enter_context(socket.create_connection(address(url), timeout=10))
        for token in tokens:
            opened.enter_context(ChatSocket(server.edge, token)).expect_silence_until(b"in")
    # Whoever waited for a place gets it.
    assert chat.list_rooms()["rooms"] and get(server.admin, "/health/ready")[0] == 200
    server.stop()


def start_and_fail(data_dir, wrapper=()):
    """Starts a server that must not start; what it says."""
    ports = [f"--{name}-addr=127.0.0.1:0" for name in ("api", "edge", "admin")]
    command = [*wrapper, BINARY, "serve", "--data-dir", str(data_dir), *ports]
    failed = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert failed.returncode == 1 and failed.stdout == "", failed
    return failed.stderr


def test_a_store_that_cannot_be_used_is_named_with_what_to_do(fresh_server):
    fresh_server.stop()
    file = fresh_server.data_dir / "grandstand.db"
    whole = file.read_bytes()
    file.write_bytes(b"\xff" * 4096 + whole[4096:])
    said = start_and_fail(fresh_server.data_dir)
    assert f"cannot use {file}: " in said and "move it away" in said, said
    file.write_bytes(whole)
    fresh_server.restart()


def test_a_store_without_room_on_the_disk_is_named(tmp_path):
    # No file may have a byte, and the signal that tells so is not heard.
    full = ["sh", "-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"]
    said = start_and_fail(tmp_path / "data", full)
    assert str(tmp_path / "data") in said and "File too large" in said, said
    full = ["sh", "-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "sh"]
    said = start_and_fail(tmp_path / "other", full)
    assert f"cannot use {tmp_path / 'other' / 'grandstand.db'}: " in said and "disk" in said, said


def test_what_lies_about_in_the_data_folder_stops_no_start(fresh_server):
    fresh_server.stop()
    redemptions = fresh_server.data_dir / "redemptions"
    (redemptions / "600").mkdir()
    (redemptions / "notes.txt").write_text("theirs")
    fresh_server.restart()
    warnings = [line for line in fresh_server.log_path.read_text().splitlines() if "WARN" in line]
    for name in ("600", "notes.txt"):
        assert any(str(redemptions / name) in line for line in warnings), warnings
    assert (redemptions / "notes.txt").read_text() == "theirs" and (redemptions / "600").is_dir()


def test_metrics_count_what_happens(fresh_server):
    chat = clients.ivschat(fresh_server)
    room = chat.create_room()["arn"]
    token = chat.create_chat_token(roomIdentifier=room, userId="u", capabilities=["SEND_MESSAGE"])["token"]
    with ChatSocket(fresh_server.edge, token) as socket:
        assert socket.act(Action="SEND_MESSAGE", Content="counted")["Type"] == "MESSAGE"
        _, _, text = get(fresh_server.admin, "/metrics")
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    assert all(name.startswith("grandstand_") for name in samples), sorted(samples)
    assert any(float(value) > 0 and "CreateRoom" in name for name, value in samples.items()), text


def test_rooms_are_shown_one_by_one_on_the_admin_port(fresh_server):
    chat = clients.ivschat(fresh_server)
    room, quiet = chat.create_room(maximumMessageRatePerSecond=7)["arn"], chat.create_room()["arn"]

    def join(room, user):
        token = chat.create_chat_token(roomIdentifier=room, userId=user, capabilities=["SEND_MESSAGE"])["token"]
        return ChatSocket(fresh_server.edge, token)

    with join(room, "one") as socket, join(room, "two"), join(quiet, "three"):
        assert socket.act(Action="SEND_MESSAGE", Content="counted")["Type"] == "MESSAGE"
        status, _, text = get(fresh_server.admin, f"/debug/rooms/{room.rsplit('/', 1)[1]}")
        shown = json.loads(text)
        shards = shown.pop("shards")
        assert status == 200 and isinstance(shown.pop("frames_per_second"), float)
        assert shown == {
            "arn": room, "members": 2, "frames_published": 1, "message_rate_max": 7, "is_deleted": False,
        }  # fmt: skip
        assert sum(shard["members"] for shard in shards) == 2 and sum(shard["is_home"] for shard in shards) == 1
        _, _, text = get(fresh_server.admin, "/debug/rooms")
        assert {shown["arn"] for shown in json.loads(text)["rooms"]} == {room, quiet}
    status, _, text = get(fresh_server.admin, "/debug/rooms/NoSuchRoom12")
    assert status == 404 and "No room" in text
