"""What SDKs will not send: broken bodies, broken signatures, broken HTTP. Always a typed 4xx, never a 500."""

import email.utils
import json
import re
import socket
from datetime import datetime, timedelta, timezone
from urllib.parse import quote

import pytest

from server import ACCESS_KEY_ID, SECRET_ACCESS_KEY, get, narrow_connection
from signing import presign, sign
from wire import Wire, answers_until_the_end

REQUEST_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")


def check_common(answer):
    """What every answer carries."""
    assert REQUEST_ID.match(answer.headers["x-amzn-RequestId"])
    date = email.utils.parsedate_to_datetime(answer.headers["Date"])
    assert abs(datetime.now(timezone.utc) - date) < timedelta(seconds=10)
    assert SECRET_ACCESS_KEY.encode() not in answer.body


def check_error(answer, status, error_type, **members):
    """A typed error: header, status, JSON body with a message."""
    check_common(answer)
    assert (answer.status, answer.error_type) == (status, error_type), answer.body
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json
    assert body["message"] and isinstance(body["message"], str)
    assert {name: body.get(name) for name in members} == members
    return body


# --- bodies ------------------------------------------------------------------------------------------------------

BAD_BODIES = {
    "not JSON": b"nonsense",
    "cut off": b'{"name":',
    "trailing text": b'{"name":"a"}x',
    "two documents": b"{}{}",
    "an array": b"[]",
    "a string": b'"text"',
    "a number": b"7",
    "null": b"null",
    "true": b"true",
    "single quotes": b"{'name':'a'}",
    "a comment": b"/* */{}",
    "a trailing comma": b'{"name":"a",}',
    "NaN": b'{"maximumMessageLength":NaN}',
    "a leading zero": b'{"maximumMessageLength":07}',
    "invalid UTF-8": b'{"name":"\xff\xfe"}',
    "UTF-16": '{"name":"a"}'.encode("utf-16"),
    "a control character in a string": b'{"name":"a\nb"}',
    "a lone high surrogate": b'{"name":"\\ud800"}',
    "a lone low surrogate": b'{"name":"\\udc00"}',
    "a lone surrogate in a key": b'{"\\ud800":1}',
    "an array 10,000 deep": b'{"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "objects 5,000 deep": b'{"x":' * 5_000 + b"1" + b"}" * 5_000,
    "10,000 open brackets": b"[" * 10_000,
}


@pytest.mark.covers("CreateRoom")
@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_body_that_is_no_json_object_is_a_validation_exception(http, name):
    answer = http.signed("POST", "/CreateRoom", BAD_BODIES[name])
    body = check_error(answer, 400, "ValidationException")
    assert body["reason"] in ("OTHER", "FIELD_VALIDATION_FAILED")


@pytest.mark.covers("CreateRoom", "ListRooms", "TagResource")
def test_no_body_is_an_empty_object(http, room):
    for operation in ("CreateRoom", "ListRooms", "ListLoggingConfigurations"):
        answer = http.signed("POST", f"/{operation}", b"")
        check_common(answer)
        assert answer.status == 200, answer.body
    check_error(http.signed("POST", "/GetRoom", b""), 400, "ValidationException", reason="FIELD_VALIDATION_FAILED")


@pytest.mark.covers("CreateRoom")
def test_unknown_members_are_ignored_and_numbers_keep_their_type(http):
    answer = http.call("CreateRoom", {"name": "known", "unknown": {"deep": [1, None, {}]}, "Name": "not me"})
    check_common(answer)
    assert (answer.status, answer.json["name"]) == (200, "known")
    assert answer.headers["Content-Type"] == "application/json"
    assert type(answer.json["maximumMessageLength"]) is int
    assert re.match(rb'\{"arn":', answer.body) or b'"arn":' in answer.body
    for member in ("createTime", "updateTime"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", answer.json[member])


@pytest.mark.covers("CreateRoom")
def test_a_body_of_64_kib_is_read_and_one_byte_more_is_a_413(http):
    def padded(size):
        body = b'{"name":"big","padding":"'
        return body + b"x" * (size - len(body) - 2) + b'"}'

    assert http.signed("POST", "/CreateRoom", padded(65_536)).status == 200
    for size in (65_537, 1_000_000):
        check_error(http.signed("POST", "/CreateRoom", padded(size)), 413, "RequestEntityTooLargeException")


def test_headers_beyond_32_kib_are_a_431(http):
    answer = http.signed("POST", "/ListRooms", b"{}", headers={"X-Padding": "x" * 33_000})
    check_error(answer, 431, "RequestHeaderFieldsTooLargeException")
    answer = http.signed("POST", "/ListRooms", b"{}", headers={"X-Padding": "x" * 30_000})
    assert answer.status == 200, "30 KB of headers are within the limit"


# --- operations and methods --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"), ("POST", "/NoSuchOperation"), ("POST", "/createroom"), ("POST", "/CreateRoom/"), ("GET", "/CreateRoom"),
        ("PUT", "/CreateRoom"), ("DELETE", "/ListRooms"), ("PATCH", "/GetRoom"), ("POST", "/tags"), ("PUT", "/tags/x"),
        ("GET", "/"), ("POST", "/TagResource"), ("OPTIONS", "/CreateRoom"),
    ],
)  # fmt: skip
def test_unknown_operations_and_wrong_methods_are_typed(http, method, path):
    check_error(http.signed(method, path, b"{}"), 404, "UnknownOperationException")


