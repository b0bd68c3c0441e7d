"""A crowd that takes all descriptors there are for connections waits at the door, and costs no record: the last ones are kept
for chat logs, and for those who look after the server.
"""

import contextlib
import select
import socket
import time

import clients
from crowd import DESTINATIONS, Folders, ids, settle
from edge import handshake_bytes, parse_head
from ledger import Line
from server import Server, address, get

DESCRIPTORS = 400
LOGGED = 25
SECONDS_MAX = 30
CANNOT_ACCEPT = "cannot accept a connection"


def test_a_crowd_that_fills_the_house_costs_no_record(tmp_path):
    wrapper = ("sh", "-c", f'ulimit -n {DESCRIPTORS} && exec "$@"', "sh")
    environment = {"GRANDSTAND_LIMITS_PROFILE": "unlimited"}
    server = Server(tmp_path / "data", wrapper=wrapper, environment=environment).start()
    chat = clients.ivschat(server)
    # Each has a file, and none is open yet.
    destinations = [DESTINATIONS["firehose"](f"stream-{number}") for number in range(LOGGED)]
    made = [chat.create_logging_configuration(destinationConfiguration=destination)["arn"] for destination in destinations]
    rooms = [chat.create_room(loggingConfigurationIdentifiers=[configuration])["arn"] for configuration in made]
    quiet = chat.create_room()["arn"]
    line = Line(server)

    def token(number):
        members = {"roomIdentifier": quiet, "userId": f"crowd-{number}", "capabilities": []}
        return line.call("CreateChatToken", members).json["token"]

    with contextlib.ExitStack() as crowd:
        for number in range(DESCRIPTORS):
            request = handshake_bytes("x", token(number))[0]
            connection = crowd.enter_context(socket.create_connection(address(server.edge), timeout=10))
            connection.sendall(request)
            give_up_at = time.monotonic() + SECONDS_MAX
            while not select.select([connection], [], [], 0.02)[0] and CANNOT_ACCEPT not in server.log_path.read_text():
                assert time.monotonic() < give_up_at, "neither let in nor waiting"
            if CANNOT_ACCEPT in server.log_path.read_text():
                break
        assert number < DESCRIPTORS - 1, "more connections than descriptors"
        # The last one may have been let in; nobody is from now on.
        waiting = crowd.enter_context(socket.create_connection(address(server.edge), timeout=10))
        waiting.sendall(handshake_bytes("x", token("waiting"))[0])
        # Whoever is connected already is served.
        events = []
        for room in rooms:
            answer = line.call("SendEvent", {"roomIdentifier": room, "eventName": "app:crowded"})
            assert answer.status == 200, answer
            events.append(answer.json["id"])

        def all_are_there():
            assert [ids(Folders(server).firehose(f"stream-{number}")) for number in range(LOGGED)] == [[event] for event in events]

        settle(all_are_there)
        status, _, text = get(server.admin, "/metrics")
        assert status == 200 and "grandstand_chatlog_records_lost_total{" not in text
        assert not select.select([waiting], [], [], 0)[0], "it is neither let in nor refused"
    with socket.create_connection(address(server.edge), timeout=10) as late:
        late.sendall(handshake_bytes("x", token("late"))[0])
        late.settimeout(SECONDS_MAX)
        assert parse_head(late.recv(65536).partition(b"\r\n\r\n")[0])[0] == 101
    line.close()
    server.stop()
