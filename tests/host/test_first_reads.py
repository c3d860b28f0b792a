"""Several threads may decode a type first: without `resolve_types`, msgspec crashes one process in ten by SIGSEGV."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

PROCESSES = 24
READERS = """
import msgspec, sys, threading
{said}
sys.setswitchinterval(1e-6)
barrier = threading.Barrier(8)

def read():
    barrier.wait()
    for _ in range(20):
        msgspec.convert(said, kind)

readers = [threading.Thread(target=read) for _ in range(8)]
for reader in readers:
    reader.start()
for reader in readers:
    reader.join()
"""
JOURNAL = """
from lessee.ops.rotate.policy.journal import Journal as kind, serialize
said = serialize(kind())
"""
LISTED = """
from lessee.notification.engine import ContainerSummary
kind = list[ContainerSummary]
said = [{"Id": "1", "Names": ["/a"], "Labels": {}, "HostConfig": {"NetworkMode": "host"}}]
"""
INSPECTED = """
from lessee.notification.engine import Container as kind
state = {"Status": "running", "StartedAt": "2026-01-01T00:00:00Z"}
said = {"Id": "1", "Name": "/a", "State": state, "Config": {}, "HostConfig": {"RestartPolicy": {"Name": "no"}}}
"""


@pytest.mark.thorough
@pytest.mark.parametrize("said", [JOURNAL, LISTED, INSPECTED], ids=["journal", "listed", "inspected"])
def test_threads_that_decode_a_type_first_do_not_crash_the_process(said):
    command = [sys.executable, "-c", READERS.format(said=said)]

    def run(_):
        return subprocess.run(command, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(run, range(PROCESSES)))
    assert [(one.returncode, one.stderr) for one in ended] == [(0, "")] * PROCESSES