def test_authentication_comes_before_everything_else(http):
    for method, path, body in (("POST", "/NoSuchOperation", b"{}"), ("POST", "/CreateRoom", b"nonsense")):
        check_error(http.send(method, path, body), 403, "MissingAuthenticationTokenException")


def test_a_head_request_has_no_body(http):
    answer = http.signed("HEAD", "/CreateRoom")
    assert (answer.status, answer.error_type, answer.body) == (404, "UnknownOperationException", b"")


@pytest.mark.parametrize("port", ["api", "edge", "admin"])
def test_health_needs_no_authentication(server, port):
    for path in ("/health/live", "/health/ready"):
        status, _, _ = get(getattr(server, port).replace("ws://", "http://"), path)
        assert status == 200


def test_metrics_are_on_the_admin_port_only(server):
    status, headers, text = get(server.admin, "/metrics")
    assert status == 200 and headers["content-type"].lower().startswith(("text/plain", "application/openmetrics-text"))
    assert "# TYPE" in text
    assert get(server.api, "/metrics")[0] in (403, 404)
    assert get(server.edge.replace("ws://", "http://"), "/metrics")[0] in (400, 401, 403, 404, 426)


# --- tag paths ---------------------------------------------------------------------------------------------------


@pytest.mark.covers("TagResource", "UntagResource", "ListTagsForResource")
@pytest.mark.parametrize("safe", ["", ":", "/", ":/"], ids=["encoded", "colons", "slashes", "plain"])
def test_resource_arns_in_the_path_in_every_spelling(http, room, safe):
    path = "/tags/" + quote(room["arn"], safe=safe)
    for spelling in {path, path.replace("%3A", "%3a").replace("%2F", "%2f")}:
        assert http.signed("POST", spelling, b'{"tags":{"a":"1","b c":"2","d":"3"}}').status == 200
        answer = http.signed("GET", spelling)
        assert (answer.status, answer.json) == (200, {"tags": {"a": "1", "b c": "2", "d": "3"}})
        answer = http.signed("DELETE", spelling + "?tagKeys=a&tagKeys=b%20c")
        assert (answer.status, answer.json or {}) == (200, {})
        assert http.signed("GET", spelling).json == {"tags": {"d": "3"}}


@pytest.mark.covers("UntagResource")
def test_repeated_and_odd_tag_keys_in_the_query(http, chat, room):
    path = "/tags/" + quote(room["arn"], safe="")
    chat.tag_resource(resourceArn=room["arn"], tags={"a=b": "1", "é&+": "2", "kept": "3", "+": "4"})
    answer = http.signed("DELETE", path + "?tagKeys=a%3Db&tagKeys=a%3Db&tagKeys=%C3%A9%26%2B&tagKeys=%2B&other=1")
    assert answer.status == 200, answer.body
    assert http.signed("GET", path).json == {"tags": {"kept": "3"}}
    body = check_error(http.signed("DELETE", path), 400, "ValidationException", reason="FIELD_VALIDATION_FAILED")
    assert [field["name"] for field in body["fieldList"]] == ["tagKeys"]


