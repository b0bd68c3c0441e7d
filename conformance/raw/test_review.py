"""Message review against handlers of our own: what they are asked, what their answers make of a message, and that whatever
is no answer takes the fallback result. The limit on a review's time is long, unless a test is about it.
"""

import hashlib
import hmac
import json
import re
import select
import socket
import threading
import time
from contextlib import contextmanager

import pytest
from botocore.exceptions import ClientError

import clients
from certificate import certify
from edge import ChatSocket, Dropped
from handlers import CREDENTIALS, Handlers, allow, deny, function_arn
from server import Server, get

PATIENT = {"GRANDSTAND_REVIEW_TIMEOUT_MS": "60000"}


@contextmanager
def reviewed(folder, environment=None, descriptors=None, **answers):
    """Handlers with these answers, and a server that asks them, perhaps with so many descriptors."""
    with Handlers(answers) as handlers:
        settings = CREDENTIALS | PATIENT | {"AWS_ENDPOINT_URL_LAMBDA": handlers.url} | (environment or {})
        wrapper = ("sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh") if descriptors else ()
        server = Server(folder / "data", environment=settings, wrapper=wrapper).start()
        try:
            yield Scene(server, handlers)
        finally:
            handlers.released.set()
            if server.is_running():
                server.stop()


class Scene:
    """A server and its handlers."""

    def __init__(self, server, handlers):
        self.server, self.handlers = server, handlers
        self.chat = clients.ivschat(server)

    def room(self, handler, fallback="DENY"):
        """A room with a handler."""
        handler = {"uri": function_arn(handler), "fallbackResult": fallback}
        return self.chat.create_room(messageReviewHandler=handler, maximumMessageRatePerSecond=100)

    def join(self, room, user="u"):
        """A connection that may do everything."""
        capabilities = ["SEND_MESSAGE", "DELETE_MESSAGE", "DISCONNECT_USER"]
        request = {"roomIdentifier": room["arn"], "userId": user, "attributes": {"a": "b"}, "capabilities": capabilities}
        return ChatSocket(self.server.edge, self.chat.create_chat_token(**request)["token"])

    def metric(self, name):
        """The value of a series, 0 when there is none."""
        found = re.search(rf"^{re.escape(name)} (\d+)$", get(self.server.admin, "/metrics")[2], re.MULTILINE)
        return int(found[1]) if found else 0

    def wait_for_metric(self, name, value):
        """Waits until a series has this value: shards write down how they stand when they have answered."""
        deadline = time.monotonic() + 60
        while self.metric(name) != value:
            assert time.monotonic() < deadline, f"{name} is {self.metric(name)}, not {value}"
            select.select([], [], [], 0.01)


def say(content, **members):
    """A SEND_MESSAGE."""
    return {"Action": "SEND_MESSAGE", "Content": content, **members}


@pytest.mark.covers("SEND_MESSAGE", "frame:MESSAGE", "frame:ERROR")
def test_a_function_is_shown_the_message_and_decides(tmp_path):
    def decide(asked):
        word = asked.event["Content"]
        return {
            "as it is": lambda: allow(asked.event),
            "other words": lambda: allow(asked.event, Content="changed"),
            "other attributes": lambda: allow(asked.event, Attributes={"lang": "en"}),
            "odd case": lambda: {"reviewresult": "ALLOW", "CONTENT": "case", "attributes": None},
            "rude": lambda: deny("No rude words"),
            "short": lambda: {"ReviewResult": "DENY"},
        }[word]()

    with reviewed(tmp_path, decide=decide) as scene:
        room = scene.room("decide")
        ann, ben = scene.join(room, "ann"), scene.join(room, "ben")
        frame = ann.act(**say("as it is", Attributes={"k": "v"}, RequestId="r"))
        assert (frame["Content"], frame["Attributes"], frame["RequestId"]) == ("as it is", {"k": "v"}, "r")
        asked = scene.handlers.asked[0]
        # Whoever is not AWS is asked by name.
        assert asked.path == "/2015-03-31/functions/decide/invocations"
        assert asked.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDHANDLERS/")
        assert asked.headers["x-amz-invocation-type"] == "RequestResponse"
        assert asked.event == {
            "Content": "as it is",
            "MessageId": frame["Id"],
            "RoomArn": room["arn"],
            "Attributes": {"k": "v"},
            "Sender": {"UserId": "ann", "Attributes": {"a": "b"}, "Ip": "127.0.0.1"},
        }
        assert ann.act(**say("other words", Attributes={"k": "v"}))["Content"] == "changed"
        assert ann.act(**say("other attributes", Attributes={"k": "v"}))["Attributes"] == {"lang": "en"}
        assert ann.act(**say("odd case"))["Content"] == "case"
        assert scene.handlers.asked[-1].event["Attributes"] is None
        refused = ann.act(**say("rude", RequestId="r2"))
        assert (refused["Type"], refused["ErrorCode"], refused["RequestId"]) == ("ERROR", 406, "r2")
        assert refused["ErrorMessage"] == "No rude words"
        assert refused["Id"] == scene.handlers.asked[-1].event["MessageId"]
        assert ann.act(**say("short"))["ErrorCode"] == 406
        scene.chat.send_event(roomIdentifier=room["arn"], eventName="app:last")
        heard = [ben.receive_json() for _ in range(5)]
        assert [frame.get("Content", frame.get("EventName")) for frame in heard] == [
            "as it is", "changed", "other attributes", "case", "app:last",
        ]  # fmt: skip
        # Neither the event nor what moderators do is reviewed.
        assert len(scene.handlers.asked) == 6


