"""Processes that are forked from one that has imported everything, in milliseconds: see `warm_fork.py`."""

import atexit
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import cache
from multiprocessing import Pipe

from support.paths import TESTS


class Fork:
    """A process that calls a function, and then exits with 0."""

    def __init__(self, server, pid):
        self._server, self.pid = server, pid
        self.exitcode = None
        """As of `subprocess`: None while it runs, negative after a signal."""
        self._is_suspended = False

    def join(self, timeout=None):
        """Wait until it exits, or for so many seconds."""
        self._server.wait(lambda: self.exitcode is not None, timeout)

    def wait_until_suspended(self, timeout):
        """Wait until it is suspended or exits. Whether it is suspended."""
        self._server.wait(lambda: self.exitcode is not None or self._is_suspended, timeout)
        assert self.exitcode is not None or self._is_suspended, f"process {self.pid} runs after {timeout} s"
        return self.exitcode is None

    def kill(self):
        with suppress(ProcessLookupError):  # It is reaped, and its report is on the way.
            os.kill(self.pid, signal.SIGKILL)
        self.join()

    def note(self, status):
        """Note a status as waitpid(2) reports it."""
        self._is_suspended = os.WIFSTOPPED(status)
        if not self._is_suspended:
            self.exitcode = os.waitstatus_to_exitcode(status)


class _Server:
    """The process that they are forked from. For one thread."""

    def __init__(self):
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "support.programs.warm_fork", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": str(TESTS)},
                stdin=subprocess.DEVNULL,
            )
        self._running = {}
        atexit.register(self._stop)

    def start(self, function, arguments):
        self._connection.send((function, arguments))
        while (report := self._connection.recv())[1] is not None:
            self._note(*report)
        new = self._running[report[0]] = Fork(self, report[0])
        return new

    def wait(self, is_over, timeout):
        deadline = None if timeout is None else time.monotonic() + timeout
        while not is_over():
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._connection.poll(left):
                break
            self._note(*self._connection.recv())

    def _note(self, pid, status):
        self._running[pid].note(status)
        if self._running[pid].exitcode is not None:
            del self._running[pid]

    def _stop(self):
        self._connection.close()
        self._process.wait()


@cache
def _server():
    return _Server()


def fork(function, *arguments):
    """Call the function in a new process, which gets the arguments and nothing else from this one."""
    return _server().start(function, arguments)
