"""`grandstand migrate-store`, as an operator runs it: clients notice nothing but another address."""

import re

import pytest

import clients
from edge import ChatSocket, Refused
from server import Server
from signing import Requester

HANDLER = "arn:aws:lambda:us-west-2:123456789012:function:review"


def fill(server):
    """Rooms in several lists; answers the filters that find some of them."""
    chat = clients.ivschat(server)
    logs = chat.create_logging_configuration(name="logs", destinationConfiguration={"firehose": {"deliveryStreamName": "s"}})
    rooms = []
    for number in range(12):
        handler = {"messageReviewHandler": {"uri": HANDLER, "fallbackResult": "DENY"}} if number % 3 == 0 else {}
        configurations = {"loggingConfigurationIdentifiers": [logs["arn"]]} if number % 2 else {}
        tags = {"number": str(number), "ü": "x" * (200 if number == 5 else 1), "more": "y" * 200}
        rooms.append(chat.create_room(name=f"room-{number % 2}", tags=tags, **handler, **configurations)["arn"])
    chat.update_room(identifier=rooms[2], name="moved", maximumMessageLength=77, maximumMessageRatePerSecond=3)
    chat.tag_resource(resourceArn=rooms[4], tags={"later": "yes"})
    chat.delete_room(identifier=rooms[7])
    return ({}, {"name": "room-1"}, {"messageReviewHandlerUri": HANDLER}, {"loggingConfigurationIdentifier": logs["arn"]})


def everything(server, filters):
    """The bytes of every page of lists and of every room, but for page tokens."""
    http, answers = Requester(server), []
    for operation, request in [("ListLoggingConfigurations", {}), *(("ListRooms", request) for request in filters)]:
        token = {}
        while token is not None:
            answer = http.call(operation, {"maxResults": 4, **request, **token})
            assert answer.status == 200, answer
            answers.append(re.sub(rb'"nextToken":"[^"]*"', b'"nextToken":""', answer.body))
            answers += [http.call("GetRoom", {"identifier": room["arn"]}).body for room in answer.json.get("rooms", ())]
            token = {"nextToken": answer.json["nextToken"]} if "nextToken" in answer.json else None
    return answers


def make_token(server, room):
    """A chat token."""
    return clients.ivschat(server).create_chat_token(roomIdentifier=room, userId="jo")["token"]


def is_refused(server, token):
    """Whether a chat token opens nothing."""
    try:
        ChatSocket(server.edge, token).close()
    except Refused as refused:
        assert refused.status in (401, 403), refused
        return True
    return False


@pytest.mark.covers("ListRooms", "GetRoom", "ListLoggingConfigurations", "CreateChatToken", "CreateRoom")
def test_a_store_goes_to_a_database_and_back_and_clients_notice_nothing(fresh_server, database, tmp_path):
    filters = fill(fresh_server)
    before = everything(fresh_server, filters)
    first = clients.ivschat(fresh_server).list_rooms(maxResults=4)
    tokens = [make_token(fresh_server, first["rooms"][0]["arn"]) for _ in range(3)]
    assert not is_refused(fresh_server, tokens[0])
    fresh_server.stop()

    on_database = Server(tmp_path / "on-database", environment=database.new_store())
    url = on_database.environment["GRANDSTAND_STORE_URL"]
    moved = fresh_server.command("migrate-store", "--to", url)
    assert moved.returncode == 0, moved
    what = "11 rooms, 1 logging configurations, 2 secret keys and 1 used chat tokens"
    shown = f"postgres://grandstand@127.0.0.1:{database.port}/grandstand"
    assert moved.stdout.startswith(f"copied {what} from {fresh_server.data_dir} to {shown}; looking at them there\n")
    assert re.search(r"\nlooked at 11 rooms and \d+ postings: all is well\n\Z", moved.stdout), moved
    assert "11 of 11 rooms, " in moved.stderr and "conformance" not in moved.stdout + moved.stderr

    on_database.start()
    assert everything(on_database, filters) == before
    second = clients.ivschat(on_database).list_rooms(maxResults=4, nextToken=first["nextToken"])["rooms"]
    assert second == clients.ivschat(on_database).list_rooms()["rooms"][4:8], "a page token is good in the other store"
    assert is_refused(on_database, tokens[0])
    assert not is_refused(on_database, tokens[1]) and is_refused(on_database, tokens[1])
    newest = clients.ivschat(on_database).create_room(name="newest")["arn"]
    before = everything(on_database, filters)
    on_database.stop()

    back = Server(tmp_path / "back")
    moved = on_database.command("migrate-store", "--to", str(back.data_dir), environment={"GRANDSTAND_STORE_URL": url})
    assert moved.returncode == 0 and moved.stdout.startswith("copied 12 rooms, "), moved
    back.start()
    assert everything(back, filters) == before
    assert clients.ivschat(back).list_rooms()["rooms"][0]["arn"] == newest
    assert is_refused(back, tokens[0]) and is_refused(back, tokens[1])
    assert not is_refused(back, tokens[2]) and is_refused(back, tokens[2])
    newer = clients.ivschat(back).create_room(name="newer")["arn"]
    assert [room["arn"] for room in clients.ivschat(back).list_rooms(maxResults=2)["rooms"]] == [newer, newest]
    back.stop()