NO_ANSWERS = {
    "throttled": lambda asked: (429, {}, b'{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded"}'),
    "failing": lambda asked: (500, {}, b"{}"),
    "raising": lambda asked: (200, {"X-Amz-Function-Error": "Unhandled"}, json.dumps(allow(asked.event)).encode()),
    "crashing": lambda asked: None,
}
NO_RESPONSES = {
    "garbage": lambda asked: b"\xff{",
    "empty": lambda asked: b"",
    "unknown": lambda asked: {"ReviewResult": "MAYBE", "Content": "x"},
    "toolong": lambda asked: allow(asked.event, Content="x" * 501),
    "toolarge": lambda asked: allow(asked.event, Attributes={"k": "v" * 1024}),
    "wordless": lambda asked: {"ReviewResult": "ALLOW"},
    "endless": lambda asked: allow(asked.event, Unknown="x" * 64 * 1024),
}


@pytest.mark.covers("SEND_MESSAGE", "frame:MESSAGE", "frame:ERROR")
def test_whatever_is_no_response_takes_the_fallback_result(tmp_path):
    with reviewed(tmp_path, **NO_ANSWERS, **NO_RESPONSES) as scene:
        for name in [*NO_ANSWERS, *NO_RESPONSES, "missing"]:
            # A function may be tried once more when its connection breaks; the message is delivered once all the same.
            allowing = scene.join(scene.room(name, "ALLOW"))
            frame = allowing.act(**say("as sent", Attributes={"k": "v"}))
            assert (frame["Type"], frame.get("Content"), frame.get("Attributes")) == ("MESSAGE", "as sent", {"k": "v"}), name
            denying = scene.join(scene.room(name, "DENY"))
            assert denying.act(**say("as sent"))["ErrorCode"] == 406, name
            metric = "response_validation_errors" if name in NO_RESPONSES else "invocation_errors"
            series = f'grandstand_review_{metric}_total{{handler="{function_arn(name)}"}}'
            assert scene.metric(series) == 2, name
            allowing.close()
            denying.close()
        scene.wait_for_metric("grandstand_review_fallbacks_total", 2 * (len(NO_ANSWERS) + len(NO_RESPONSES) + 1))
        scene.wait_for_metric("grandstand_reviews_waiting", 0)


def test_a_stuck_function_takes_the_fallback_result_at_its_time_limit(tmp_path):
    with Handlers() as handlers:
        handlers.answers["stuck"] = handlers.stuck
        settings = CREDENTIALS | {"AWS_ENDPOINT_URL": handlers.url}
        server = Server(tmp_path / "data", environment=settings).start()
        scene = Scene(server, handlers)
        for fallback, outcome in (("ALLOW", "MESSAGE"), ("DENY", "ERROR")):
            socket = scene.join(scene.room("stuck", fallback))
            began = time.monotonic()
            assert socket.act(**say("hi"))["Type"] == outcome
            # 200 ms, and whatever a busy machine needs to say so.
            assert 0.2 <= time.monotonic() - began < 20
        assert scene.metric(f'grandstand_review_invocation_errors_total{{handler="{function_arn("stuck")}"}}') == 2
        server.stop()


