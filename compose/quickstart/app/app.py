"""A stand-in for your app: it reads its secrets from a file, and again on SIGHUP."""

# ruff: noqa: INP001, T201  # A standalone program, whose result is its output.

import hashlib
import signal
import time
from pathlib import Path

FILE = Path("/run/secrets/app/app.env")


def read(reason: str) -> None:
    # A fingerprint instead of the values, which must not be logged.
    print(f"{reason}: {FILE.name} {hashlib.sha256(FILE.read_bytes()).hexdigest()[:12]}", flush=True)


signal.signal(signal.SIGHUP, lambda *_: read("SIGHUP"))
# After a restart of the host the Engine starts all containers concurrently: the app may start before its file.
while not FILE.exists():
    time.sleep(0.1)
read("start")
while True:
    signal.pause()
