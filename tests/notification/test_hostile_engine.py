"""A hostile server at the engine's socket: a request to it takes bounded memory and time."""

import os
import subprocess
import sys

import pytest

from support.programs.sidecar import PATIENCE, eventually
from support.servers.hostile_peer import ENGINE, HostilePeer

MOST_MEMORY = 120
"""MiB."""
_ASK = """
from pathlib import Path
from lessee.core.errors import NotNotifiedError
from lessee.notification import engine
engine._TIMEOUT = 3
try:
    with engine.open_engine() as opened:
        opened.list_containers("a=b")
except NotNotifiedError as exc:
    print(exc)
print([line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")][0])
"""


@pytest.mark.thorough(each=3)
@pytest.mark.parametrize("attack", ENGINE)
def test_a_hostile_engine_takes_bounded_memory_and_time(attack, tmp_path):
    path = tmp_path / "docker.sock"
    with HostilePeer(ENGINE[attack], path=path) as peer:
        command, environ = [sys.executable, "-c", _ASK], {**os.environ, "DOCKER_HOST": f"unix://{path}"}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=True)
        error, peak = done.stdout.splitlines()
        assert error.startswith("DOCKER_HOST: ")
        assert int(peak.split()[1]) / 1024 <= MOST_MEMORY
        eventually(lambda: peer.connections == 0, "the end of all connections")
