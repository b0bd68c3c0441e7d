"""The audit log and the server's own log, as programs read them: who changed what, and nothing that is secret."""

import json

import pytest
from botocore.exceptions import ClientError

import clients
from edge import ChatSocket
from server import READY_SECONDS_MAX, SECRET_ACCESS_KEY, Server, get

HIDDEN = "HIDDEN_DUE_TO_SECURITY_REASONS"
NOWHERE = "arn:aws:ivschat:us-west-2:123456789012:room/NoSuchRoom12"


@pytest.fixture
def audited(tmp_path):
    """A server that keeps an audit log and writes its own log as JSON, and the two files."""
    audit, log = tmp_path / "audit.log", tmp_path / "server.log"
    environment = {
        "GRANDSTAND_AUDIT_FILE": str(audit),
        "GRANDSTAND_LOG_FORMAT": "json",
        "GRANDSTAND_LOG_FILTER": "debug",
    }
    server = Server(tmp_path / "data", environment=environment).start()
    yield server, audit
    if server.is_running():
        server.stop()


def events(audit):
    """The lines of an audit log; each is one object."""
    return [json.loads(line) for line in audit.read_text().splitlines()]


def test_each_change_is_a_line_and_each_look_is_none(audited):
    server, audit = audited
    chat = clients.ivschat(server)
    created = chat.create_room(name="audited", tags={"k": "v"})
    room = created["arn"]
    chat.get_room(identifier=room)
    chat.list_rooms()
    chat.update_room(identifier=room, name="renamed")
    chat.tag_resource(resourceArn=room, tags={"l": "w"})
    chat.list_tags_for_resource(resourceArn=room)
    chat.untag_resource(resourceArn=room, tagKeys=["l"])
    chat.send_event(roomIdentifier=room, eventName="notice", attributes={"what": "whispered"})
    chat.delete_room(identifier=room)
    with pytest.raises(ClientError) as refused:
        chat.delete_room(identifier=NOWHERE)

    lines = events(audit)
    names = ["CreateRoom", "UpdateRoom", "TagResource", "UntagResource", "SendEvent", "DeleteRoom", "DeleteRoom"]
    assert [line["eventName"] for line in lines] == names
    create, send, failed = lines[0], lines[4], lines[-1]
    assert create["requestParameters"] == {"name": "audited", "tags": {"k": "v"}}
    assert create["responseElements"]["arn"] == room
    assert create["requestID"] == created["ResponseMetadata"]["RequestId"]
    assert create["sourceIPAddress"] == "127.0.0.1" and create["userAgent"].startswith("Boto3/")
    assert create["userIdentity"]["arn"] == "arn:aws:iam::123456789012:root"
    assert create["eventSource"] == "ivschat.amazonaws.com" and create["eventType"] == "AwsApiCall"
    assert create["awsRegion"] == chat.meta.region_name and create["readOnly"] is False
    assert lines[2]["requestParameters"] == {"resourceArn": room, "tags": {"l": "w"}}
    assert lines[3]["requestParameters"] == {"resourceArn": room, "tagKeys": ["l"]}
    assert send["requestParameters"]["attributes"] == HIDDEN
    error = refused.value.response["Error"]
    assert (failed["errorCode"], failed["errorMessage"]) == (error["Code"], error["Message"])
    assert len({line["eventID"] for line in lines}) == len(lines)


def test_what_a_moderator_does_in_the_chat_is_a_line(audited):
    server, audit = audited
    chat = clients.ivschat(server)
    room = chat.create_room()["arn"]
    capabilities = ["SEND_MESSAGE", "DELETE_MESSAGE", "DISCONNECT_USER"]
    token = chat.create_chat_token(roomIdentifier=room, userId="moderator", capabilities=capabilities)["token"]
    with ChatSocket(server.edge, token) as socket:
        message = socket.act(Action="SEND_MESSAGE", Content="whispered")
        socket.act(Action="DELETE_MESSAGE", Id=message["Id"], Reason="rude", RequestId="mine")
        socket.act(Action="DISCONNECT_USER", UserId="victim", Reason="spam")
    # Its lines wait for nobody; those of an answered request, which come behind them, are there.
    chat.delete_room(identifier=room)
    delete, disconnect = (line for line in events(audit) if line["eventType"] == "ChatAction")
    assert (delete["eventName"], disconnect["eventName"]) == ("DeleteMessage", "DisconnectUser")
    assert delete["userIdentity"]["principalId"] == "moderator"
    assert delete["requestParameters"] == {"roomIdentifier": room, "id": message["Id"], "reason": "rude"}
    assert disconnect["requestParameters"] == {"roomIdentifier": room, "userId": HIDDEN, "reason": "spam"}
    assert delete["sourceIPAddress"] == disconnect["sourceIPAddress"] == "127.0.0.1"
    assert (delete["requestID"], disconnect["requestID"]) == ("mine", None), "what the client calls it, if it does"


def test_neither_log_has_what_is_secret(audited):
    server, audit = audited
    chat = clients.ivschat(server)
    room = chat.create_room()["arn"]
    token = chat.create_chat_token(
        roomIdentifier=room, userId="user-of-note", attributes={"key": "of-attributes"}, capabilities=["SEND_MESSAGE"]
    )["token"]
    with ChatSocket(server.edge, token) as socket:
        assert socket.act(Action="SEND_MESSAGE", Content="content-of-note")["Type"] == "MESSAGE"
    chat.disconnect_user(roomIdentifier=room, userId="user-of-note")
    server.stop()
    log = server.log_path.read_text()
    objects = [json.loads(line) for line in log.splitlines()]
    assert any(entry.get("operation") == "CreateChatToken" and entry.get("request_id") for entry in objects), log
    assert {"timestamp", "level", "target"} <= set(objects[0])
    for text in (log, audit.read_text()):
        for hidden in (token, "user-of-note", "of-attributes", "content-of-note", SECRET_ACCESS_KEY):
            assert hidden not in text, hidden


def test_a_line_is_there_when_its_answer_is_even_after_kill_9(audited):
    server, audit = audited
    chat = clients.ivschat(server)
    names = [f"room-{number}" for number in range(20)]
    for name in names:
        chat.create_room(name=name)
    server.kill9()
    assert [line["requestParameters"]["name"] for line in events(audit)] == names


def test_a_log_that_cannot_be_written_is_told_and_stops_nobody(tmp_path):
    server = Server(tmp_path / "data", environment={"GRANDSTAND_AUDIT_FILE": "/dev/full"}).start()
    clients.ivschat(server).create_room()
    _, _, text = get(server.admin, "/metrics")
    assert "grandstand_audit_lines_lost_total 1\n" in text
    server.stop()
    assert "the audit log cannot be written" in server.log_path.read_text()


def test_a_place_where_no_log_can_be_is_refused_at_the_start(tmp_path):
    environment = {"GRANDSTAND_AUDIT_FILE": str(tmp_path / "missing" / "audit.log")}
    server = Server(tmp_path / "data", environment=environment)
    server.launch()
    assert server.process.wait(READY_SECONDS_MAX) != 0
    assert "`audit.file` cannot be opened" in server.log_path.read_text()
