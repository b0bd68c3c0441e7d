"""A real PostgreSQL, of the tests' own (see `postgres.sh`), which a test may stop, kill and start again."""

import itertools
import subprocess

from server import ROOT, Lines

READY_SECONDS_MAX = 120
SCHEMAS = itertools.count(1)


class Database:
    """A database server; it ends with the test process, however that ends."""

    def __init__(self):
        self.process = subprocess.Popen(
            [ROOT / "conformance" / "postgres.sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.lines = Lines(self.process.stdout)
        ready = self.lines.next(READY_SECONDS_MAX)
        assert ready and ready.startswith("ready "), "no database for the tests: what is missing stands above"
        self.port = int(ready.split()[1])
        self.url = f"postgres://grandstand:conformance@127.0.0.1:{self.port}/grandstand"

    def command(self, word):
        """`stop`, `kill` or `start`; returns when it is done."""
        print(word, file=self.process.stdin, flush=True)
        assert self.lines.next(READY_SECONDS_MAX) == f"{word}\n"

    def execute(self, statements):
        """Does something behind the servers' backs; answers what psql prints."""
        command = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statements, self.url]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()

    def new_store(self):
        """The settings of servers that share an empty store."""
        schema = f"store_{next(SCHEMAS)}"
        self.execute(f"CREATE SCHEMA {schema}")
        return {"GRANDSTAND_STORE_URL": f"{self.url}?options=-c%20search_path%3D{schema}"}

    def end(self):
        """Ends it, and waits until it is gone."""
        self.process.stdin.close()
        self.process.wait(READY_SECONDS_MAX)
