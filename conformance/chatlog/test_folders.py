"""Chat logs with nothing configured: folders in the data folder, with the names and contents of the services."""

import json
import queue
import re
import signal
import subprocess
import threading

import pytest

import clients
from crowd import DESTINATIONS, Folders, Hall, LogBroken, Speaker, check_folders, check_log, enter, id_of, ids, settle, talk_together, until  # fmt: skip
from server import ACCOUNT, BINARY, REGION, get

DEADLINE_SECONDS = 30


@pytest.mark.covers("CreateLoggingConfiguration", "SendEvent", "DeleteMessage", "DisconnectUser", "SEND_MESSAGE")
def test_the_record_is_the_frame_that_subscribers_get(hall):
    chat = clients.ivschat(hall.server)
    frames = []
    with enter(hall.server, hall.room) as socket:
        socket.send_json({"Action": "SEND_MESSAGE", "RequestId": "r", "Content": "one \u2603 \"two\"", "Attributes": {"a": "b"}})
        frames.append(socket.receive_frame().payload.decode())
        message = json.loads(frames[0])["Id"]
        chat.send_event(roomIdentifier=hall.room, eventName="app:score", attributes={"k": "v"})
        chat.delete_message(roomIdentifier=hall.room, id=message, reason="rude")
        chat.disconnect_user(roomIdentifier=hall.room, userId="nobody")
        frames += [socket.receive_frame().payload.decode() for _ in range(3)]
    folders = Folders(hall.server)
    lines = until("four records", lambda: len(found := folders.stream("chat-logs", id_of(hall.room))) == 4 and found)
    for line, frame in zip(lines, frames):
        time_of_frame = re.sub(r"(\.\d*)?Z$", lambda found: f"{found[0][:-1] or '.':0<4}"[:4] + "Z", json.loads(frame)["SendTime"])
        kind = json.loads(frame)["Type"]
        assert line == f'{{"event_timestamp":"{time_of_frame}","type":"{kind}","payload":{frame},"version":"1.0"}}'
    assert folders.firehose("chat-logs") == lines


@pytest.mark.covers("SendEvent", "UpdateRoom")
def test_what_nobody_watches_is_logged_and_update_room_takes_hold_at_once(hall):
    chat = clients.ivschat(hall.server)
    room, logged = hall.room, list(hall.configurations.values())
    wanted = []
    for number in range(20):
        chat.update_room(identifier=room, loggingConfigurationIdentifiers=logged if number % 2 else [])
        event = chat.send_event(roomIdentifier=room, eventName=f"alone:{number}")["id"]
        if number % 2:
            wanted.append(event)
    with enter(hall.server, room) as socket:
        for number in range(20):
            chat.update_room(identifier=room, loggingConfigurationIdentifiers=logged if number % 2 else [])
            socket.send_json({"Action": "SEND_MESSAGE", "RequestId": "r", "Content": str(number)})
            message = socket.receive_json()["Id"]
            if number % 2:
                wanted.append(message)
    folders = Folders(hall.server)

    def all_that_was_to_be_logged():
        assert ids(folders.stream("chat-logs", id_of(room))) == wanted

    settle(all_that_was_to_be_logged)


def test_objects_have_the_names_of_the_service_and_zcat_shows_a_chat(hall):
    speaker = Speaker(hall.room)
    talk_together(hall.server, [speaker], times=20)
    folders = Folders(hall.server)
    settle(lambda: check_folders(folders, hall, [speaker]))
    room_id = id_of(hall.room)
    objects = folders.objects("chat-logs", room_id)
    name = re.compile(
        rf"AWSLogs/{ACCOUNT}/IVSChatLogs/1\.0/{REGION}/room_{room_id}/(\d{{4}})/(\d\d)/(\d\d)/(\d\d)/"
        rf"{ACCOUNT}_IVSChatLogs_1\.0_{REGION}_room_{room_id}_\1\2\3T\4\d\dZ_[0-9a-f]{{8}}\.log\.gz\Z"
    )
    assert objects and all(name.match(key) for key in objects), list(objects)
    files = [str(folders.root / "s3" / "chat-logs" / key) for key in objects]
    shown = subprocess.run(["zcat", *files], capture_output=True, text=True, check=True).stdout.splitlines()
    assert sorted(ids(shown)) == sorted(speaker.published)


def test_nothing_is_missing_after_a_stop_and_a_restart_by_another_process(start):
    server = start(GRANDSTAND_RESTART_REQUESTS_TIMEOUT_MS="500")
    hall = Hall(server, clients.ivschat(server), rooms=3)
    speakers = [Speaker(room) for room in hall.rooms]
    heard = threading.Semaphore(0)

    def handed_over_twice():
        for _ in range(2):
            for _ in range(30):
                heard.acquire(timeout=60)
            server.hand_over()

    second = [Speaker(room) for room in hall.rooms]
    thread = threading.Thread(target=handed_over_twice)
    thread.start()
    while thread.is_alive():
        talk_together(server, speakers, times=40, acknowledge=heard.release)
    thread.join()
    talk_together(server, second, times=10)
    # What the old process publishes comes before what the new one does, though both do side by side for a moment.
    settle(lambda: check_folders(Folders(server), hall, [*speakers, *second]))


