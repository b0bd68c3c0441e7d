"""Processes that take each other's place: sockets that outlive a server, and a server that its starter did not start.

As a program, `succession.py COMMAND...` is a small supervisor that keeps the three listening sockets of a server open, as
systemd does with a socket unit: it starts the server with them, again whenever it is killed, and says on standard
output which process that is. SIGTERM ends both.
"""

import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys

NAMES = ("api", "edge", "admin")
PR_SET_CHILD_SUBREAPER = 36

# What systemd does right before it runs a service: descriptors from 3 on, and variables that only the process itself
# can know.
ACTIVATE = """
import fcntl, os, sys
numbers, names, command = sys.argv[1].split(","), sys.argv[2], sys.argv[3:]
# Out of the way of those that are to be put in their place.
numbers = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in numbers]
for place, number in enumerate(numbers, 3):
    os.dup2(number, place)
    os.close(number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(numbers)), LISTEN_FDNAMES=names)
os.execvp(command[0], command)
"""


def held_sockets():
    """Listening sockets for the three ports, as somebody else may keep them open for a server."""
    sockets = {}
    for name in NAMES:
        sockets[name] = socket.create_server(("127.0.0.1", 0), backlog=1_024)
        sockets[name].set_inheritable(True)
    return sockets


def with_sockets(command, sockets):
    """The command line that starts `command` with these sockets, if there are any; they must be passed on to it."""
    if not sockets:
        return command
    numbers = ",".join(str(held.fileno()) for held in sockets.values())
    return [sys.executable, "-c", ACTIVATE, numbers, ":".join(sockets), *command]


def adopt_orphans():
    """From now on processes whose parent ends become children of this one, so that it hears how they end."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


class Adopted:
    """A process that somebody else has started and left, as `subprocess.Popen` shows one."""

    def __init__(self, pid):
        self.pid = pid
        self.returncode = None
        self._descriptor = os.pidfd_open(pid)

    def send_signal(self, number):
        """Sends a signal, unless the process has ended."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._descriptor, number)

    def kill(self):
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def poll(self):
        """How the process has ended; `None` if it has not."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout=None):
        """Waits for the end of the process: its exit code, or the negative number of the signal."""
        if self.returncode is None:
            ended, _, _ = select.select([self._descriptor], [], [], timeout)
            if not ended:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            _, status = os.waitpid(self.pid, 0)
            self.returncode = os.waitstatus_to_exitcode(status)
            os.close(self._descriptor)
        return self.returncode


def supervise(command):
    """See the head of this file."""
    sockets = held_sockets()
    passed = [held.fileno() for held in sockets.values()]
    is_stopped = False

    def stop(*_):
        nonlocal is_stopped
        is_stopped = True
        process.terminate()

    code = -signal.SIGKILL
    while code == -signal.SIGKILL and not is_stopped:
        process = subprocess.Popen(with_sockets(command, sockets), pass_fds=passed)
        signal.signal(signal.SIGTERM, stop)
        print(json.dumps({"event": "started", "process": process.pid}), flush=True)
        code = process.wait()
    return code


if __name__ == "__main__":
    sys.exit(supervise(sys.argv[1:]))
