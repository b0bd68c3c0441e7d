"""`grandstand check` and `grandstand backup`, as an operator runs them: beside the real server and on what it leaves."""

import shutil
import sqlite3
import stat
import subprocess
import threading
import zlib

import pytest

import clients
from edge import ChatSocket, Refused
from ledger import Line
from server import BINARY, Server

WRITERS = 4
ROOMS_BEFORE_BACKUP = 40
CHANGES_PER_ROOM = 3
DEADLINE_SECONDS = 60
PAGE_BYTES = 4096


def fill(server):
    """Some rooms in several lists; stops the server."""
    chat = clients.ivschat(server)
    logs = chat.create_logging_configuration(destinationConfiguration={"s3": {"bucketName": "chat-logs"}})["arn"]
    for number in range(10):
        chat.create_room(name=f"room-{number % 3}", loggingConfigurationIdentifiers=[logs], tags={"n": str(number)})
    server.stop()


def damage(server, statement):
    """Changes the store of a stopped server behind its back, checksums included."""
    file = server.data_dir / "grandstand.db"
    with sqlite3.connect(file) as connection:
        assert connection.execute(statement).rowcount > 0
    connection.close()
    content = bytearray(file.read_bytes())
    for number in range(1, len(content) // PAGE_BYTES + 1):
        end = number * PAGE_BYTES
        content[end - 8 : end - 4] = number.to_bytes(4, "little")
        content[end - 4 : end] = zlib.crc32(content[end - PAGE_BYTES : end - 4]).to_bytes(4, "little")
    file.write_bytes(content)


def test_a_store_that_is_well_is_said_to_be(fresh_server):
    fill(fresh_server)
    checked = fresh_server.command("check")
    assert (checked.returncode, checked.stdout) == (0, "looked at 10 rooms and 40 postings: all is well\n")
    again = fresh_server.command("check", "--repair")
    assert (again.returncode, again.stdout) == (0, checked.stdout), "nothing to repair"


def test_what_is_wrong_is_named_and_repaired(fresh_server):
    fill(fresh_server)
    damage(fresh_server, "DELETE FROM posting WHERE by_name = 'room-1' AND by_logging = ''")
    damage(fresh_server, "UPDATE order_clock SET last_order_key = 1")
    checked = fresh_server.command("check")
    *found, summary = checked.stdout.splitlines()
    assert checked.returncode == 1 and summary == "looked at 10 rooms and 37 postings: 4 discrepancies"
    assert sum(line.endswith(' is missing in the list of all rooms with name "room-1"') for line in found) == 3
    assert sum("the clock that orders rooms" in line for line in found) == 1
    repaired = fresh_server.command("check", "--repair")
    assert repaired.returncode == 0
    assert repaired.stdout.endswith("\nlooked at 10 rooms and 40 postings: all is well\n")
    fresh_server.restart()
    assert len(clients.ivschat(fresh_server).list_rooms(name="room-1")["rooms"]) == 3


def change_one_bit(server, table):
    """Somewhere in the page at which a table begins; the number of that page."""
    file = server.data_dir / "grandstand.db"
    connection = sqlite3.connect(file)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", [table]).fetchone()
    connection.close()
    content = bytearray(file.read_bytes())
    content[page * PAGE_BYTES - 100] ^= 1
    file.write_bytes(content)
    return page


def test_a_damaged_page_is_named_and_left_for_a_backup(fresh_server):
    fill(fresh_server)
    page = change_one_bit(fresh_server, "posting")
    content = (fresh_server.data_dir / "grandstand.db").read_bytes()
    checked = fresh_server.command("check", "--repair")
    assert checked.returncode == 1
    assert f"the file is damaged: page {page}: its checksum is wrong\n" in checked.stdout
    assert "the file is damaged: table posting: " in checked.stdout
    assert "a damaged file cannot be repaired" in checked.stdout and "restore a backup" in checked.stdout
    assert (fresh_server.data_dir / "grandstand.db").read_bytes() == content


@pytest.mark.covers("ListRooms", "GetRoom", "CreateLoggingConfiguration")
def test_a_damaged_page_is_an_error_for_what_touches_it_and_a_restored_backup_is_none(fresh_server, tmp_path):
    server = fresh_server
    room = clients.ivschat(server).create_room(name="chat", tags={"n": "1"})
    assert server.command("backup", str(tmp_path / "copy.db")).returncode == 0
    server.stop()
    page = change_one_bit(server, "posting")
    server.restart()
    chat = clients.ivschat(server)
    with pytest.raises(chat.exceptions.InternalServerException) as raised:
        chat.list_rooms()
    response = raised.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert response["message"] == "The server could not process the request"
    with pytest.raises(chat.exceptions.InternalServerException):
        chat.create_room(name="needs-the-page")
    assert chat.get_room(identifier=room["arn"])["name"] == "chat"
    destination = {"s3": {"bucketName": "logs"}}
    made = chat.create_logging_configuration(name="needs-others", destinationConfiguration=destination)
    assert chat.list_logging_configurations()["loggingConfigurations"][0]["arn"] == made["arn"]
    assert f"a page of the store is damaged; `grandstand check` looks at them all page={page}" in server.log_tail(100_000)
    server.stop()
    restored = restore(tmp_path / "copy.db", tmp_path / "restored").start()
    assert [found["arn"] for found in clients.ivschat(restored).list_rooms()["rooms"]] == [room["arn"]]
    restored.stop()


def test_a_check_needs_a_store_that_nobody_uses(fresh_server, tmp_path):
    in_use = fresh_server.command("check")
    assert in_use.returncode == 1 and in_use.stdout == ""
    assert f"another server (process {fresh_server.process.pid}) uses the data folder" in in_use.stderr
    nowhere = Server(tmp_path / "nowhere")
    for words in (["check"], ["check", "--repair"], ["backup", str(tmp_path / "copy.db")]):
        refused = nowhere.command(*words)
        assert refused.returncode == 1 and "there is no store in" in refused.stderr
        assert not nowhere.data_dir.exists() and not (tmp_path / "copy.db").exists()
        in_memory = fresh_server.command(*words, environment={"GRANDSTAND_STORE_URL": "memory:"})
        assert in_memory.returncode == 1 and "`memory:`" in in_memory.stderr


def write_until(stopped, server, number, rooms, on_acknowledgement):
    """Creates rooms and changes each a few times; `rooms` has the last length that was acknowledged of each."""
    line = Line(server)
    try:
        while not stopped.is_set():
            arn = line.call("CreateRoom", {"name": f"w{number}", "maximumMessageLength": 1}).json["arn"]
            rooms[arn] = 1
            for length in range(2, 2 + CHANGES_PER_ROOM):
                change = {"identifier": arn, "maximumMessageLength": length}
                assert line.call("UpdateRoom", change).status == 200
                rooms[arn] = length
            on_acknowledgement.release()
    finally:
        line.close()


def back_up_under_writers(server, file):
    """What was acknowledged when the backup began, and what when the last writer had ended."""
    stopped, acknowledged, rooms = threading.Event(), threading.Semaphore(0), [{} for _ in range(WRITERS)]
    threads = [
        threading.Thread(target=write_until, args=(stopped, server, number, rooms[number], acknowledged))
        for number in range(WRITERS)
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in range(ROOMS_BEFORE_BACKUP):
            assert acknowledged.acquire(timeout=DEADLINE_SECONDS)
        before = {arn: length for own in rooms for arn, length in list(own.items())}
        done = server.command("backup", str(file))
        assert done.returncode == 0, done
    finally:
        stopped.set()
        for thread in threads:
            thread.join(DEADLINE_SECONDS)
    return before, {arn: length for own in rooms for arn, length in own.items()}


def restore(file, data_dir):
    """A server, not started, whose data folder was made of a backup as docs/operating.md says."""
    restored = Server(data_dir)
    restored.data_dir.mkdir(mode=0o700)
    shutil.copy2(file, restored.data_dir / "grandstand.db")
    checked = restored.command("check")
    assert checked.returncode == 0 and checked.stdout.endswith(": all is well\n"), checked
    return restored


@pytest.mark.covers("CreateRoom", "UpdateRoom", "ListRooms", "CreateChatToken")
def test_a_backup_under_writers_has_all_that_was_acknowledged_before_it(fresh_server, tmp_path):
    room = clients.ivschat(fresh_server).create_room(name="chat")["arn"]
    tokens = [
        clients.ivschat(fresh_server).create_chat_token(roomIdentifier=room, userId="jo")["token"] for _ in range(2)
    ]
    ChatSocket(fresh_server.edge, tokens[0]).close()
    file = tmp_path / "copy.db"
    before, after = back_up_under_writers(fresh_server, file)
    assert len(before) >= ROOMS_BEFORE_BACKUP
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and not (tmp_path / "copy.db.unfinished").exists()

    restored = restore(file, tmp_path / "restored").start()
    chat = clients.ivschat(restored)
    listed = {room["arn"] for page in pages_of(chat) for room in page["rooms"]}
    assert before.keys() <= listed <= after.keys() | {room}
    for arn, length in before.items():
        assert length <= chat.get_room(identifier=arn)["maximumMessageLength"] <= after[arn]
    # The keys are in it, the tokens that were used are not.
    for token in tokens:
        ChatSocket(restored.edge, token).close()
    restored.stop()
    fresh_server.stop()
    with_used_tokens = restore(file, tmp_path / "with-used-tokens")
    used = fresh_server.data_dir / "redemptions"
    shutil.copytree(used, with_used_tokens.data_dir / "redemptions", dirs_exist_ok=True)
    with_used_tokens.start()
    with pytest.raises(Refused):
        ChatSocket(with_used_tokens.edge, tokens[0])
    ChatSocket(with_used_tokens.edge, tokens[1]).close()
    with_used_tokens.stop()


def test_a_server_that_was_killed_can_be_backed_up(fresh_server, tmp_path):
    rooms = {clients.ivschat(fresh_server).create_room()["arn"] for _ in range(5)}
    fresh_server.kill9()
    done = fresh_server.command("backup", str(tmp_path / "copy.db"))
    assert done.returncode == 0, done
    for server in (restore(tmp_path / "copy.db", tmp_path / "restored").start(), fresh_server.restart()):
        assert {room["arn"] for room in clients.ivschat(server).list_rooms()["rooms"]} == rooms
        server.stop()


def pages_of(chat):
    """Every page of ListRooms."""
    page = chat.list_rooms()
    yield page
    while token := page.get("nextToken"):
        page = chat.list_rooms(nextToken=token)
        yield page


def test_a_backup_is_never_written_over(fresh_server, tmp_path):
    file = tmp_path / "copy.db"
    file.write_text("an older one")
    refused = fresh_server.command("backup", str(file))
    assert refused.returncode == 1 and "exists; name a new file" in refused.stderr
    assert file.read_text() == "an older one"


def test_a_configuration_file_says_where_the_store_is(fresh_server, tmp_path):
    fill(fresh_server)
    config = tmp_path / "grandstand.toml"
    config.write_text(f'data_dir = "{fresh_server.data_dir}"\n')
    for words in (["check"], ["backup", tmp_path / "copy.db"]):
        command = [BINARY, *words, "--config", config]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done
    assert (tmp_path / "copy.db").exists()
