"""The start time of a program, which is the time of the request that it fulfills."""

import subprocess
import sys

from lessee.host.clock import boot_time
from lessee.ops.rotate import lock_owner
from lessee.ops.rotate.lock_owner import started_at

PROGRAM = """
import time
from lessee.host.clock import boot_time
from lessee.ops.rotate.lock_owner import started_at
print(time.time(), started_at(boot_time(), time.time()))
"""


def test_the_start_is_before_the_program_s_first_line():
    output = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    now, started = map(float, output.split())
    assert 0.01 < now - started < 20


def test_the_start_of_an_old_process_is_limited():
    assert started_at(boot_time() + 86400, 1000.0) == 970.0
    assert started_at(0.0, 1000.0) == 1000.0


def test_an_unknown_start_is_now(monkeypatch):
    monkeypatch.setattr(lock_owner, "_started", lambda _: "?")
    assert started_at(boot_time(), 1000.0) == 1000.0