@pytest.mark.parametrize("descriptors", [None, 1_000], ids=["many", "few"])
def test_a_crowd_under_review_holds_up_no_other_room(tmp_path, descriptors):
    senders, members, words = 40, 20, 2
    with reviewed(tmp_path, descriptors=descriptors, quick=lambda asked: allow(asked.event, Content="quickly")) as scene:
        scene.handlers.answers["stuck"] = scene.handlers.stuck
        stuck_room = scene.room("stuck")
        watcher = scene.join(stuck_room, "watcher")
        crowd = [scene.join(stuck_room, f"sender {number}") for number in range(senders)]
        for word in range(words):
            for number, socket in enumerate(crowd):
                socket.send_json(say(f"{number} {word}"))
        scene.wait_for_metric("grandstand_reviews_waiting", senders * words)
        # A room without a handler, and one whose functions are at the same endpoint.
        plain_room = scene.chat.create_room(maximumMessageRatePerSecond=100)
        for room, heard in ((plain_room, "hi"), (scene.room("quick"), "quickly")):
            audience = [scene.join(room, f"member {number}") for number in range(members)]
            for number in range(5):
                audience[number].send_json(say("hi"))
            for socket in audience:
                assert [socket.receive_json()["Content"] for _ in range(5)] == [heard] * 5
        assert scene.metric("grandstand_reviews_waiting") == senders * words
        scene.handlers.released.set()
        said = [watcher.receive_json()["Content"] for _ in range(senders * words)]
        for number in range(senders):
            assert [text for text in said if text.split()[0] == f"{number}"] == [f"{number} {word}" for word in range(words)]


def test_a_sender_is_never_overtaken_by_itself(tmp_path):
    second_came = threading.Event()

    def slow_first(asked):
        if asked.event["Content"] == "second":
            second_came.set()
        else:
            assert second_came.wait(60)
        return allow(asked.event)

    with reviewed(tmp_path, slow=slow_first) as scene:
        socket = scene.join(scene.room("slow"))
        socket.send_json(say("first"))
        socket.send_json(say("second"))
        assert [socket.receive_json()["Content"] for _ in range(2)] == ["first", "second"]


@pytest.mark.covers("SEND_MESSAGE", "frame:ERROR")
@pytest.mark.parametrize("limit", ["ROOM", "NODE"])
def test_beyond_the_limit_of_reviews_messages_are_refused_with_429(tmp_path, limit):
    with reviewed(tmp_path, {f"GRANDSTAND_REVIEW_IN_FLIGHT_PER_{limit}_MAX": "2"}) as scene:
        scene.handlers.answers["stuck"] = scene.handlers.stuck
        socket = scene.join(scene.room("stuck", "ALLOW"))
        for content in ("one", "two"):
            socket.send_json(say(content))
        refused = socket.act(**say("three", RequestId="r"))
        assert (refused["ErrorCode"], refused["ErrorMessage"]) == (429, "rate limit exceeded")
        scene.wait_for_metric("grandstand_reviews_refused_total", 1)
        scene.handlers.released.set()
        assert [socket.receive_json()["Content"] for _ in range(2)] == ["one", "two"]


@pytest.mark.covers("DisconnectUser", "frame:EVENT")
def test_nothing_is_published_behind_a_kick_though_its_review_ends_later(tmp_path):
    with reviewed(tmp_path) as scene:
        scene.handlers.answers["stuck"] = scene.handlers.stuck
        room = scene.room("stuck", "ALLOW")
        watcher, victim = scene.join(room, "watcher"), scene.join(room, "victim")
        victim.send_json(say("before"))
        victim.send_json({"Action": "DELETE_MESSAGE", "Id": "M2YcHkgffEvU"})
        assert watcher.receive_json()["EventName"] == "aws:DELETE_MESSAGE"
        scene.wait_for_metric("grandstand_reviews_waiting", 1)
        scene.chat.disconnect_user(roomIdentifier=room["arn"], userId="victim")
        assert watcher.receive_json()["EventName"] == "aws:DISCONNECT_USER"
        scene.handlers.released.set()
        # When nothing is under review, whatever has come of it is on its way.
        scene.wait_for_metric("grandstand_reviews_waiting", 0)
        assert watcher.act(**say("after"))["Content"] == "after"


def test_what_is_under_review_when_the_server_stops_is_settled(tmp_path):
    # A server that stops waits two seconds for reviews, and a test may be held up for longer: then it proves nothing.
    assert any(is_settled_at_the_stop(tmp_path / f"{attempt}") for attempt in range(5))


