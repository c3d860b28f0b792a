"""Measures how soon an app works again after a wrong password was written; run as a program, it is the app."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import children
import psycopg
from database import database, format_seconds, seconds_until
from figures import Figure
from rig import Program, Rig, report

from lessee.host.openbao import free_port
from lessee.status.client import request_status
from support.servers.postgres import DATABASE, Postgres

TRIES = 10
PEER_TRIES = 1
READY_TIMEOUT = 5.0
LATE = 2.0
"""Seconds after the timeout of `ready` in which the app must work again."""
CAP = 20.0
"""Seconds after which the benchmark stops waiting."""
PACE = 0.02
"""Seconds before each health check, which costs the app a login."""
USER, RIGHT = "app", "right-password"
SECRET, FILE = "rollback/password", "password.env"


class Took(NamedTuple):
    """Seconds; None after CAP."""

    written: float | None
    """From the response to the write until the app works again."""
    notified: float | None
    """From the notification of the app."""


def measure(tries: int = TRIES, peer_tries: int = PEER_TRIES) -> Iterator[Figure]:
    with database() as (bench, postgres):
        postgres.sql(f"CREATE ROLE {USER} LOGIN PASSWORD '{RIGHT}'")
        postgres.sql(f"CREATE DATABASE {DATABASE} OWNER {USER}")
        theirs = _tries(bench, postgres, peer=True, count=peer_tries)
        ours = _tries(bench, postgres, peer=False, count=tries)
    name = f"a wrong password of PostgreSQL in KV, `ready.timeout` {READY_TIMEOUT:.0f} s, {tries} times"
    since_write = [_longest([took.written for took in side]) for side in (theirs, ours)]
    yield Figure(
        f"{name}: written → old file restored and app healthy, longest",
        *(format_seconds(took, CAP) for took in since_write),
    )
    since_notification = [_longest([took.notified for took in side]) for side in (theirs, ours)]
    limit = READY_TIMEOUT + LATE
    met = since_notification[1] is not None and since_notification[1] <= limit
    yield Figure(
        "… app notified → app healthy, longest",
        *(format_seconds(took, CAP) for took in since_notification),
        f"≤ {limit:.0f} s",
        met,
    )


def _tries(bench: Rig, postgres: Postgres, *, peer: bool, count: int) -> list[Took]:
    bench.write(SECRET, RIGHT)
    port = free_port()
    program = _peer(bench) if peer else _lessee(bench, port)
    with program:
        program.wait_for_files()
        with _app(bench, program, postgres, port) as log:
            # The agent can only roll back to a generation that was ready.
            program.until(lambda: peer or _is_ready(program), "the first readiness")
            took = []
            for number in range(count):
                took.append(_try(bench, program, log, port, f"wrong-{number}"))
                bench.write(SECRET, RIGHT)
                program.until(lambda: _works(port) and (peer or _is_ready(program)), "the right password")
    report(f"{program.folder.name}: {[tuple(format_seconds(seconds, CAP) for seconds in one) for one in took]}")
    return took


def _try(bench: Rig, program: Program, log: Path, port: int, wrong: str) -> Took:
    bench.write(SECRET, wrong)
    written_at = time.monotonic()
    program.until(lambda: children.starts(log)[-1].value == wrong, "the notification of the wrong password")
    notified_at = children.starts(log)[-1].at
    program.until(lambda: not _works(port), "the failure of the health check")

    def works_again() -> bool:
        return _value(program.directory / FILE) == RIGHT and _works(port)

    took = seconds_until(works_again, notified_at, CAP)
    return Took(took + notified_at - written_at if took is not None else None, took)


def _lessee(bench: Rig, port: int) -> Program:
    program = bench.lessee({FILE: SECRET}, notify={"pid_file": str(bench.folder / "app.pid")})
    config = json.loads(program.config.read_text())
    config["apps"]["files"]["ready"] = {"http": f"http://127.0.0.1:{port}/", "timeout": f"{READY_TIMEOUT:.0f}s"}
    program.config.write_text(json.dumps(config))
    return program


def _peer(bench: Rig) -> Program:
    # `|| true`, because the agent would exit if the app does not run yet.
    return bench.peer({FILE: SECRET}, command=["sh", "-c", f"kill -HUP $(cat {bench.folder}/app.pid) || true"])


@contextmanager
def _app(bench: Rig, program: Program, postgres: Postgres, port: int) -> Iterator[Path]:
    """The app, once it works, and the file to which it writes what it reads."""
    pid_file, log = bench.folder / "app.pid", bench.folder / "reads"
    log.unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, __file__, program.directory / FILE, log, str(port)],
        env={**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(postgres.port), "PGUSER": USER, "PGDATABASE": DATABASE},
    )
    try:
        program.until(lambda: _works(port), "the app")
        pid_file.write_text(f"{process.pid}\n")
        yield log
    finally:
        process.kill()
        process.wait()
        pid_file.unlink(missing_ok=True)


def _works(port: int) -> bool:
    """The result of the app's health check."""
    time.sleep(PACE)
    connection = HTTPConnection("127.0.0.1", port, timeout=CAP)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except ConnectionRefusedError:
        return False
    finally:
        connection.close()


def _is_ready(program: Program) -> bool:
    return bool(request_status(program.socket, "GET", "/status.json")["apps"]["files"]["state"] == "ready")


def _value(file: Path) -> str:
    return file.read_text().partition("=")[2].strip().strip("'\"")


def _longest(times: list[float | None]) -> float | None:
    return None if None in times else max(times)


def _serve(file: Path, log: Path, port: int) -> NoReturn:
    password = [""]

    def read(*_: object) -> None:
        password[0] = _value(file)
        with log.open("a") as lines:
            lines.write(f"{time.monotonic()} {password[0]}\n")

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if _can_log_in(password[0]) else 503)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    signal.signal(signal.SIGHUP, read)
    read()
    server = ThreadingHTTPServer(("127.0.0.1", port), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    children.wait_for_signals()


def _can_log_in(password: str) -> bool:
    """Whether PostgreSQL accepts this password; libpq reads the other parameters from the environment."""
    try:
        psycopg.connect(password=password).close()
    except psycopg.OperationalError:
        return False
    return True


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=TRIES, help=f"wrong passwords ({TRIES})")
    parser.add_argument("app", nargs="*")
    chosen = parser.parse_args()
    if chosen.app:
        _serve(Path(chosen.app[0]), Path(chosen.app[1]), int(chosen.app[2]))
    for figure in measure(chosen.tries, min(chosen.tries, PEER_TRIES)):
        sys.stdout.write(f"{figure.name}: {figure.lessee}; {figure.peer}\n")
