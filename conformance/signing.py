"""Requests signed by hand (AWS Signature Version 4), for what no SDK would send.

`sign` is written from the published description of the algorithm, not from the server's code, and every ingredient
can be bent: the clock, the scope, the signed headers, the hash of the body.
"""

import hashlib
import hmac
import http.client
import json
from dataclasses import dataclass
from datetime import datetime, timezone
from urllib.parse import quote, urlsplit

from server import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, address

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass
class Answer:
    """What came back: status, headers (case-insensitive `get`), raw body."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self):
        """The body as JSON; an empty body is `None`."""
        return json.loads(self.body) if self.body else None

    @property
    def error_type(self):
        """The name of the error as SDKs read it."""
        return self.headers.get("x-amzn-ErrorType")


def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _canonical_query(query):
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    return "&".join(f"{name}={value}" for name, value in sorted((name, value) for name, _, value in pairs))


def canonical_request(method, target, headers, payload_hash):
    """The canonical request and the list of signed headers."""
    path, _, query = target.partition("?")
    signed = sorted((name.lower(), " ".join(value.split())) for name, value in headers.items())
    names = ";".join(name for name, _ in signed)
    lines = [method, quote(path, safe="/~"), _canonical_query(query)]
    lines += [f"{name}:{value}" for name, value in signed]
    return "\n".join([*lines, "", names, payload_hash]), names


def signature(canonical, scope, moment, secret):
    """The signature of a canonical request."""
    date, region, service, terminator = scope.split("/")
    text = "\n".join([ALGORITHM, moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = _hmac(f"AWS4{secret}".encode(), date)
    for part in (region, service, terminator):
        key = _hmac(key, part)
    return _hmac(key, text).hex()


def sign(
    method,
    target,
    host,
    body=b"",
    *,
    headers=None,
    moment=None,
    access_key_id=ACCESS_KEY_ID,
    secret=SECRET_ACCESS_KEY,
    region=REGION,
    service="ivschat",
    terminator="aws4_request",
    sign_host=True,
    payload_hash=None,
):
    """All headers of a signed request, `Authorization` included."""
    moment = moment or datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{region}/{service}/{terminator}"
    every = {"Host": host, "X-Amz-Date": moment, **(headers or {})}
    signed = {name: value for name, value in every.items() if sign_host or name != "Host"}
    payload_hash = payload_hash or hashlib.sha256(body).hexdigest()
    canonical, names = canonical_request(method, target, signed, payload_hash)
    proof = signature(canonical, scope, moment, secret)
    every["Authorization"] = (
        f"{ALGORITHM} Credential={access_key_id}/{scope}, SignedHeaders={names}, Signature={proof}"
    )
    return every


class Requester:
    """Sends hand-made requests to one server, each on a connection of its own."""

    def __init__(self, server, timeout=15):
        self.address = address(server.api)
        self.host = urlsplit(server.api).netloc
        self.timeout = timeout

    def send(self, method, target, body=b"", headers=None):
        """Sends exactly these headers and this body."""
        connection = http.client.HTTPConnection(*self.address, timeout=self.timeout)
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            headers = {"Content-Length": str(len(body)), **(headers or {})}
            for name, value in headers.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, response.msg, response.read())
        finally:
            connection.close()

    def signed(self, method, target, body=b"", **how):
        """Signs and sends."""
        headers = {"Content-Type": "application/json", **how.pop("headers", {})}
        return self.send(method, target, body, sign(method, target, self.host, body, headers=headers, **how))

    def call(self, operation, members, **how):
        """Calls an operation of the POST kind with a JSON body."""
        return self.signed("POST", f"/{operation}", json.dumps(members).encode(), **how)