def is_settled_at_the_stop(folder):
    """Whether a message is published whose review ends when the server has begun to stop."""
    folder.mkdir()
    with reviewed(folder) as scene:
        was_asked = threading.Event()

        def late(asked):
            was_asked.set()
            return scene.handlers.stuck(asked)

        scene.handlers.answers["late"] = late
        socket = scene.join(scene.room("late"))
        socket.send_json(say("hi"))
        assert was_asked.wait(60)
        stopping = threading.Thread(target=scene.server.stop)
        stopping.start()
        scene.server.wait_for_log("stopping")
        scene.handlers.released.set()
        try:
            assert socket.receive_json()["Content"] == "hi"
        except Dropped:
            return False
        finally:
            stopping.join()
        with pytest.raises(Dropped):
            socket.receive_json()
        return True


def test_the_address_of_the_sender_is_the_one_that_a_trusted_proxy_names(tmp_path):
    with reviewed(tmp_path, {"GRANDSTAND_TRUSTED_PROXIES": "127.0.0.1"}, any=lambda asked: allow(asked.event)) as scene:
        room = scene.room("any")
        request = {"roomIdentifier": room["arn"], "userId": "u", "capabilities": ["SEND_MESSAGE"]}
        token = scene.chat.create_chat_token(**request)["token"]
        with ChatSocket(scene.server.edge, token, extra=[("X-Forwarded-For", "6.6.6.6, 2001:db8::7")]) as socket:
            assert socket.act(**say("hi"))["Type"] == "MESSAGE"
        assert scene.handlers.asked[0].event["Sender"]["Ip"] == "2001:db8::7"


WEBHOOK = function_arn("hook")
RULES = function_arn("rules")


def handlers_file(folder, url):
    """A file that makes one ARN a webhook and another one rules."""
    (folder / "secret.txt").write_text("of the webhook\n")
    (folder / "words.txt").write_text("# rude\nshucks\n")
    file = folder / "handlers.toml"
    file.write_text(f"""
        [handlers."{WEBHOOK}"]
        kind = "webhook"
        url = "{url}/hook:me"
        secret_file = "secret.txt"

        [handlers."{RULES}"]
        kind = "rules"

        [[handlers."{RULES}".rules]]
        match = "words"
        file = "words.txt"
        action = "mask"

        [[handlers."{RULES}".rules]]
        match = "links"
        action = "deny"
        reason = "No links here"
    """)
    return {"GRANDSTAND_REVIEW_HANDLERS_FILE": str(file)}


@pytest.mark.covers("SEND_MESSAGE", "frame:MESSAGE", "frame:ERROR")
def test_a_webhook_is_asked_with_a_signature_over_one_connection(tmp_path):
    with Handlers() as hooks, reviewed(tmp_path, handlers_file(tmp_path, hooks.url)) as scene:
        hooks.answers["me"] = lambda asked: (
            deny("no") if asked.event["Content"] == "rude" else allow(asked.event, Content="changed")
        )
        socket = scene.join(scene.room("hook"))
        assert socket.act(**say("hi"))["Content"] == "changed"
        assert socket.act(**say("rude"))["ErrorMessage"] == "no"
        assert scene.handlers.asked == []
        for asked in hooks.asked:
            signed = asked.headers["x-grandstand-timestamp"].encode() + b"." + asked.body
            expected = hmac.new(b"of the webhook", signed, hashlib.sha256).hexdigest()
            assert asked.headers["x-grandstand-signature"] == f"v1={expected}"
        assert [asked.event["Content"] for asked in hooks.asked] == ["hi", "rude"]
        assert len({asked.connection for asked in hooks.asked}) == 1
        assert "of the webhook" not in scene.server.log_path.read_text(errors="replace")


@pytest.mark.covers("SEND_MESSAGE", "frame:MESSAGE", "frame:ERROR")
def test_built_in_rules_mask_and_deny(tmp_path):
    with reviewed(tmp_path, handlers_file(tmp_path, "http://127.0.0.1:1")) as scene:
        socket = scene.join(scene.room("rules"))
        assert socket.act(**say("oh ＳНＵСКＳ!"))["Content"] == "oh ******!"
        assert socket.act(**say("see https://example.com"))["ErrorMessage"] == "No links here"
        assert socket.act(**say("fine"))["Content"] == "fine"
        assert scene.handlers.asked == []


