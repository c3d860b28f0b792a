"""An app that catches SIGHUP, as the benches that time the telling see it."""

import json
import math
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rig import PATIENCE


class Listener:
    """A bench run as the app: it says that it is there, and at each SIGHUP, as JSON, what it reads and when."""

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

    def heard(self, value: str) -> Mapping[str, Any]:
        """What it says when it is told of this value."""
        while True:
            said = json.loads(self._line())
            if said["value"] == value:
                return said

    def _line(self) -> bytes:
        if not select.select([self._process.stdout], [], [], PATIENCE)[0]:
            raise RuntimeError("the app was not signalled")
        return self._process.stdout.readline()


def p99(times: Sequence[float]) -> float:
    """What 99 of 100 do not exceed."""
    return sorted(times)[math.ceil(0.99 * len(times)) - 1]
