"""A stand-in for your app: threads with a connection each, which they keep. It has no password."""

# ruff: noqa: INP001, T201  # A standalone program, whose result is its output.

import json
import threading
import time

import psycopg

PLACE = "host=/run/pgbouncer port=6432 user=app dbname=app"
CLIENTS = 8
PAUSE = 0.02
lock = threading.Lock()
counts = {"queries": 0, "failed": 0, "connections": 0, "users": {}}


def connect() -> psycopg.Connection:
    """Connect as soon as PgBouncer answers."""
    while True:
        try:
            connection = psycopg.connect(PLACE, autocommit=True, connect_timeout=5)
        except psycopg.OperationalError:
            time.sleep(0.2)
            continue
        with lock:
            counts["connections"] += 1
        return connection


def query() -> None:
    connection = connect()
    while True:
        try:
            (user,) = connection.execute("SELECT session_user").fetchone() or ("",)
        except psycopg.Error as exc:
            with lock:
                counts["failed"] += 1
            print(f"failed: {type(exc).__name__}", flush=True)
            if connection.closed:
                connection = connect()
        else:
            with lock:
                counts["queries"] += 1
                is_new = user not in counts["users"]
                counts["users"][user] = counts["users"].get(user, 0) + 1
            if is_new:
                print(f"user: {user}", flush=True)
        time.sleep(PAUSE)


for _ in range(CLIENTS):
    threading.Thread(target=query, daemon=True).start()
while True:
    time.sleep(1)
    with lock:
        print(json.dumps(counts), flush=True)
