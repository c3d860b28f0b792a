"""Stands for your app: it logs in to PostgreSQL again and again, each time with what its file says then."""

# ruff: noqa: INP001, T201  # A program on its own, whose result goes to stdout.

import json
import time
from collections import Counter
from pathlib import Path

import psycopg

FILE = Path("/run/secrets/app/app.json")
PAUSE = 0.02


def log_in() -> str:
    """As whom it is, or what went wrong."""
    try:
        with psycopg.connect(**json.loads(FILE.read_text()), connect_timeout=5) as connection:
            name = connection.execute("SELECT session_user").fetchone()
    except psycopg.Error as exc:
        return type(exc).__name__
    return str(name[0]) if name else "nobody"


# After a restart of the host the Engine starts all containers at once: the app may be there before its file.
while not FILE.exists():
    time.sleep(0.1)
logins: Counter[str] = Counter()
last = ""
while True:
    who = log_in()
    if who != last and last:
        print(f"logins: {dict(logins)}", flush=True)
    logins[who] += 1
    last = who
    time.sleep(PAUSE)
