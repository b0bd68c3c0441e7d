"""Message review handlers of the tests' own: an HTTP server on the loopback interface that answers as a test wants.

It speaks the Invoke API of Lambda as far as a reviewer sees it, and takes webhooks: what a request is for is its path.
"""

import json
import re
import ssl
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer

from posts import Posts

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIDHANDLERS", "AWS_SECRET_ACCESS_KEY": "of-no-value", "AWS_EC2_METADATA_DISABLED": "true"}


def function_arn(name):
    """The ARN of a function."""
    return f"arn:aws:lambda:us-west-2:123456789012:function:{name}"


def allow(event, **changes):
    """The answer that lets a message through, perhaps in other words."""
    return {"ReviewResult": "ALLOW", "Content": event["Content"]} | changes


def deny(reason):
    """The answer that refuses a message."""
    return {"ReviewResult": "DENY", "Content": "", "Attributes": {"Reason": reason}}


@dataclass
class Asked:
    """A request as it came."""

    path: str
    headers: dict
    body: bytes
    connection: int

    @property
    def event(self):
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Handlers:
    """The server; use it as a context manager. `answers` has a function for each name of a function, or path of a webhook:
    it gets the request and returns JSON, bytes, a triple of status, headers and bytes, or `None` to hang up.
    """

    answers: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)
    # Whoever is stuck waits for this.
    released: threading.Event = field(default_factory=threading.Event)
    # Certificate and key, when it speaks TLS; and how long it takes to begin with that, as if it were far away.
    certificate: tuple = None
    distance_s: float = 0

    def __enter__(self):
        handlers = self

        class Answerer(Posts):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                path = urllib.parse.unquote(self.path)
                asked = Asked(path, {name.lower(): value for name, value in self.headers.items()}, body, id(self))
                handlers.asked.append(asked)
                name = re.split("[:/]", path.removesuffix("/invocations"))[-1]
                answer = handlers.answers.get(name, lambda asked: (404, {}, b'{"Message":"no such function"}'))(asked)
                if answer is None:
                    self.close_connection = True
                    return
                if isinstance(answer, dict):
                    answer = json.dumps(answer).encode()
                status, headers, text = (200, {}, answer) if isinstance(answer, bytes) else answer
                self.send_response(status)
                for header in ({"Content-Length": str(len(text))} | headers).items():
                    self.send_header(*header)
                self.end_headers()
                self.wfile.write(text)

        class Listener(ThreadingHTTPServer):
            # Whoever finds the queue full tries again after a second.
            request_queue_size = 1_024

            def finish_request(self, request, client_address):
                if handlers.certificate:
                    time.sleep(handlers.distance_s)
                    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    tls.load_cert_chain(*handlers.certificate)
                    request = tls.wrap_socket(request, server_side=True)
                super().finish_request(request, client_address)

        self.server = Listener(("127.0.0.1", 0), Answerer)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self):
        """Where it listens."""
        scheme = "https" if self.certificate else "http"
        return f"{scheme}://127.0.0.1:{self.server.server_address[1]}"

    def stuck(self, asked):
        """An answer that comes when `released` is set: it allows the message."""
        self.released.wait()
        return allow(asked.event)