@pytest.mark.covers("ListTagsForResource")
@pytest.mark.parametrize("arn", ["x", "arn%3", "%ff", "arn%3Aaws%3As3%3A%3A%3Ab", "a" * 129])
def test_a_path_that_holds_no_arn_is_a_validation_exception(http, arn):
    body = check_error(http.signed("GET", f"/tags/{arn}"), 400, "ValidationException")
    assert [field["name"] for field in body["fieldList"]] == ["resourceArn"]


# --- signatures --------------------------------------------------------------------------------------------------


def test_a_request_without_a_signature(http):
    check_error(http.send("POST", "/ListRooms", b"{}", {"Host": http.host}), 403, "MissingAuthenticationTokenException")


@pytest.mark.parametrize(
    "authorization",
    [
        "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256 nonsense", "AWS4-HMAC-SHA256 Credential=a",
        f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/20260101/us-west-2/ivschat/aws4_request, SignedHeaders=host",
        f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}, SignedHeaders=host, Signature=00",
        f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/20260101/us-west-2/ivschat/aws4_request, Signature=00",
    ],
)  # fmt: skip
def test_a_garbled_authorization_header_is_an_incomplete_signature(http, authorization):
    moment = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    headers = {"Host": http.host, "X-Amz-Date": moment, "Authorization": authorization}
    check_error(http.send("POST", "/ListRooms", b"{}", headers), 403, "IncompleteSignatureException")


def test_another_scheme_is_refused(http):
    for authorization in ("Basic YTpi", "Bearer x", "AWS a:b", ""):
        answer = http.send("POST", "/ListRooms", b"{}", {"Host": http.host, "Authorization": authorization})
        check_common(answer)
        assert answer.status == 403
        assert answer.error_type in ("MissingAuthenticationTokenException", "IncompleteSignatureException")


def test_what_was_signed_is_what_counts(http):
    good = sign("POST", "/ListRooms", http.host, b"{}")
    assert http.send("POST", "/ListRooms", b"{}", good).status == 200
    bent = [
        ("POST", "/ListRooms", b'{"maxResults":1}', good),
        ("POST", "/CreateRoom", b"{}", good),
        ("POST", "/ListRooms?x=1", b"{}", good),
        ("POST", "/ListRooms", b"{}", {**good, "Host": "elsewhere.example"}),
        ("POST", "/ListRooms", b"{}", {**good, "Authorization": good["Authorization"][:-1] + "g"}),
        ("POST", "/ListRooms", b"{}", {**good, "Authorization": good["Authorization"][:-2]}),
    ]
    for method, target, body, headers in bent:
        answer = http.send(method, target, body, headers)
        check_common(answer)
        assert answer.status == 403
        assert answer.error_type in ("InvalidSignatureException", "IncompleteSignatureException"), answer.body


def test_an_unsigned_host_is_refused(http):
    answer = http.signed("POST", "/ListRooms", b"{}", sign_host=False)
    check_common(answer)
    assert answer.status == 403
    assert answer.error_type in ("InvalidSignatureException", "IncompleteSignatureException")


@pytest.mark.parametrize(
    "scope", [{"service": "ivs"}, {"service": "s3"}, {"terminator": "aws5_request"}, {"region": "US WEST"}, {"region": ""}]
)
def test_a_scope_that_is_not_of_this_service_is_refused(http, scope):
    answer = http.signed("POST", "/ListRooms", b"{}", **scope)
    check_common(answer)
    assert answer.status == 403
    assert answer.error_type in ("InvalidSignatureException", "IncompleteSignatureException")