def test_a_move_that_cannot_be_is_refused_and_changes_nothing(fresh_server, database, tmp_path):
    server = fresh_server
    fill(server)
    empty, taken = (database.new_store()["GRANDSTAND_STORE_URL"] for _ in range(2))

    def refusal(*words, environment=None):
        refused = server.command("migrate-store", *words, environment=environment)
        assert refused.returncode == 1 and refused.stdout == "" and "conformance" not in refused.stderr, refused
        return refused.stderr

    in_use = f"another server (process {server.process.pid}) uses the data folder"
    assert in_use in refusal("--to", empty)
    assert in_use in refusal("--to", str(tmp_path / "target")) and not (tmp_path / "target").exists()
    assert f"there is a store in {server.data_dir} already" in refusal("--from", empty)
    server.stop()

    other = Server(tmp_path / "other", environment={"GRANDSTAND_STORE_URL": taken}).start()
    other.stop()
    for place in (taken, str(server.data_dir)):
        assert "already" in (said := refusal("--to", place)) and "nothing was changed" in said
    assert database.execute(f"SELECT count(*) FROM {re.search(r'store_[0-9]+', taken)[0]}.room") == "0"
    target = tmp_path / "target"
    assert "there is no store in the database" in refusal("--from", empty, "--to", str(target))
    assert "there is no store in" in refusal("--from", str(tmp_path / "nowhere"), "--to", str(target))
    assert not target.exists() and not (tmp_path / "nowhere").exists()
    assert "--to cannot be used: a store at `memory:`" in refusal("--to", "memory:")
    assert "--from cannot be used: a store at `memory:`" in refusal("--from", "memory:", "--to", str(target))
    in_memory = {"GRANDSTAND_STORE_URL": "memory:"}
    assert "`memory:`" in refusal("--to", str(target), environment=in_memory)
    assert "memory" in refusal("--from", str(server.data_dir), environment=in_memory)
    assert "--to cannot be used: " in refusal("--to", empty.replace("?", "?sslmode=require&"))
    server.restart()
    assert len(clients.ivschat(server).list_rooms()["rooms"]) == 11


def test_what_is_wrong_with_a_store_is_named_after_the_move(fresh_server, database):
    logs = clients.ivschat(fresh_server).create_logging_configuration(destinationConfiguration={"s3": {"bucketName": "chat"}})
    clients.ivschat(fresh_server).create_room(loggingConfigurationIdentifiers=[logs["arn"]])
    fresh_server.stop()
    first, second = (database.new_store()["GRANDSTAND_STORE_URL"] for _ in range(2))
    assert fresh_server.command("migrate-store", "--to", first).returncode == 0
    database.execute(f"DELETE FROM {re.search(r'store_[0-9]+', first)[0]}.logging_configuration")
    moved = fresh_server.command("migrate-store", "--from", first, "--to", second)
    assert moved.returncode == 1 and moved.stdout.startswith("copied 1 rooms, 0 logging configurations, "), moved
    assert f"has the logging configuration {logs['id']}, which does not exist\n" in moved.stdout
    assert moved.stdout.endswith("1 discrepancy\nthe store that was copied is as it was\n")