def test_logs_tail_follows_a_room(hall):
    tail = subprocess.Popen(
        [str(BINARY), "logs", "tail", hall.room, "--data-dir", str(hall.server.data_dir)], stdout=subprocess.PIPE, text=True
    )
    lines = queue.Queue()
    threading.Thread(target=lambda: [lines.put(line) for line in tail.stdout], daemon=True).start()
    try:
        chat = clients.ivschat(hall.server)
        # Until it shows the first one, it may not have begun.
        number = 0
        while lines.empty():
            number += 1
            last = chat.send_event(roomIdentifier=hall.room, eventName=f"begin:{number}")["id"]
            try:
                lines.queue.append(lines.get(timeout=0.5))
            except queue.Empty:
                pass
        speaker = Speaker(hall.room)
        talk_together(hall.server, [speaker], times=20)
        shown = []
        while not shown or shown[-1] != speaker.published[-1]:
            shown += ids([lines.get(timeout=DEADLINE_SECONDS)])
        assert shown[-20:] == speaker.published and len(set(shown)) == len(shown), (last, shown)
    finally:
        tail.kill()
        tail.wait()
    wrong = hall.server.command("logs", "tail", "room")
    assert (wrong.returncode, wrong.stderr) == (1, "grandstand: room is no ARN of a room\n")


def test_logs_tail_shows_what_is_shipped_and_removed_while_it_does_not_look(start):
    server = start(GRANDSTAND_CHATLOG_SPOOL_MIB_MAX="1")
    chat = clients.ivschat(server)
    hall = Hall(server, chat, kinds=["firehose"])
    tail = subprocess.Popen(
        [str(BINARY), "logs", "tail", hall.room, "--data-dir", str(server.data_dir)], stdout=subprocess.PIPE, text=True
    )
    try:
        until("its folder", lambda: list(server.data_dir.glob("chatlog/tail-*/lock")))
        # It has begun when it shows something.
        first = chat.send_event(roomIdentifier=hall.room, eventName="app:begin")["id"]
        shown = ids([tail.stdout.readline()])
        assert shown == [first]
        tail.send_signal(signal.SIGSTOP)
        published = []
        # A segment of this spool has 16 KiB.
        for _ in range(40):
            event = chat.send_event(roomIdentifier=hall.room, eventName="app:large", attributes={"k": "v" * 4_000})
            published.append(event["id"])
        until("its files", lambda: len(Folders(server).firehose("chat-logs")) == 41)
        segments = re.compile(r"-(\d+)\.records$")

        def first_ones_are_removed():
            paths = server.data_dir.glob("chatlog/spool/*/*.records")
            return all(int(segments.search(path.name)[1]) > 5 for path in paths)

        until("their removal", first_ones_are_removed)
        tail.send_signal(signal.SIGCONT)
        shown = ids([tail.stdout.readline() for _ in published])
        assert shown == published
    finally:
        tail.kill()
        tail.wait()


@pytest.mark.covers("UpdateLoggingConfiguration")
def test_a_corrected_destination_gets_what_has_waited(hall):
    chat = clients.ivschat(hall.server)
    folders = Folders(hall.server)
    # A file in the place of a folder: this destination takes nothing.
    (folders.root / "cloudwatch-logs").mkdir(parents=True)
    (folders.root / "cloudwatch-logs" / "chat-logs").write_text("")
    speaker = Speaker(hall.room)
    talk_together(hall.server, [speaker], times=20)
    # The others wait for nobody.
    until("the other destination", lambda: len(folders.firehose("chat-logs")) == 20)
    identifier = hall.configurations["cloudwatch-logs"]
    failed = f'grandstand_log_destination_errors_total{{logging_configuration="{id_of(identifier)}"}}'
    until("a metric", lambda: failed in get(hall.server.admin, "/metrics")[2])
    chat.update_logging_configuration(
        identifier=identifier, destinationConfiguration=DESTINATIONS["cloudwatch-logs"]("/other/../logs")
    )
    settle(lambda: speaker.check(ids(folders.stream("other/%2E%2E/logs", id_of(hall.room)))))


def test_metrics_say_how_much_waits_and_nothing_of_a_chat_is_in_the_log(hall):
    with enter(hall.server, hall.room, user="secret-user") as socket:
        socket.send_json({"Action": "SEND_MESSAGE", "RequestId": "r", "Content": "secret-content"})
        socket.receive_json()
    metrics = get(hall.server.admin, "/metrics")[2]
    assert "grandstand_chatlog_records_total 3\n" in metrics
    until("bytes of spools", lambda: re.search(r"^grandstand_chatlog_spool_bytes [1-9]", get(hall.server.admin, "/metrics")[2], re.M))
    assert "secret" not in hall.server.log_path.read_text()


@pytest.mark.parametrize(
    "records, fault",
    [(["a", "c"], "missing"), (["b", "a", "c"], "order"), ([], "missing")],
)
def test_a_missing_or_misplaced_record_is_noticed(records, fault):
    with pytest.raises(LogBroken, match=fault):
        check_log(records, ["a", "b", "c"])
    check_log(["a", "b", "a", "b", "c"], ["a", "b", "c"])
