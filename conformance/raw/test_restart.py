"""Restarts that lose nobody: a new process on SIGUSR2, sockets that somebody else keeps open, and what goes wrong.

What is counted is what a client sees: no connect is refused, no request is left without its answer, and no message that a
sender has seen come back is missing anywhere.
"""

import contextlib
import fcntl
import http.client
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import clients
from crowd import Folders, Hall, check_log, id_of, ids, settle
from edge import CLOSE, TEXT, ChatSocket, Dropped, handshake_bytes, refusal
from server import BINARY, ROOT_ENVIRONMENT, Server, address, get
from signing import Requester
from succession import held_sockets
from test_run_contract import begin_request, request_head, send_on_new_connection
from work import SECONDS_MAX, Work, api_client, chat_client

# A next process that is none: it takes part in the hand-over as far as a test wants, and no further.
IMPOSTOR = """#!{python}
import os, socket, sys
steps = {steps!r}
words = dict(word.split("=") for word in os.environ["GRANDSTAND_INHERITED"].split() if "=" in word)
# Which stays open until the process ends, whatever Python closes before.
line = socket.socket(fileno=os.dup(int(words["line"])))
for step in steps:
    if step == "hang":
        line.recv(1)
    elif step == "wait":
        assert line.recv(1) == b"g"
    elif step.startswith("/"):
        # A FIFO, which can be read when the test writes to it.
        open(step).read()
    else:
        line.sendall(step.encode())
sys.exit("an impostor ends")
"""

# A real next process with somebody on its line, who says all but the last word: that it is ready, for which it can be told to end.
GO_BETWEEN = """#!{python}
import ctypes, os, socket, subprocess, sys
inherited = os.environ["GRANDSTAND_INHERITED"].split()
words = dict(word.split("=") for word in inherited if "=" in word)
line = socket.socket(fileno=os.dup(int(words["line"])))
own, its = socket.socketpair()
environment = os.environ | {{
    "GRANDSTAND_INHERITED": " ".join(f"line={{its.fileno()}}" if word.startswith("line=") else word for word in inherited)
}}
sockets = [int(number) for name, number in words.items() if name != "line"]
ends_with_parent = lambda: ctypes.CDLL(None).prctl(1, 9)
command = [{binary!r}, *sys.argv[1:]]
real = subprocess.Popen(command, env=environment, pass_fds=[*sockets, its.fileno()], preexec_fn=ends_with_parent)
its.close()
line.sendall(own.recv(1))
own.sendall(line.recv(1))
assert own.recv(1) == b"r"
print("it serves, and nobody hears of it", file=sys.stderr, flush=True)
open({fifo!r}).read()
real.kill()
real.wait()
sys.exit("it ends")
"""


def replace_file(path, content, mode=0o755):
    """Puts a file in the place of another, as a package manager does: the old one lives on as long as it is open."""
    new = path.with_suffix(".new")
    new.write_bytes(content.encode() if isinstance(content, str) else content)
    new.chmod(mode)
    new.rename(path)


@pytest.fixture
def own_binary(tmp_path):
    """A copy of the binary that a test may replace."""
    path = tmp_path / "grandstand"
    shutil.copy(BINARY, path)
    return path


@pytest.mark.covers("CreateRoom", "CreateChatToken", "GetRoom")
def test_while_processes_take_over_from_each_other_nothing_is_refused(fresh_server):
    room = clients.ivschat(fresh_server).create_room()["arn"]
    rooms = []
    tasks = [api_client(fresh_server, rooms) for _ in range(3)] + [chat_client(fresh_server, room) for _ in range(3)]
    before = (fresh_server.api, fresh_server.edge, fresh_server.admin)
    processes = {fresh_server.process.pid}
    with Work(*tasks) as work:
        for _ in range(5):
            work.go_on()
            fresh_server.hand_over()
            processes.add(fresh_server.process.pid)
        work.go_on()
    assert len(processes) == 6
    assert (fresh_server.api, fresh_server.edge, fresh_server.admin) == before
    assert get(fresh_server.admin, "/health/ready")[0] == 200
    chat = clients.ivschat(fresh_server)
    for arn in rooms:
        assert chat.get_room(identifier=arn)["arn"] == arn


