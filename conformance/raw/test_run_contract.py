"""The run contract, on which other people's scripts rely: the announcement, the settings, the first credentials, the
stop, and what a server costs that nobody uses.
"""

import re
import signal
import stat
import subprocess

import pytest

import clients
from edge import CLOSE, ChatSocket, Dropped
from server import BINARY, Server, get

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
