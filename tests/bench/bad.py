"""How soon an app works again after a password that does not; run as a program, it is the app."""

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
from database import database, seconds_until, told
from rig import Figure, Program, Rig, tell

from lessee.host.openbao import free_port
from lessee.status.server import ask
from support.servers.postgres import DATABASE, Postgres

TRIES = 10
PEER_TRIES = 1
WITHIN = 5.0
LATE = 2.0
"""Seconds after `within` in which it is to work again."""
CAP = 20.0
"""Seconds after which nobody waits any longer."""
PACE = 0.02
"""Seconds before each look at the app's health, which costs it a login."""
USER, RIGHT = "app", "right-password"
SECRET, FILE = "bad/password", "password.env"


class Took(NamedTuple):
    """Seconds; None where the cap was reached."""

    written: float | None
    """From the answer to the write until it works again."""
    told: float | None
    """From the app's being told."""


def measure(tries: int = TRIES, peer_tries: int = PEER_TRIES) -> Iterator[Figure]:
    with database() as (bench, postgres):
        postgres.sql(f"CREATE ROLE {USER} LOGIN PASSWORD '{RIGHT}'")
        postgres.sql(f"CREATE DATABASE {DATABASE} OWNER {USER}")
        theirs = _tries(bench, postgres, peer=True, count=peer_tries)
        ours = _tries(bench, postgres, peer=False, count=tries)
    name = f"a wrong password of PostgreSQL in KV, `ready` within {WITHIN:.0f} s, {tries} times"
    since_write = [_longest([took.written for took in side]) for side in (theirs, ours)]
    yield Figure(
        f"{name}: written → the old one is back, and the app works; longest", *(told(took, CAP) for took in since_write)
    )
    since_telling = [_longest([took.told for took in side]) for side in (theirs, ours)]
    limit = WITHIN + LATE
    met = since_telling[1] is not None and since_telling[1] <= limit
    yield Figure("… told → it works; longest", *(told(took, CAP) for took in since_telling), f"≤ {limit:.0f} s", met)


def _tries(bench: Rig, postgres: Postgres, *, peer: bool, count: int) -> list[Took]:
    bench.write(SECRET, RIGHT)
    port = free_port()
    program = _peer(bench) if peer else _lessee(bench, port)
    with program:
        program.wait_for_files()
        with _app(bench, program, postgres, port) as said:
            # What was never seen to work is nothing to go back to.
            program.until(lambda: peer or _is_confirmed(program), "the first proof")
            took = []
            for number in range(count):
                took.append(_try(bench, program, said, port, f"wrong-{number}"))
                bench.write(SECRET, RIGHT)
                program.until(lambda: _works(port) and (peer or _is_confirmed(program)), "the right password")
    tell(f"{program.folder.name}: {[tuple(told(seconds, CAP) for seconds in one) for one in took]}")
    return took


def _try(bench: Rig, program: Program, said: Path, port: int, wrong: str) -> Took:
    bench.write(SECRET, wrong)
    written_at = time.monotonic()
    program.until(lambda: children.starts(said)[-1].value == wrong, "the telling of the wrong one")
    told_at = children.starts(said)[-1].at
    program.until(lambda: not _works(port), "what the wrong one does")

    def works_again() -> bool:
        return _value(program.directory / FILE) == RIGHT and _works(port)

    took = seconds_until(works_again, told_at, CAP)
    return Took(took + told_at - written_at if took is not None else None, took)


def _lessee(bench: Rig, port: int) -> Program:
    program = bench.lessee({FILE: SECRET}, notify={"pid_file": str(bench.folder / "app.pid")})
    config = json.loads(program.config.read_text())
    config["apps"]["files"]["ready"] = {"http": f"http://127.0.0.1:{port}/", "within": f"{WITHIN:.0f}s"}
    program.config.write_text(json.dumps(config))
    return program


def _peer(bench: Rig) -> Program:
    # Without the last two words it would end where the app is not up yet.
    return bench.peer({FILE: SECRET}, command=["sh", "-c", f"kill -HUP $(cat {bench.folder}/app.pid) || true"])


@contextmanager
def _app(bench: Rig, program: Program, postgres: Postgres, port: int) -> Iterator[Path]:
    """The app, once it works; the file in which it says what it reads."""
    pid_file, said = bench.folder / "app.pid", bench.folder / "said"
    said.unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, __file__, program.directory / FILE, said, str(port)],
        env={**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(postgres.port), "PGUSER": USER, "PGDATABASE": DATABASE},
    )
    try:
        program.until(lambda: _works(port), "the app")
        pid_file.write_text(f"{process.pid}\n")
        yield said
    finally:
        process.kill()
        process.wait()
        pid_file.unlink(missing_ok=True)


def _works(port: int) -> bool:
    """What its health check says."""
    time.sleep(PACE)
    connection = HTTPConnection("127.0.0.1", port, timeout=CAP)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except ConnectionRefusedError:
        return False
    finally:
        connection.close()


def _is_confirmed(program: Program) -> bool:
    return bool(ask(program.socket, "GET", "/status.json")["apps"]["files"]["state"] == "confirmed")


def _value(file: Path) -> str:
    return file.read_text().partition("=")[2].strip().strip("'\"")


def _longest(times: list[float | None]) -> float | None:
    return None if None in times else max(times)


def _serve(file: Path, said: Path, port: int) -> NoReturn:
    now = [""]

    def read(*_: object) -> None:
        now[0] = _value(file)
        with said.open("a") as log:
            log.write(f"{time.monotonic()} {now[0]}\n")

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if _can_log_in(now[0]) else 503)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    signal.signal(signal.SIGHUP, read)
    read()
    server = ThreadingHTTPServer(("127.0.0.1", port), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    children.hear_signals()


def _can_log_in(password: str) -> bool:
    """With the server, the user and the database of the environment."""
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