def test_a_file_of_handlers_that_is_wrong_is_told_at_the_start(tmp_path):
    file = tmp_path / "handlers.toml"
    file.write_text(f'[handlers."{RULES}"]\nkind = "rules"\nrules = [{{match = "patterns", patterns = ["("], action = "deny"}}]')
    server = Server(tmp_path / "data", environment={"GRANDSTAND_REVIEW_HANDLERS_FILE": str(file)})
    with pytest.raises(AssertionError, match="rule 1"):
        server.start()


@pytest.mark.covers("CreateRoom", "UpdateRoom")
def test_create_and_update_room_may_check_the_handler(tmp_path):
    def there(asked):
        return (204 if asked.headers["x-amz-invocation-type"] == "DryRun" else 500, {}, b"")

    with reviewed(tmp_path, {"GRANDSTAND_REVIEW_CHECK_HANDLERS": "true"}, there=there) as scene:
        room = scene.room("there")
        missing = {"uri": function_arn("missing")}
        for call in (
            lambda: scene.chat.create_room(messageReviewHandler=missing),
            lambda: scene.chat.update_room(identifier=room["arn"], messageReviewHandler=missing),
        ):
            with pytest.raises(ClientError) as refused:
                call()
            error = refused.value.response["Error"]
            text = "Request member: uri failed to satisfy the constraints: invalid lambda permission"
            assert (error["Code"], error["Message"]) == ("ValidationException", text)
        scene.chat.update_room(identifier=room["arn"], messageReviewHandler={"uri": ""})


@pytest.mark.covers("SEND_MESSAGE", "frame:MESSAGE", "frame:ERROR")
def test_without_endpoint_and_credentials_the_fallback_result_stands_and_the_log_warns_once(tmp_path):
    environment = {"AWS_EC2_METADATA_DISABLED": "true"} | PATIENT
    server = Server(tmp_path / "data", environment=environment).start()
    scene = Scene(server, None)
    for fallback, outcome in (("ALLOW", "MESSAGE"), ("DENY", "ERROR")):
        socket = scene.join(scene.room("any", fallback))
        assert [socket.act(**say("x"))["Type"] for _ in range(2)] == [outcome] * 2
    log = server.log_path.read_text(errors="replace")
    assert log.count("message review handlers cannot be invoked") == 1
    # Nor is it told of each handler.
    assert log.count("a message was not reviewed") == 0
    arn = function_arn("any")
    scene.wait_for_metric(f'grandstand_review_invocation_errors_total{{handler="{arn}"}}', 4)
    server.stop()


def test_credentials_are_looked_for_when_somebody_joins_a_room_with_a_handler(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as instance:
        instance.settimeout(60)
        environment = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{instance.getsockname()[1]}", "HOME": str(tmp_path)}
        server = Server(tmp_path / "data", environment=environment).start()
        scene = Scene(server, None)
        chat = scene.join(scene.room("any", "ALLOW"))
        # Nobody has said a word yet.
        asking, _ = instance.accept()
        assert asking.recv(100).startswith(b"PUT /latest/api/token ")
        chat.close()
        asking.close()
        server.stop()


def test_a_handler_is_reached_though_a_connection_to_it_takes_longer_than_a_review(tmp_path):
    certificate = certify(tmp_path, is_authority=False)
    with Handlers(certificate=certificate, distance_s=0.25) as far:
        far.answers["me"] = lambda asked: allow(asked.event, Content="reviewed")
        environment = handlers_file(tmp_path, far.url) | {"SSL_CERT_FILE": str(certificate[0])}
        with reviewed(tmp_path, environment | {"GRANDSTAND_REVIEW_TIMEOUT_MS": "200"}) as scene:
            chat = scene.join(scene.room("hook", "ALLOW"))
            assert chat.act(**say("as sent"))["Content"] == "as sent"
            # The second or third one, unless the machine is busy.
            assert "reviewed" in (chat.act(**say("as sent"))["Content"] for _ in range(50))


def test_the_breaker_stops_calling_a_failing_handler(tmp_path):
    environment = {"GRANDSTAND_REVIEW_BREAKER_FAILURES": "2", "GRANDSTAND_REVIEW_BREAKER_PAUSE_MS": "3600000"}
    with reviewed(tmp_path, environment, failing=NO_ANSWERS["failing"]) as scene:
        socket = scene.join(scene.room("failing", "ALLOW"))
        for number in range(4):
            assert socket.act(**say(f"{number}"))["Type"] == "MESSAGE"
        assert len(scene.handlers.asked) == 2
        series = f'grandstand_review_invocation_errors_total{{handler="{function_arn("failing")}"}}'
        assert scene.metric(series) == 4