@pytest.mark.parametrize(("seconds", "accepted"), [(-290, True), (290, True), (-310, False), (310, False), (-86_400, False)])
def test_the_clock_may_be_five_minutes_off(http, seconds, accepted):
    moment = (datetime.now(timezone.utc) + timedelta(seconds=seconds)).strftime("%Y%m%dT%H%M%SZ")
    answer = http.signed("POST", "/ListRooms", b"{}", moment=moment)
    if accepted:
        assert answer.status == 200, answer.body
    else:
        check_error(answer, 403, "InvalidSignatureException")


@pytest.mark.parametrize("moment", ["20260101", "20261301T000000Z", "now", "20260101T000000", "2026-01-01T00:00:00Z"])
def test_a_date_that_is_none_is_refused(http, moment):
    answer = http.signed("POST", "/ListRooms", b"{}", moment=moment)
    check_common(answer)
    assert answer.status == 403
    assert answer.error_type in ("InvalidSignatureException", "IncompleteSignatureException")


def test_the_order_of_the_query_and_folded_header_spaces_do_not_matter(http, room):
    path = "/tags/" + quote(room["arn"], safe="")
    headers = {"X-Amz-Meta-Odd": "  a    b  "}
    assert http.signed("DELETE", path + "?tagKeys=z&tagKeys=a&b=&a=1", headers=headers).status == 200


def test_the_secret_of_a_known_key_is_needed(http):
    check_error(http.signed("POST", "/ListRooms", b"{}", secret="x"), 403, "InvalidSignatureException")
    check_error(http.signed("POST", "/ListRooms", b"{}", access_key_id="AKIDX"), 403, "UnrecognizedClientException")
    check_error(http.signed("POST", "/ListRooms", b"{}", access_key_id=""), 403, "UnrecognizedClientException")


@pytest.mark.covers("GetRoom", "ListTagsForResource")
def test_presigned_requests(http, room):
    body = json.dumps({"identifier": room["arn"]}).encode()
    path = "/tags/" + quote(room["arn"], safe="")
    host = {"Host": http.host}
    answer = http.send("POST", presign("POST", "/GetRoom", http.host, body), body, host)
    assert (answer.status, answer.json["id"]) == (200, room["id"])
    answer = http.send("GET", presign("GET", path, http.host), headers=host)
    assert (answer.status, answer.json) == (200, {"tags": {}})
    bent = [
        http.send("POST", presign("POST", "/GetRoom", http.host, body), body + b" ", host),
        http.send("GET", presign("GET", path, http.host) + "&x=1", headers=host),
        http.send("GET", presign("GET", path, http.host, secret="wrong"), headers=host),
        http.send("GET", presign("GET", path, http.host, seconds=604_801), headers=host),
        http.send("GET", presign("GET", path, http.host)[:-1], headers=host),
    ]
    for answer in bent:
        check_common(answer)
        assert answer.status == 403
        assert answer.error_type in ("InvalidSignatureException", "IncompleteSignatureException"), answer.body


# --- connections -------------------------------------------------------------------------------------------------


def test_keep_alive_after_an_error(http):
    with Wire(http) as wire:
        for body, expected in ((b"{}", 200), (b"nonsense", 400), (b"{}", 200), (b'{"maxResults":0}', 400), (b"{}", 200)):
            wire.socket.sendall(wire.request(body))
            assert wire.response()[0] == expected
        wire.socket.sendall(wire.request(secret="wrong"))
        assert wire.response()[0] == 403
        wire.socket.sendall(wire.request())
        assert wire.response()[0] == 200


def test_pipelined_requests_are_answered_in_order(http):
    bodies = [b'{"maxResults":1}', b"nonsense", b"{}", b'{"maxResults":99}']
    with Wire(http) as wire:
        wire.socket.sendall(b"".join(wire.request(body) for body in bodies))
        answers = [wire.response() for _ in bodies]
    assert [status for status, _, _ in answers] == [200, 400, 200, 400]
    assert len({headers["x-amzn-requestid"] for _, headers, _ in answers}) == 4