def test_what_a_sender_has_seen_come_back_has_reached_everybody(tmp_path):
    environment = {"GRANDSTAND_LIMITS_PROFILE": "unlimited", "GRANDSTAND_EDGE_SHARDS": "3"}
    server = Server(tmp_path / "data", environment=environment).start()
    chat = clients.ivschat(server)
    room = chat.create_room()["arn"]
    capabilities = ["SEND_MESSAGE"]

    def join(number):
        token = chat.create_chat_token(roomIdentifier=room, userId=f"u{number}", capabilities=capabilities)["token"]
        return ChatSocket(server.edge, token, timeout=SECONDS_MAX)

    # More than stay on a room's own shard: they are spread over all.
    sockets = [join(number) for number in range(300)]
    seen = [[] for _ in sockets]
    came_back = {index: threading.Semaphore() for index in (0, 100, 290)}
    has_begun = threading.Event()

    def read(index):
        try:
            while True:
                frame = sockets[index].receive_frame()
                assert frame.opcode != CLOSE, "a Close frame tells official SDKs not to come back"
                if frame.opcode != TEXT:
                    continue
                seen[index].append(json.loads(frame.payload)["Content"])
                if index in came_back and seen[index][-1].startswith(f"{index} "):
                    came_back[index].release()
                if len(seen[index]) == 100:
                    has_begun.set()
        except Dropped:
            is_over.set()

    def send(index):
        with contextlib.suppress(OSError):
            for number in itertools.count():
                # The next one when the last one has come back.
                while not came_back[index].acquire(timeout=1):
                    if is_over.is_set():
                        return
                sockets[index].send_json({"Action": "SEND_MESSAGE", "Content": f"{index} {number}"})

    is_over = threading.Event()
    threads = [threading.Thread(target=read, args=(index,)) for index in range(len(sockets))]
    threads += [threading.Thread(target=send, args=(index,)) for index in came_back]
    for thread in threads:
        thread.start()
    assert has_begun.wait(SECONDS_MAX)
    server.hand_over()
    for thread in threads:
        thread.join(SECONDS_MAX)
        assert not thread.is_alive()
    for sender in came_back:
        assert any(content.startswith(f"{sender} ") for content in seen[sender])
    assert {len(contents) for contents in seen} == {len(seen[0])}, "some have seen more than others"
    assert all(contents == seen[0] for contents in seen), "one order for all"
    for chat_socket in sockets:
        chat_socket.close()
    server.stop()


def test_tokens_and_pages_of_the_old_process_are_good_in_the_new_one(fresh_server):
    chat = clients.ivschat(fresh_server)
    rooms = {chat.create_room()["arn"] for _ in range(60)}
    room = next(iter(rooms))
    unused, used = (chat.create_chat_token(roomIdentifier=room, userId="u")["token"] for _ in range(2))
    ChatSocket(fresh_server.edge, used).close()
    page = chat.list_rooms()
    fresh_server.hand_over()
    rest = clients.ivschat(fresh_server).list_rooms(nextToken=page["nextToken"])
    assert {summary["arn"] for summary in page["rooms"] + rest["rooms"]} == rooms
    with ChatSocket(fresh_server.edge, unused) as socket_of_u:
        socket_of_u.expect_silence_until(b"in")
    with pytest.raises(Exception, match="403"):
        ChatSocket(fresh_server.edge, used)


