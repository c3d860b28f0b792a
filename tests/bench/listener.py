"""An app that catches SIGHUP, for the benchmarks that time notifications."""

import json
import math
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rig import TIMEOUT


class Listener:
    """A benchmark run as the app: it prints a line when it is ready, and one of JSON at each SIGHUP."""

    def __init__(self, program: str, *arguments: Path, pid_file: Path) -> None:
        self._command = (sys.executable, program, *arguments)
        self._pid_file = pid_file

    def __enter__(self):
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0)
        self._line()
        self._pid_file.write_text(f"{self._process.pid}\n")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def wait_for(self, value: str) -> Mapping[str, Any]:
        """Wait until it was notified and has read this value. Returns the JSON that it printed."""
        while True:
            line = json.loads(self._line())
            if line["value"] == value:
                return line

    def _line(self) -> bytes:
        if not select.select([self._process.stdout], [], [], TIMEOUT)[0]:
            raise RuntimeError("the app received no signal")
        return self._process.stdout.readline()


def p99(times: Sequence[float]) -> float:
    """The 99th percentile."""
    return sorted(times)[math.ceil(0.99 * len(times)) - 1]
