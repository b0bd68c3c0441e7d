"""Traces and metrics, as a receiver of OpenTelemetry gets them: directly, and through a collector of somebody else's. What it gets is
right and holds nothing secret; and whatever it does, chat and API go on.
"""

import http.client
import json
import re
import select
import subprocess
import time
from collections import deque
from contextlib import contextmanager

import pytest
from botocore.exceptions import ClientError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTracePartialSuccess, ExportTraceServiceResponse
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

import clients
from certificate import certify_by_authority
from edge import ChatSocket, refusal
from handlers import CREDENTIALS, Handlers, allow, function_arn
from otlp import Collector, Receiver, attributes_of, metrics_of, unknown_fields
from server import BINARY, REGION, Server, address, get

SECRET = "telemetry-api-key-31415926"
QUICK = {"GRANDSTAND_TELEMETRY_METRICS_INTERVAL_MS": "1000"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
ABOVE = "00f067aa0ba902b7"


@contextmanager
def exporting(folder, url, handlers=None, **environment):
    """A server that exports to `url`, perhaps with handlers of reviews."""
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": url} | QUICK | environment
    if handlers:
        settings |= CREDENTIALS | {"AWS_ENDPOINT_URL_LAMBDA": handlers.url, "GRANDSTAND_REVIEW_TIMEOUT_MS": "20000"}
    server = Server(folder / "data", environment=settings).start()
    try:
        yield server
    finally:
        if server.is_running():
            server.stop()


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


def with_header(chat, name, value):
    """Puts a header on each request of a boto3 client."""
    chat.meta.events.register("before-sign.ivschat", lambda request, **_: request.headers.add_header(name, value))
    return chat


def webhook_file(folder, url, secret="webhook-secret-27182818"):
    """A file of handlers in which the function `hook` is a webhook."""
    file = folder / "handlers.toml"
    arn = function_arn("hook")
    file.write_text(f'[handlers."{arn}"]\nkind = "webhook"\nurl = "{url}/hook"\nsecret = "{secret}"\n')
    return {"GRANDSTAND_REVIEW_HANDLERS_FILE": str(file)}


def series(server, name):
    """The value of a series of `/metrics`; 0 when there is none."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", get(server.admin, "/metrics")[2], re.MULTILINE)
    return float(found[1]) if found else 0.0


def wait_for_series(server, name, value):
    """Waits until a series has a value."""
    deadline = time.monotonic() + 60
    while series(server, name) < value:
        assert time.monotonic() < deadline, f"{name} is {series(server, name)}, not {value}"
        select.select([], [], [], 0.05)


def strangers_ask(server, count):
    """So many requests without a signature on one connection: each has a span, and costs little."""
    connection = http.client.HTTPConnection(*address(server.api), timeout=10)
    for _ in range(count):
        connection.request("POST", "/GetRoom", b"{}")
        assert connection.getresponse().read()
    connection.close()


def test_what_a_collector_hands_on(tmp_path, receiver):
    """API requests, a handshake, reviews and chat logs have spans with their attributes, and metrics come, all through a collector that
    reads them and writes them anew."""
    answers = {"hook": lambda asked: allow(asked.event), "broken": lambda asked: (500, {}, b"{}")}
    with Handlers(answers) as handlers, Collector(tmp_path, receiver) as collector:
        environment = webhook_file(tmp_path, handlers.url) | {"OTEL_SERVICE_NAME": "chat", "GRANDSTAND_CHATLOG_S3_INTERVAL_S": "1"}
        with exporting(tmp_path, collector.url, handlers, **environment) as server:
            chat = clients.ivschat(server)
            log = chat.create_logging_configuration(destinationConfiguration={"firehose": {"deliveryStreamName": "logs"}})
            room = chat.create_room(
                messageReviewHandler={"uri": function_arn("hook"), "fallbackResult": "DENY"},
                loggingConfigurationIdentifiers=[log["arn"]],
            )
            failing = chat.create_room(messageReviewHandler={"uri": function_arn("broken"), "fallbackResult": "ALLOW"})
            with pytest.raises(ClientError) as missing:
                chat.get_room(identifier=room["arn"][:-12] + "abcdefghijkl")
            for arn in (room["arn"], failing["arn"]):
                token = chat.create_chat_token(roomIdentifier=arn, userId="u", capabilities=["SEND_MESSAGE"])["token"]
                with ChatSocket(server.edge, token) as socket:
                    assert socket.act(Action="SEND_MESSAGE", RequestId="r", Content="hello")["Content"] == "hello"
            create = receiver.wait_for_spans("CreateRoom", 2)[0]
            [get_room] = receiver.wait_for_spans("GetRoom")
            handshakes = receiver.wait_for_spans("handshake", 2)
            reviews = receiver.wait_for_spans("review message", 2)
            [shipped] = receiver.wait_for_spans("ship chat log")
            metrics = receiver.wait_for_metrics()
        resource = receiver.of("/v1/traces")[0].message.resource_spans[0].resource
        assert {name: value for name, value in attributes_of(resource).items() if name != "service.instance.id"} == {
            "service.name": "chat", "service.version": "0.1.0", "telemetry.sdk.name": "grandstand",
            "telemetry.sdk.language": "rust", "telemetry.sdk.version": "0.1.0",
        }  # fmt: skip
        attributes = attributes_of(create)
        assert re.fullmatch(r"[0-9a-f-]{36}", attributes.pop("aws.request_id"))
        assert attributes == {
            "rpc.system": "aws-api", "rpc.service": "ivschat", "rpc.method": "CreateRoom", "cloud.region": REGION,
            "http.response.status_code": 200,
        }  # fmt: skip
        assert (create.kind, create.status.code, create.parent_span_id) == (Span.SPAN_KIND_SERVER, Status.STATUS_CODE_UNSET, b"")
        assert (len(create.trace_id), len(create.span_id)) == (16, 8)
        now = time.time_ns()
        assert now - 120e9 < create.start_time_unix_nano < create.end_time_unix_nano < now
        attributes = attributes_of(get_room)
        assert attributes["aws.request_id"] == missing.value.response["ResponseMetadata"]["RequestId"]
        assert (attributes["http.response.status_code"], attributes["error.type"]) == (404, "ResourceNotFoundException")
        # The client's own fault is no failure of the server.
        assert get_room.status.code == Status.STATUS_CODE_UNSET
        assert attributes_of(handshakes[0]) == {
            "http.request.method": "GET", "http.response.status_code": 101, "grandstand.room.arn": room["arn"],
        }  # fmt: skip
        assert attributes_of(reviews[0]) == {
            "grandstand.review.handler.kind": "webhook", "grandstand.review.handler.arn": function_arn("hook"),
            "grandstand.room.arn": room["arn"], "grandstand.review.outcome": "allowed", "grandstand.review.fallback": False,
        }  # fmt: skip
        assert attributes_of(reviews[1]) == {
            "grandstand.review.handler.kind": "lambda", "grandstand.review.handler.arn": function_arn("broken"),
            "grandstand.room.arn": failing["arn"], "grandstand.review.outcome": "failed", "grandstand.review.fallback": True,
            "error.type": "invocation",
        }  # fmt: skip
        assert [review.kind for review in reviews] == [Span.SPAN_KIND_CLIENT] * 2
        assert [review.status.code for review in reviews] == [Status.STATUS_CODE_UNSET, Status.STATUS_CODE_ERROR]
        attributes = attributes_of(shipped)
        assert attributes.pop("grandstand.chatlog.bytes") > 100
        assert attributes == {
            "grandstand.chatlog.destination": "firehose", "grandstand.chatlog.folder": True,
            "grandstand.logging_configuration.arn": log["arn"], "grandstand.chatlog.records": 1, "grandstand.chatlog.attempt": 1,
            "grandstand.chatlog.rejected_records": 0,
        }  # fmt: skip
        # What the webhook does is part of the review, and what the function does is, in the way of AWS.
        [asked] = [asked for asked in handlers.asked if asked.path == "/hook"]
        assert asked.headers["traceparent"] == f"00-{reviews[0].trace_id.hex()}-{reviews[0].span_id.hex()}-01"
        [asked] = [asked for asked in handlers.asked if asked.headers.get("x-amz-invocation-type") == "RequestResponse"]
        trace, span = reviews[1].trace_id.hex(), reviews[1].span_id.hex()
        assert asked.headers["x-amzn-trace-id"] == f"Root=1-{trace[:8]}-{trace[8:]};Parent={span};Sampled=1"
        assert "x-amzn-trace-id" not in asked.headers["authorization"]
        assert metrics["grandstand_connections"].HasField("gauge")


def test_what_fails_has_a_span_that_says_so(tmp_path, receiver):
    """A handshake with a wrong token, a message that rules deny, a destination that fails at first."""
    rules = tmp_path / "handlers.toml"
    rules.write_text(f'[handlers."{function_arn("rules")}"]\nkind = "rules"\nrules = [{{ match = "links", action = "deny" }}]\n')
    firehose = deque([(500, {}, b"{}"), {"FailedPutCount": 0, "RequestResponses": [{"RecordId": "1"}]}])
    with Handlers({"": lambda asked: firehose.popleft()}) as handlers:
        environment = CREDENTIALS | {"AWS_ENDPOINT_URL_FIREHOSE": handlers.url, "GRANDSTAND_REVIEW_HANDLERS_FILE": str(rules)}
        with exporting(tmp_path, receiver.url, **environment) as server:
            chat = clients.ivschat(server)
            log = chat.create_logging_configuration(destinationConfiguration={"firehose": {"deliveryStreamName": "logs"}})
            handler = {"uri": function_arn("rules"), "fallbackResult": "ALLOW"}
            room = chat.create_room(messageReviewHandler=handler, loggingConfigurationIdentifiers=[log["arn"]])["arn"]
            assert refusal(server.edge, "no-token")[0] == 403
            token = chat.create_chat_token(roomIdentifier=room, userId="u", capabilities=["SEND_MESSAGE"])["token"]
            with ChatSocket(server.edge, token) as socket:
                assert socket.act(Action="SEND_MESSAGE", RequestId="r", Content="https://example.com")["ErrorCode"] == 406
                assert socket.act(Action="SEND_MESSAGE", RequestId="r", Content="hello")["Content"] == "hello"
            handshakes = receiver.wait_for_spans("handshake", 2)
            reviews = receiver.wait_for_spans("review message", 2)
            parcels = receiver.wait_for_spans("ship chat log", 2)
    assert attributes_of(handshakes[0]) == {
        "http.request.method": "GET", "http.response.status_code": 403, "error.type": "the chat token is malformed",
    }  # fmt: skip
    assert [review.kind for review in reviews] == [Span.SPAN_KIND_INTERNAL] * 2
    told = [attributes_of(review) for review in reviews]
    assert [(said["grandstand.review.handler.kind"], said["grandstand.review.outcome"]) for said in told] == [("rules", "denied"), ("rules", "allowed")]
    told = [attributes_of(parcel) for parcel in parcels]
    assert [(said["grandstand.chatlog.attempt"], said.get("error.type"), said["grandstand.chatlog.folder"]) for said in told] == [
        (1, "other", False), (2, None, False),
    ]  # fmt: skip
    assert [parcel.status.code for parcel in parcels] == [Status.STATUS_CODE_ERROR, Status.STATUS_CODE_UNSET]
    assert {parcel.kind for parcel in parcels} == {Span.SPAN_KIND_CLIENT}


def test_metrics_are_those_of_prometheus(tmp_path, receiver):
    """Every series of `/metrics` is in an export, with its value, type, labels and meaning."""
    with exporting(tmp_path, receiver.url) as server:
        begun = time.time_ns()
        chat = clients.ivschat(server)
        for _ in range(3):
            chat.create_room()
        wait_for_series(server, 'grandstand_api_requests_total{operation="CreateRoom",result="ok"}', 3)
        before = len(receiver.of("/v1/metrics"))
        metrics = receiver.wait_for_metrics(after=before + 1)
        text = get(server.admin, "/metrics")[2]
    export = receiver.of("/v1/metrics")[before + 1]
    assert unknown_fields(export.message) == 0
    families = re.findall(r"^# HELP (\S+) (.*?)\.?\n# TYPE \S+ (\S+)\n((?:[^#].*\n)*)", text, re.MULTILINE)
    # What goes on by itself.
    restless = {"grandstand_process_resident_memory_bytes", "grandstand_process_processor_seconds", "grandstand_process_open_descriptors", "grandstand_telemetry_exports"}
    compared = 0
    for name, meaning, kind, lines in families:
        if not lines:
            assert name not in metrics, name
            continue
        metric = metrics.pop(name)
        assert metric.description == meaning
        assert metric.unit == ("s" if name.endswith("_seconds") else "By" if name.endswith("_bytes") else "")
        assert metric.WhichOneof("data") == {"counter": "sum", "gauge": "gauge", "histogram": "histogram"}[kind]
        data = getattr(metric, metric.WhichOneof("data"))
        if kind != "gauge":
            assert data.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
        if kind == "counter":
            assert data.is_monotonic
        found = {}
        for point in data.data_points:
            assert begun - 60e9 < point.start_time_unix_nano <= point.time_unix_nano < time.time_ns()
            labels = ",".join(f'{label}="{value}"' for label, value in attributes_of(point).items())
            braces = f"{{{labels}}}" if labels else ""
            if kind == "histogram":
                assert len(point.bucket_counts) == len(point.explicit_bounds) + 1 and sum(point.bucket_counts) == point.count
                below = 0
                for bound, count in zip([*point.explicit_bounds, float("inf")], point.bucket_counts):
                    below += count
                    found[f"{name}_bucket", bound] = below
                found |= {f"{name}_sum": point.sum, f"{name}_count": point.count}
            else:
                value = getattr(point, point.WhichOneof("value"))
                found[name + ("_total" if kind == "counter" else "") + braces] = value
        for line in lines.splitlines():
            key, value = line.rsplit(" ", 1)
            if bucket := re.fullmatch(r'(\S+){le="(.*)"}', key):
                key = bucket[1], float(bucket[2].replace("+Inf", "inf"))
            shown = found.pop(key)
            if name not in restless:
                assert shown == pytest.approx(float(value)), line
                compared += 1
        assert not found, found
    assert not metrics and compared > 50, (metrics, compared)


def test_a_parent_decides_if_its_request_is_signed(tmp_path, receiver):
    with exporting(tmp_path, receiver.url, OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG="0") as server:
        room = clients.ivschat(server).create_room()["arn"]
        for header in (f"00-{TRACE}-{ABOVE}-00", f"00-{TRACE.upper()}-{ABOVE}-01", f"00-{'0' * 32}-{ABOVE}-01", "ff" + f"-{TRACE}-{ABOVE}-01"):
            with_header(clients.ivschat(server), "traceparent", header).get_room(identifier=room)
        connection = http.client.HTTPConnection(*address(server.api), timeout=10)
        connection.request("POST", "/GetRoom", b"{}", {"traceparent": f"00-{TRACE}-{ABOVE}-01"})
        assert connection.getresponse().status == 403
        connection.close()
        chat = with_header(clients.ivschat(server), "traceparent", f"00-{TRACE}-{ABOVE}-01")
        with_header(chat, "tracestate", "vendor=1").tag_resource(resourceArn=room, tags={"a": "b"})
        [span] = receiver.wait_for_spans("TagResource")
    assert [span.name for span in receiver.spans()] == ["TagResource"]
    assert (span.trace_id.hex(), span.parent_span_id.hex(), span.trace_state) == (TRACE, ABOVE, "vendor=1")
    # Sampled, and its parent is somebody else's.
    assert span.flags == 0x301
    assert unknown_fields(receiver.of("/v1/traces")[0].message) == 0


def test_nothing_secret_is_exported_or_logged(tmp_path, receiver):
    words = ["Xylophone-content", "Xylophone-user", "Xylophone-value", "Xylophone-reason", "Xylophone-event", "webhook-secret-27182818", "Xylophone-room"]
    answers = {"hook": lambda asked: {"ReviewResult": "DENY", "Attributes": {"Reason": "Xylophone-reason"}}}
    with Handlers(answers) as handlers:
        environment = webhook_file(tmp_path, handlers.url) | {
            "OTEL_EXPORTER_OTLP_HEADERS": f"api-key={SECRET}", "GRANDSTAND_LOG_FILTER": "trace",
        }  # fmt: skip
        receiver.answers.extend([401, 503])
        with exporting(tmp_path, receiver.url, handlers, **environment) as server:
            chat = clients.ivschat(server)
            handler = {"uri": function_arn("hook"), "fallbackResult": "DENY"}
            rooms = [chat.create_room(name="Xylophone-room", messageReviewHandler=handler)["arn"], chat.create_room(name="Xylophone-room")["arn"]]
            tokens = []
            for room in rooms:
                request = {"userId": "Xylophone-user", "attributes": {"k": "Xylophone-value"}, "capabilities": ["SEND_MESSAGE"]}
                tokens.append(chat.create_chat_token(roomIdentifier=room, **request)["token"])
                with ChatSocket(server.edge, tokens[-1]) as socket:
                    socket.act(Action="SEND_MESSAGE", RequestId="r", Content="Xylophone-content", Attributes={"k": "Xylophone-value"})
                    chat.send_event(roomIdentifier=room, eventName="Xylophone-event", attributes={"k": "Xylophone-value"})
                    chat.disconnect_user(roomIdentifier=room, userId="Xylophone-user", reason="Xylophone-reason")
            receiver.wait_for_spans("handshake", 2)
            receiver.wait_for_spans("DisconnectUser", 2)
            [review] = receiver.wait_for_spans("review message")
            receiver.wait_for_metrics()
        assert attributes_of(review)["grandstand.review.outcome"] == "denied"
        exported = b"".join(export.raw for export in receiver.exports)
        assert all(export.headers["api-key"] == SECRET for export in receiver.exports)
        log = server.log_path.read_text()
        assert "the OpenTelemetry receiver" in log
        for secret in [*words, *tokens, SECRET, "conformance/secret"]:
            assert secret.encode() not in exported and secret not in log, secret


def test_a_receiver_is_left_alone_for_as_long_as_it_asks_and_tried_again(tmp_path, receiver):
    receiver.answers.extend([(503, {"retry-after": "3"}), (429, {"retry-after": "0"}), 502, 504])
    with exporting(tmp_path, receiver.url, OTEL_METRICS_EXPORTER="none") as server:
        clients.ivschat(server).create_room()
        receiver.wait_for_spans("CreateRoom")
        wait_for_series(server, "grandstand_telemetry_spans_exported_total", 1)
        assert series(server, 'grandstand_telemetry_exports_total{signal="traces",result="away"}') == 4
        assert not re.search(r"^grandstand_telemetry_spans_lost", get(server.admin, "/metrics")[2], re.MULTILINE)
    tries = receiver.of("/v1/traces", taken=False)
    assert len({export.raw for export in tries}) == 1 and len(tries) == 5
    assert tries[1].when - tries[0].when >= 3
    # Asking for nothing is no leave to hurry: pauses double all the same, from half of half a second on.
    for number, pause in enumerate([0.5, 1, 2], 1):
        assert tries[number + 1].when - tries[number].when >= pause
    log = server.log_path.read_text()
    # One line for each change.
    assert (log.count("it is tried again"), log.count("receiver takes what is exported")) == (1, 1)


def test_what_is_refused_is_lost_and_counted(tmp_path, receiver):
    partial = ExportTraceServiceResponse(partial_success=ExportTracePartialSuccess(rejected_spans=2, error_message="too old"))
    endless = ExportTraceServiceResponse(partial_success=ExportTracePartialSuccess(error_message="x" * 100_000))
    receiver.answers.extend([400, (503, {"content-length": "100000"}), endless, partial])
    with exporting(tmp_path, receiver.url, OTEL_METRICS_EXPORTER="none") as server:
        chat = clients.ivschat(server)
        chat.create_room()
        receiver.wait("the refused export", lambda: receiver.of("/v1/traces", taken=False))
        wait_for_series(server, 'grandstand_telemetry_spans_lost_total{reason="refused"}', 1)
        chat.create_room()
        # Nobody reads answers that go on and on: what their status says counts.
        wait_for_series(server, "grandstand_telemetry_spans_exported_total", 1)
        for _ in range(3):
            chat.create_room()
        wait_for_series(server, "grandstand_telemetry_spans_exported_total", 2)
        assert series(server, 'grandstand_telemetry_spans_lost_total{reason="rejected"}') == 2
    # Only what was answered with 503 is tried again.
    assert [export.taken for export in receiver.of("/v1/traces", taken=False)] == [False, False, True, True]
    assert "cause=status 400" in server.log_path.read_text()


def test_a_stuck_receiver_is_in_nobodys_way_and_memory_is_bounded(tmp_path, receiver):
    """Spans beyond those that may wait are lost and counted; none is lost silently; whoever asks or chats notices nothing."""
    count = 6_000
    receiver.moods["/v1/traces"] = Receiver.STUCK
    with exporting(tmp_path, receiver.url) as server:
        chat = clients.ivschat(server)
        room = chat.create_room()["arn"]
        strangers_ask(server, 1_000)
        receiver.wait("an export that is stuck", lambda: receiver.of("/v1/traces", taken=False))
        strangers_ask(server, count - 1_000)
        token = chat.create_chat_token(roomIdentifier=room, userId="u", capabilities=["SEND_MESSAGE"])["token"]
        with ChatSocket(server.edge, token) as socket:
            assert socket.act(Action="SEND_MESSAGE", RequestId="r", Content="hello")["Content"] == "hello"
        # Whoever had waited for it would still wait.
        assert not receiver.of("/v1/traces")
        lost = series(server, 'grandstand_telemetry_spans_lost_total{reason="queue_full"}')
        assert count - 1_000 - 2_048 <= lost < count
        # Metrics do not wait for traces.
        receiver.wait_for_metrics(after=len(receiver.of("/v1/metrics")))
        receiver.moods.clear()
        receiver.released.set()
        # Two more spans are of the room and the token, and one of the handshake.
        wait_for_series(server, "grandstand_telemetry_spans_exported_total", count + 3 - lost)
        assert series(server, "grandstand_telemetry_spans_exported_total") == count + 3 - lost
        assert max(len(export.message.resource_spans[0].scope_spans[0].spans) for export in receiver.of("/v1/traces")) == 512


def test_a_collector_that_dies_stalls_and_comes_back(tmp_path, receiver):
    """Requests and messages are served as ever, nothing is waited for, and what came meanwhile arrives in the end."""
    with Collector(tmp_path, receiver) as collector, exporting(tmp_path, collector.url, OTEL_EXPORTER_OTLP_TIMEOUT="1000") as server:
        chat = clients.ivschat(server)

        def use(name):
            room = chat.create_room(name=name)["arn"]
            token = chat.create_chat_token(roomIdentifier=room, userId="u", capabilities=["SEND_MESSAGE"])["token"]
            with ChatSocket(server.edge, token) as socket:
                assert socket.act(Action="SEND_MESSAGE", RequestId="r", Content=name)["Content"] == name

        use("before")
        receiver.wait_for_spans("CreateRoom", 1)
        collector.kill()
        use("while-dead")
        server.wait_for_log("signal=\"traces\" cause")
        collector.start()
        receiver.wait_for_spans("CreateRoom", 2)
        collector.freeze()
        use("while-stalled")
        server.wait_for_log("signal=\"traces\" cause", times=2)
        collector.thaw()
        receiver.wait_for_spans("CreateRoom", 3)
        use("after")
        receiver.wait_for_spans("CreateRoom", 4)
        assert series(server, 'grandstand_telemetry_spans_lost_total{reason="away"}') == 0
        receiver.wait_for_metrics(after=len(receiver.of("/v1/metrics")))


@pytest.mark.parametrize("is_stuck", [False, True])
def test_a_stop_exports_what_is_left_and_waits_for_nobody(tmp_path, receiver, is_stuck):
    if is_stuck:
        receiver.moods = {"/v1/traces": Receiver.STUCK, "/v1/metrics": Receiver.STUCK}
    with exporting(tmp_path, receiver.url, GRANDSTAND_TELEMETRY_METRICS_INTERVAL_MS="3600000") as server:
        clients.ivschat(server).create_room()
        server.stop()
        assert ("not all telemetry could be exported in time" in server.log_path.read_text()) == is_stuck
    assert len(receiver.spans("CreateRoom")) == (0 if is_stuck else 1)
    if not is_stuck:
        # One at the beginning, and one at the end, which knows of the request.
        [_, last] = receiver.of("/v1/metrics")
        [point] = metrics_of(last)["grandstand_api_requests"].sum.data_points
        assert (attributes_of(point), point.as_int) == ({"operation": "CreateRoom", "result": "ok"}, 1)


def test_a_hand_over_exports_what_is_left_and_the_next_process_goes_on(tmp_path, receiver):
    with exporting(tmp_path, receiver.url) as server:
        clients.ivschat(server).create_room()
        server.hand_over()
        # The process before has ended.
        assert len(receiver.spans("CreateRoom")) == 1
        clients.ivschat(server).create_room()
    instances = set()
    for export in receiver.of("/v1/traces"):
        instances.add(attributes_of(export.message.resource_spans[0].resource)["service.instance.id"])
    assert (len(receiver.spans("CreateRoom")), len(instances)) == (2, 2)


def test_tls_gzip_and_settings_of_our_own(tmp_path):
    *certificate, authority = certify_by_authority(tmp_path)
    with Receiver(certificate=certificate) as receiver:
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "GRANDSTAND_TELEMETRY_OTLP_ENDPOINT": receiver.url,
            "GRANDSTAND_TELEMETRY_OTLP_CERTIFICATE_FILE": str(authority), "GRANDSTAND_TELEMETRY_OTLP_COMPRESSION": "gzip",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test%2C1,service.instance.id=one,service.name=other",
        }  # fmt: skip
        with exporting(tmp_path, receiver.url, **settings) as server:
            clients.ivschat(server).create_room()
            receiver.wait_for_spans("CreateRoom")
            receiver.wait_for_metrics()
        for export in receiver.exports:
            assert export.headers["content-encoding"] == "gzip"
            assert export.headers["content-type"] == "application/x-protobuf"
        resource = attributes_of(receiver.of("/v1/traces")[0].message.resource_spans[0].resource)
        assert (resource["deployment.environment.name"], resource["service.instance.id"], resource["service.name"]) == ("test,1", "one", "other")


def test_what_is_switched_off_is_not_exported(tmp_path, receiver):
    for number, (environment, paths) in enumerate([
        ({"OTEL_SDK_DISABLED": "true"}, set()),
        ({"OTEL_TRACES_EXPORTER": "none"}, {"/v1/metrics"}),
        ({"OTEL_METRICS_EXPORTER": "none"}, {"/v1/traces"}),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, set()),
        # Nobody's business where nothing is exported.
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, set()),
    ]):  # fmt: skip
        folder = tmp_path / str(number)
        folder.mkdir()
        receiver.exports.clear()
        with exporting(folder, receiver.url, **environment) as server:
            clients.ivschat(server).create_room()
        assert {export.path for export in receiver.exports} == paths, environment


@pytest.mark.parametrize("variable,value,told", [
    ("OTEL_EXPORTER_OTLP_ENDPOINT", f"collector/{SECRET}", "`telemetry.otlp_endpoint` in OTEL_EXPORTER_OTLP_ENDPOINT must be an address"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://user:{SECRET}@collector", "neither user, password"),
    ("OTEL_EXPORTER_OTLP_HEADERS", SECRET, "`telemetry.otlp_headers` in OTEL_EXPORTER_OTLP_HEADERS must be at most 32 headers"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "must be one of `http/protobuf`"),
    ("OTEL_TRACES_SAMPLER", "jaeger_remote", "must be one of `parentbased_traceidratio`"),
    ("GRANDSTAND_TELEMETRY_SAMPLING_RATIO", "2", "`telemetry.sampling_ratio` in GRANDSTAND_TELEMETRY_SAMPLING_RATIO must be a number from 0 to 1"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/file.pem", "`telemetry.otlp_certificate_file`: cannot use /no/such/file.pem"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "1", "must be a whole number of milliseconds from 1000 to 3600000"),
])  # fmt: skip
def test_wrong_settings_are_told_by_name(tmp_path, variable, value, told):
    environment = {"PATH": "/usr/bin", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", variable: value}
    command = [str(BINARY), "serve", "--data-dir", str(tmp_path / "data")]
    outcome = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert outcome.returncode != 0 and told in outcome.stderr, outcome.stderr
    assert SECRET not in outcome.stderr + outcome.stdout
    assert not json.loads(outcome.stdout or "null")
