"""What servers of tests have in common that answer POSTs over connections that are kept."""

from http.server import BaseHTTPRequestHandler


class Posts(BaseHTTPRequestHandler):
    """Says nothing of requests; whoever hangs up has waited long enough."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle(self):
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def log_message(self, *_):
        pass
