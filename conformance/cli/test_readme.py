"""The tour of README.md, pasted: the commands it shows, with the keys that the first start prints."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from server import ROOT, Lines, Server

DEADLINE_SECONDS = 60
TOUR = (ROOT / "README.md").read_text().split("## A tour", 1)[1].split("\n## ", 1)[0]


def blocks(language):
    """The code blocks of the tour in one language."""
    return re.findall(rf"```{language}\n(.*?)```", TOUR, re.DOTALL)


def line_with(lines, text):
    """Waits for a line that contains a text."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (line := lines.next(deadline - time.monotonic())) is not None:
        if text in line:
            return line
    raise AssertionError(f"ended without {text!r}")


@pytest.mark.covers("CreateRoom", "ListRooms", "CreateChatToken", "SendEvent")
def test_the_tour_of_the_readme_can_be_pasted(tmp_path):
    server = Server(tmp_path / "data", with_root=False).start()
    exports = "\n".join(re.findall(r"^\s*((?:export|unset) .*)$", server.log_path.read_text(), re.MULTILINE))
    modules = ROOT / "conformance" / "js" / "node_modules"
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "NODE_PATH": str(modules),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SESSION_TOKEN": "of an earlier login",
    }

    def paste(commands):
        done = subprocess.run(
            ["bash", "-euc", f"{exports}\n{commands}"],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    before, after = blocks("sh")
    room = paste(f'{before}\necho "ROOM=$ROOM"').splitlines()[-1]
    (script,) = blocks("js")
    assert len(script.strip().splitlines()) <= 10
    assert "ws://127.0.0.1:4581" in script
    (tmp_path / "chat.cjs").write_text(script.replace("ws://127.0.0.1:4581", server.edge))
    chat = subprocess.Popen(
        ["node", "chat.cjs"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        lines = Lines(chat.stdout)
        line_with(lines, "Jo: Hello from my own server!")
        paste(f"{room}\n{after}")
        assert "home: '1'" in line_with(lines, "score")
    finally:
        chat.kill()
        chat.wait()
    server.stop()
