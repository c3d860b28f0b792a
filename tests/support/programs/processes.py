"""Processes to find and to signal, each of which prints what it gets."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

# On USR1 it prints "here": by then it has handled every earlier signal.
CHILD = """
import ctypes, os, select, signal, sys, time
how, name = sys.argv[1:3]
ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)

def say(text):
    os.write(1, text.encode() + b"\\n")  # One write, so that the lines of several processes do not mix.

def catch():
    signal.signal(signal.SIGHUP, lambda *_: say("hangup"))

signal.signal(signal.SIGUSR1, lambda *_: say("here"))
if how == "catch":
    catch()
if how == "ignore":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
if how == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # A program in the background inherits that it is ignored.
if how == "block":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    signal.signal(signal.SIGUSR1, lambda *_: say(str(sorted(signal.sigpending()))))
if how == "master":
    for _ in range(2):
        if os.fork() == 0:
            break
    catch()
say("up")
if how == "late":
    while not select.select([sys.stdin], [], [], 0.05)[0]:  # As below, for read(2).
        pass
    sys.stdin.readline()
    catch()
    say("up")
while True:
    time.sleep(0.05)  # Python would notice a signal just before pause(2) only with the next one.
"""


class Child:
    """A process that leads a session, which is killed as a whole."""

    def __init__(self, command, **options):
        self.popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )
        self.pid = self.popen.pid

    def says(self):
        return self.popen.stdout.readline().strip()

    def asked(self, pid=None):
        """The next line after USR1, which shows earlier signals too; "" if it is dead."""
        with suppress(ProcessLookupError):
            os.kill(pid or self.pid, signal.SIGUSR1)
        return self.says()

    def end(self):
        # The whole session: tini puts its child into a group of its own.
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                pid = int(stat.parent.name)
                if os.getsid(pid) == self.pid:
                    os.kill(pid, signal.SIGKILL)
        self.popen.communicate()


class Children:
    """Starts processes, and kills them all."""

    def __init__(self):
        self._started = []

    def run(self, command, *, ready=True, **options):
        self._started.append(Child(command, **options))
        if ready:
            assert self._started[-1].says() == "up"
        return self._started[-1]

    def child(self, how, name, *more, init=()):
        """A process with this name that handles signals in this way."""
        return self.run([*init, sys.executable, "-c", CHILD, how, name, *more])

    def close(self):
        for child in self._started:
            child.end()
