"""Processes to be found and told, each of which says what it gets."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

# Asked by USR1 it says "here": by then every signal sent before has been taken.
CHILD = """
import ctypes, os, signal, sys, time
how, name = sys.argv[1:3]
ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)

def say(text):
    os.write(1, text.encode() + b"\\n")  # In one piece, also from several processes.

def catch():
    signal.signal(signal.SIGHUP, lambda *_: say("told"))

signal.signal(signal.SIGUSR1, lambda *_: say("here"))
if how == "catch":
    catch()
if how == "ignore":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
if how == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
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
    sys.stdin.readline()
    catch()
    say("up")
while True:
    time.sleep(0.05)  # Python hears of a signal just before pause(2) with the next one only.
"""


class Child:
    """A process that leads a session, and is ended with it."""

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
        """What it says when it is asked, and so what it had got before; "" where it is dead."""
        with suppress(ProcessLookupError):
            os.kill(pid or self.pid, signal.SIGUSR1)
        return self.says()

    def end(self):
        # Its whole session: tini puts its child into a group of its own.
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                pid = int(stat.parent.name)
                if os.getsid(pid) == self.pid:
                    os.kill(pid, signal.SIGKILL)
        self.popen.communicate()


class Children:
    """Starts processes, and ends them all."""

    def __init__(self):
        self._started = []

    def run(self, command, *, ready=True, **options):
        self._started.append(Child(command, **options))
        if ready:
            assert self._started[-1].says() == "up"
        return self._started[-1]

    def child(self, how, name, *more, init=()):
        """One that takes signals so, under that name."""
        return self.run([*init, sys.executable, "-c", CHILD, how, name, *more])

    def close(self):
        for child in self._started:
            child.end()