def test_a_request_under_way_is_answered_by_the_old_process(tmp_path):
    server = Server(tmp_path / "data", environment={"GRANDSTAND_RESTART_REQUESTS_TIMEOUT_MS": "60000"}).start()
    connection, rest = begin_request(server)
    with connection:
        server.process.send_signal(signal.SIGUSR2)
        server.wait_for_log("nothing is accepted any more")
        # The new process waits for it, and so does whoever connects.
        with send_on_new_connection(server.admin, b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n") as waiting:
            connection.sendall(rest)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
            assert waiting.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")
    server.wait_until_replaced()
    server.stop()


def test_a_request_that_takes_too_long_holds_nobody_up(tmp_path):
    server = Server(tmp_path / "data", environment={"GRANDSTAND_RESTART_REQUESTS_TIMEOUT_MS": "0"}).start()
    connection, _ = begin_request(server)
    with connection:
        server.hand_over()
    assert clients.ivschat(server).list_rooms()["rooms"] == []
    assert "some requests or handshakes are not finished" in server.log_path.read_text()
    server.stop()


def test_a_new_binary_and_new_settings_are_taken_up(tmp_path, own_binary):
    settings = tmp_path / "grandstand.toml"
    settings.write_text('account_id = "111111111111"\n[edge]\nshards = 2\n')
    server = Server(tmp_path / "data", binary=own_binary, arguments=["--config", str(settings)]).start()
    executable = Path(f"/proc/{server.process.pid}/exe")
    assert executable.stat().st_ino == own_binary.stat().st_ino
    replace_file(own_binary, BINARY.read_bytes() + b"another version")
    settings.write_text('account_id = "222222222222"\n[edge]\nshards = 3\n')
    server.hand_over()
    executable = Path(f"/proc/{server.process.pid}/exe")
    assert executable.stat().st_ino == own_binary.stat().st_ino
    assert ":222222222222:room/" in clients.ivschat(server).create_room()["arn"]
    server.stop()


def broken_settings(server, **_):
    server.data_dir.with_suffix(".toml").write_text("shards = 2\n")


def broken_binary(binary, **_):
    replace_file(binary, b"\x7fELF is how it begins, and no more")


def missing_binary(binary, **_):
    binary.unlink()


def impostor(*steps):
    def put_there(binary, **_):
        replace_file(binary, IMPOSTOR.format(python=sys.executable, steps=steps))

    return put_there


FAILURES = {
    "its settings cannot be used": (broken_settings, r"ended before it was ready \(exit status: 1\)"),
    "its binary is broken": (broken_binary, r"could not be started: .+"),
    "its binary is missing": (missing_binary, r"could not be started: .+"),
    "it ends at once": (impostor(), r"ended before it was ready \(exit status: 1\)"),
    "it never says a word": (impostor("hang"), "was not ready within 1 s"),
    "it talks nonsense": (impostor("x", "hang"), "cannot be understood: .+"),
    "it ends when it should begin": (impostor("p", "wait"), r"ended before it was ready \(exit status: 1\)"),
    "it hangs when it should begin": (impostor("p", "wait", "hang"), "was not ready within 1 s"),
    "it is ready before it may be": (impostor("p", "wait", "x", "hang"), "cannot be understood: .+"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_when_the_new_process_fails_the_old_one_goes_on(tmp_path, own_binary, name):
    break_it, reason = FAILURES[name]
    is_late = "not ready within" in reason
    settings = tmp_path / "data.toml"
    settings.write_text(f"[restart]\nready_timeout_s = {1 if is_late else SECONDS_MAX}\n")
    server = Server(tmp_path / "data", binary=own_binary, arguments=["--config", str(settings)]).start()
    chat = clients.ivschat(server)
    room = chat.create_room()["arn"]
    tokens = [chat.create_chat_token(roomIdentifier=room, userId=f"u{number}")["token"] for number in range(2)]
    rooms = []
    good = own_binary.read_bytes()
    with ChatSocket(server.edge, tokens[0]) as member:
        with Work(api_client(server, rooms), chat_client(server, room)) as work:
            work.go_on()
            break_it(server=server, binary=own_binary)
            server.process.send_signal(signal.SIGUSR2)
            server.wait_for_log("no other process has taken over; this one goes on")
            work.go_on()
        assert re.search(f"ERROR .*this one goes on error=the next process {reason}", server.log_path.read_text())
        member.expect_silence_until(b"still here")
        with ChatSocket(server.edge, tokens[1]) as late:
            late.expect_silence_until(b"in")
        assert server.is_running() and get(server.admin, "/health/ready")[0] == 200
        if not is_late:
            # What was wrong is put right: now it works.
            replace_file(own_binary, good)
            settings.write_text("")
            server.hand_over()
            with pytest.raises(Dropped):
                member.receive_frame()
    chat = clients.ivschat(server)
    for arn in rooms:
        assert chat.get_room(identifier=arn)["arn"] == arn
    server.stop()


@pytest.mark.covers("SendEvent", "CreateLoggingConfiguration")
def test_what_a_process_has_logged_that_served_and_did_not_take_over_is_shipped_while_the_old_one_lives(tmp_path, own_binary):
    server = Server(tmp_path / "data", binary=own_binary, environment={"GRANDSTAND_EDGE_SHARDS": "2"}).start()
    chat = clients.ivschat(server)
    hall = Hall(server, chat, rooms=2, kinds=["cloudwatch-logs"])
    logged, silent = hall.rooms
    published, fifo = [], tmp_path / "fifo"
    os.mkfifo(fifo)

    def publish(room):
        return chat.send_event(roomIdentifier=room, eventName="app:x")["id"]

    for number in range(3):
        published.append(publish(logged))
        if number == 0:
            # A room that says nothing more, on whatever shard it is.
            said_once = publish(silent)
        elif number == 2:
            break
        replace_file(own_binary, GO_BETWEEN.format(python=sys.executable, binary=str(BINARY), fifo=str(fifo)))
        server.process.send_signal(signal.SIGUSR2)
        server.wait_for_log("it serves, and nobody hears of it", times=number + 1)
        published.append(publish(logged))
        fifo.write_text("end")
        server.wait_for_log("no other process has taken over; this one goes on", times=number + 1)

    def check():
        folders = Folders(server)
        check_log(ids(folders.stream("chat-logs", id_of(logged))), published)
        check_log(ids(folders.stream("chat-logs", id_of(silent))), [said_once])

    settle(check)
    assert len(published) == 5 and server.is_running()
    server.stop()


def test_a_store_that_cannot_be_opened_again_at_once_is_waited_for(tmp_path, own_binary):
    server = Server(tmp_path / "data", binary=own_binary).start()
    room = clients.ivschat(server).create_room()["arn"]
    replace_file(own_binary, IMPOSTOR.format(python=sys.executable, steps=["p", "wait"]))
    with (server.data_dir / "lock").open() as lock:
        # It has the folder as soon as the server lets go of it.
        taking = threading.Thread(target=fcntl.flock, args=(lock, fcntl.LOCK_EX))
        taking.start()
        server.process.send_signal(signal.SIGUSR2)
        server.wait_for_log("the store cannot be opened again yet")
        taking.join()
        # What is asked meanwhile is heard: another process is tried, which ends like the first.
        server.process.send_signal(signal.SIGUSR2)
        server.wait_for_log("no other process has taken over; this one goes on", times=2)
        body = json.dumps({"identifier": room}).encode()
        request = request_head(server.api, "/GetRoom", body) + body
        asked = send_on_new_connection(server.api, request)
    with asked:
        assert asked.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
    server.stop()


def test_a_connection_counts_towards_the_quota_when_nobody_has_taken_over(tmp_path, own_binary):
    environment = {"GRANDSTAND_LIMITS_PROFILE": "aws", "GRANDSTAND_LIMITS_CONNECTIONS": "1"}
    server = Server(tmp_path / "data", binary=own_binary, environment=environment).start()
    chat = clients.ivschat(server)
    room = chat.create_room()["arn"]
    tokens = [chat.create_chat_token(roomIdentifier=room, userId="u")["token"] for _ in range(2)]
    replace_file(own_binary, IMPOSTOR.format(python=sys.executable, steps=["p", "wait"]))
    with ChatSocket(server.edge, tokens[0]):
        server.process.send_signal(signal.SIGUSR2)
        server.wait_for_log("no other process has taken over; this one goes on")
        assert refusal(server.edge, tokens[1])[0] == 429
    server.stop()


def test_a_stop_while_a_new_process_gets_ready_stops_both(tmp_path, own_binary):
    server = Server(tmp_path / "data", binary=own_binary).start()
    replace_file(own_binary, IMPOSTOR.format(python=sys.executable, steps=["p", "wait", "hang"]))
    server.process.send_signal(signal.SIGUSR2)
    server.wait_for_log("nothing is accepted any more")
    server.stop()
    # The impostor had standard output, too: it is closed when both have ended.
    assert server.lines.next(SECONDS_MAX) is None


def test_when_the_old_process_is_gone_without_a_word_the_new_one_takes_its_place(tmp_path):
    sockets = held_sockets()
    line, other_end = socket.socketpair()
    words = [f"{name}={held.fileno()}" for name, held in sockets.items()] + [f"line={other_end.fileno()}"]
    passed = [held.fileno() for held in sockets.values()] + [other_end.fileno()]
    server = Server(tmp_path / "data", environment={"GRANDSTAND_INHERITED": " ".join(words)}, passed=passed)
    with line:
        server.launch()
        other_end.close()
        line.settimeout(SECONDS_MAX)
        assert line.recv(1) == b"p", "it is prepared, and waits"
        request = b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n"
        waiting = socket.create_connection(sockets["admin"].getsockname(), timeout=SECONDS_MAX)
        waiting.sendall(request)
    server.wait_until_ready()
    assert "has ended without a word; taking its place" in server.log_path.read_text()
    with waiting:
        assert waiting.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")
    assert address(server.api) == sockets["api"].getsockname()
    server.stop()
    for held in sockets.values():
        held.close()


def test_a_store_in_memory_is_not_handed_over(tmp_path):
    server = Server(tmp_path / "data", environment={"GRANDSTAND_STORE_URL": "memory:"}).start()
    room = clients.ivschat(server).create_room()["arn"]
    server.process.send_signal(signal.SIGUSR2)
    server.wait_for_log("this one goes on error=a store in memory ends with its process")
    assert clients.ivschat(server).get_room(identifier=room)["arn"] == room
    server.stop()


@pytest.fixture
def activated_server(tmp_path):
    """A server whose sockets the test keeps open, and the names and addresses of these."""
    sockets = held_sockets()
    server = Server(tmp_path / "data", sockets=sockets).start()
    for name, url in (("api", server.api), ("edge", server.edge), ("admin", server.admin)):
        assert address(url) == sockets[name].getsockname()
    yield server
    if server.is_running():
        server.stop()
    for held in sockets.values():
        held.close()


@pytest.mark.parametrize("end", ["kill9", "stop"])
def test_whoever_connects_between_two_servers_waits_for_the_next_one(activated_server, end):
    chat = clients.ivschat(activated_server)
    room = chat.create_room()["arn"]
    tokens = [chat.create_chat_token(roomIdentifier=room, userId=f"u{number}")["token"] for number in range(50)]
    getattr(activated_server, end)()
    body = json.dumps({"identifier": room}).encode()
    request = request_head(activated_server.api, "/GetRoom", body) + body
    with contextlib.ExitStack() as opened:
        asked = [opened.enter_context(send_on_new_connection(activated_server.api, request)) for _ in range(50)]
        joining = [
            opened.enter_context(send_on_new_connection(activated_server.edge, handshake_bytes("x", token)[0]))
            for token in tokens
        ]
        activated_server.restart()
        for connection in asked:
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert answer.status == 200 and json.loads(answer.read())["arn"] == room
        for connection in joining:
            assert connection.recv(4096).startswith(b"HTTP/1.1 101 Switching Protocols\r\n")


def test_a_stop_accepts_nothing_when_somebody_keeps_the_sockets(activated_server):
    connection, rest = begin_request(activated_server)
    with connection:
        activated_server.process.send_signal(signal.SIGTERM)
        probe = b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n"
        activated_server.wait_for_log("nothing is accepted any more")
        with send_on_new_connection(activated_server.admin, probe) as waiting:
            connection.sendall(rest)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
            assert activated_server.process.wait(10) == 0
            activated_server.restart()
            assert waiting.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")


def test_sockets_that_somebody_keeps_are_handed_over_as_such(activated_server):
    activated_server.hand_over()
    activated_server.hand_over()
    assert get(activated_server.admin, "/health/ready")[0] == 200
    activated_server.kill9()
    with send_on_new_connection(activated_server.admin, b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n") as waiting:
        activated_server.restart()
        assert waiting.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")


def test_an_inheritance_that_cannot_be_used_stops_the_start(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as stray, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        for name, held, said in (("web", stray, "belongs to no port"), ("api", deaf, "cannot use the inherited")):
            server = Server(tmp_path / name, sockets={name: held})
            with pytest.raises(AssertionError, match="exited with 1 before it was ready"):
                server.start()
            assert said in server.log_path.read_text()
    no_number = "the environment variable GRANDSTAND_INHERITED cannot be read"
    for words, said in (
        ("api=77", "cannot use the inherited descriptor 77 (`api`)"),
        ("api=x", no_number),
        (b"api=\xff", no_number),
    ):
        environment = ROOT_ENVIRONMENT | {"GRANDSTAND_INHERITED": os.fsdecode(words), "PATH": os.environ["PATH"]}
        command = [BINARY, "serve", "--data-dir", tmp_path / "none"]
        failed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=False)
        assert failed.returncode == 1 and said in failed.stderr, failed.stderr


def test_systemd_is_told_what_it_wants_to_know(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.settimeout(SECONDS_MAX)
        server = Server(tmp_path / "data", environment={"NOTIFY_SOCKET": str(tmp_path / "notify")}).start()
        assert supervisor.recv(256) == b"READY=1"
        server.hand_over()
        assert supervisor.recv(256) == b"MAINPID=%d" % server.process.pid
        server.stop()
        assert supervisor.recv(256) == b"STOPPING=1"
