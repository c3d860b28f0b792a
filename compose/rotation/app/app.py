"""A stand-in for your app: it logs in to PostgreSQL repeatedly, each time with the current content of its file."""

# ruff: noqa: INP001, T201  # A standalone program, whose result is its output.

import json
import time
from collections import Counter
from pathlib import Path

import psycopg

FILE = Path("/run/secrets/app/app.json")
PAUSE = 0.1


def log_in() -> str:
    """The user of the session, or the name of the error."""
    try:
        with psycopg.connect(**json.loads(FILE.read_text()), connect_timeout=5) as connection:
            name = connection.execute("SELECT session_user").fetchone()
    except psycopg.Error as exc:
        return type(exc).__name__
    return str(name[0]) if name else "no user"


# After a restart of the host the Engine starts all containers concurrently: the app may start before its file.
while not FILE.exists():
    time.sleep(0.1)
logins: Counter[str] = Counter()
last = ""
while True:
    user = log_in()
    if user != last and last:
        print(f"logins: {dict(logins)}", flush=True)
    logins[user] += 1
    last = user
    time.sleep(PAUSE)