@pytest.mark.covers("CreateRoom")
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_chunked_body_is_read(http, size):
    body = json.dumps({"name": "chunked"}).encode()
    headers = {**sign("POST", "/CreateRoom", http.host, body), "Transfer-Encoding": "chunked"}
    head = "\r\n".join(["POST /CreateRoom HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items()), "", ""]).encode()
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    with Wire(http) as wire:
        wire.socket.sendall(head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n")
        status, _, answer = wire.response()
    assert status == 200 and json.loads(answer)["name"] == "chunked"


def test_an_oversized_chunked_body_is_a_413(http):
    body = b"x" * 70_000
    headers = {**sign("POST", "/CreateRoom", http.host, body), "Transfer-Encoding": "chunked"}
    head = "\r\n".join(["POST /CreateRoom HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items()), "", ""]).encode()
    with Wire(http) as wire:
        wire.socket.sendall(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        status, headers, _ = wire.response()
    assert (status, headers["x-amzn-errortype"]) == (413, "RequestEntityTooLargeException")


def check_refusal(answer, status, error_type):
    """A typed error that ends its connection."""
    assert (answer[0], answer[1]["x-amzn-errortype"]) == (status, error_type), answer
    assert answer[1]["connection"] == "close"
    assert answer[1]["content-type"] == "application/json" and json.loads(answer[2])["message"]
    assert REQUEST_ID.match(answer[1]["x-amzn-requestid"])
    date = email.utils.parsedate_to_datetime(answer[1]["date"])
    assert abs(datetime.now(timezone.utc) - date) < timedelta(seconds=10)


NO_HTTP = [
    b"nonsense\r\n\r\n", b"GET\r\n\r\n", b"POST /ListRooms HTTP/9.9\r\n\r\n", b"POST /ListRooms HTTP/1.1\r\nNo colon\r\n\r\n",
    b"POST /ListRooms HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    b"POST /ListRooms HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"POST /ListRooms HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"POST /ListRooms HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n", b"\x16\x03\x01\x02\x00\x01\x00",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_HTTP)
def test_what_is_no_http_is_a_typed_400(http, chat, text):
    with socket.create_connection(http.address, timeout=10) as connection:
        connection.sendall(text)
        (answer,) = answers_until_the_end(connection)
    check_refusal(answer, 400, "MalformedHttpRequestException")
    chat.list_rooms(maxResults=1)


@pytest.mark.parametrize(
    "head",
    [
        b"POST /ListRooms HTTP/1.1\r\nX-Padding: " + b"x" * 900_000 + b"\r\n\r\n",
        b"POST /ListRooms HTTP/1.1\r\nX-Padding: " + b"x" * 40_000,
        b"POST /ListRooms HTTP/1.1\r\n" + b"X-Line: x\r\n" * 101 + b"\r\n",
        b"POST /" + b"x" * 66_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=["900 KB", "without an end", "101 headers", "a long path"],
)
def test_a_head_without_measure_is_a_typed_431(http, head):
    with narrow_connection(http.address) as connection:
        connection.sendall(head)
        (answer,) = answers_until_the_end(connection)
    check_refusal(answer, 431, "RequestHeaderFieldsTooLargeException")


def test_a_refusal_comes_behind_the_answers_before_it(http):
    with Wire(http) as wire:
        wire.socket.sendall(wire.request() + wire.request() + b"nonsense\r\n\r\n" + wire.request())
        first, second, refusal = answers_until_the_end(wire.socket)
    assert (first[0], second[0]) == (200, 200)
    check_refusal(refusal, 400, "MalformedHttpRequestException")


def test_a_refusal_reaches_a_client_that_is_still_sending(http):
    head = b"POST /CreateRoom HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n"
    with narrow_connection(http.address) as connection:
        connection.sendall(head + b"x" * 900_000)
        (answer,) = answers_until_the_end(connection)
    check_refusal(answer, 413, "RequestEntityTooLargeException")


def test_a_client_that_hangs_up_in_the_middle_harms_nobody(http, chat):
    for cut in (10, 100, 300):
        with Wire(http) as wire:
            wire.socket.sendall(wire.request()[:cut])
    chat.list_rooms(maxResults=1)


def test_two_requests_never_share_an_id(http):
    ids = {http.call("ListRooms", {}).headers["x-amzn-RequestId"] for _ in range(5)}
    assert len(ids) == 5
