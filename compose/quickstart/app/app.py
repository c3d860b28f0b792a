"""Stands for your app: it reads its secrets from a file, and again when it gets SIGHUP."""

# ruff: noqa: INP001, T201  # A program on its own, whose result goes to stdout.

import hashlib
import signal
import time
from pathlib import Path

FILE = Path("/run/secrets/app/app.env")


def read(why: str) -> None:
    # A fingerprint stands for the values, which belong in no log.
    print(f"{why}: {FILE.name} {hashlib.sha256(FILE.read_bytes()).hexdigest()[:12]}", flush=True)


signal.signal(signal.SIGHUP, lambda *_: read("SIGHUP"))
# After a restart of the host the Engine starts all containers at once: the app may be there before its file.
while not FILE.exists():
    time.sleep(0.1)
read("start")
while True:
    signal.pause()
