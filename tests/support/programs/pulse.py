"""Measures how busy the machine is, so that no finding depends on that: each second it does a fixed piece of work.

pulse.py FILE
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PERIOD = 1.0
WORK = 0.1
"""Seconds of processor time: longer than a slice of the scheduler, as what a command of lessee needs."""


class Pulse:
    """A process that works next to the components. Times are in seconds since 1970."""

    def __enter__(self):
        self._file = tempfile.NamedTemporaryFile("r", prefix="pulse")  # Closed by __exit__.
        self._process = subprocess.Popen([sys.executable, __file__, self._file.name])
        self._beats = []
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._file.close()

    def between(self, begin, end):
        """How many seconds this time would have been on an idle machine."""
        for line in self._file:
            self._beats.append(tuple(map(float, line.split())))
        return worked(self._beats, begin, end)


def worked(beats, begin, end):
    """`beats`: when each piece of work began and ended. What follows a beat has its speed, until the next one."""
    seconds, since, speed = 0.0, begin, 1.0
    for at, done in beats:
        if at >= end:
            break
        if at > since:
            seconds, since = seconds + (at - since) * speed, at
        speed = min(1.0, WORK / (done - at))
    return seconds + max(0.0, end - since) * speed


def beat(file):
    """Work, and store something, as each component does."""
    at, used = time.time(), time.process_time()
    while time.process_time() - used < WORK:
        pass
    os.fsync(file.fileno())
    os.write(file.fileno(), f"{at} {time.time()}\n".encode())


def main():
    parent = os.getppid()
    with Path(sys.argv[1]).open("ab", buffering=0) as file:
        while os.getppid() == parent:
            beat(file)
            time.sleep(PERIOD)


if __name__ == "__main__":
    main()
