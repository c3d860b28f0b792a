"""Counts an app's failed logins while its leases reach their max_ttl; run as a program, it is the app."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, NoReturn

import psycopg
from database import audited_requests, database, peer_template, template
from figures import Figure
from rig import TIMEOUT, Program, Rig, peer_templates, report, templates

from support.servers.postgres import DATABASE, Postgres

HANDOVERS = 100
PEER_HANDOVERS = 30
LONGEST = 600.0
"""Seconds in which each kind must have had that many."""
PERIOD = 0.1
"""Seconds between the app's logins with a file."""
PACE = 0.02
"""Seconds between two writes of each of the two KV writers."""
POLL_INTERVAL = 1.0
_NOTE = "The peer revokes nothing at a handover; lessee revokes each lease that it has replaced."


class _Kind(NamedTuple):
    """Roles with the same TTLs, each with its own file and lease."""

    name: str
    count: int
    default_ttl: str
    max_ttl: str

    @property
    def roles(self) -> list[str]:
        return [f"{self.name}{number:02}" for number in range(self.count)]


KINDS = (
    # Renewed once, and replaced so early that the agent revokes it, 5 s after the notification, before it expires.
    _Kind("long", 10, "20s", "28s"),
    # Renewed once or twice, and replaced so close to its max_ttl that it expires before the agent can revoke it.
    _Kind("short", 5, "5s", "8s"),
)
KV = {"one.env": "handover/one", "two.env": "handover/two"}
ROLES = [role for kind in KINDS for role in kind.roles]


@dataclass(slots=True)
class Seen:
    """The app's logins with one file, or with several."""

    logins: int = 0
    failed: int = 0
    handovers: int = 0

    def __add__(self, other: "Seen") -> "Seen":
        return Seen(self.logins + other.logins, self.failed + other.failed, self.handovers + other.handovers)


def measure() -> Iterator[Figure]:
    with database() as (bench, postgres):
        for kind in KINDS:
            for role in kind.roles:
                postgres.attach(bench.bao, role=role, default_ttl=kind.default_ttl, max_ttl=kind.max_ttl)
        for secret in KV.values():
            bench.write(secret, "0")
        theirs = _log_in_meanwhile(bench, postgres, _peer, PEER_HANDOVERS)
        ours = _log_in_meanwhile(bench, postgres, _lessee, HANDOVERS)
    for kind in KINDS:
        mine = ours[kind.name]
        name = f"failed logins while leases are replaced, ttl {kind.default_ttl} of at most {kind.max_ttl}, under load"
        met = not mine.failed and mine.handovers >= HANDOVERS
        yield Figure(name, _cell(theirs[kind.name]), _cell(mine), f"0 in ≥ {HANDOVERS} handovers", met, _NOTE)


def _cell(seen: Seen) -> str:
    return f"{seen.failed} of {seen.logins:,} in {seen.handovers}"


def _lessee(bench: Rig, pid_file: Path) -> tuple[Program, list[Path]]:
    notify = {"process": {"pid_file": str(pid_file)}, "action": "SIGHUP"}
    apps = {role: ({"db.txt": template(role)}, notify) for role in ROLES}
    program = bench.lessee_for({"files": (templates(KV), None), **apps})
    return program, [program.folder / role / "..data" / "db.txt" for role in ROLES]


def _peer(bench: Rig, pid_file: Path) -> tuple[Program, list[Path]]:
    command = ["sh", "-c", f"kill -HUP $(cat {pid_file})"]
    users = {f"{role}.txt": peer_template(role) for role in ROLES}
    program = bench.peer_for(peer_templates(KV) | users, command=command)
    return program, [program.directory / f"{role}.txt" for role in ROLES]


def _log_in_meanwhile(
    bench: Rig, postgres: Postgres, make: Callable[[Rig, Path], tuple[Program, list[Path]]], handovers: int
) -> Mapping[str, Seen]:
    """Have the app log in until each kind had that many handovers. Returns its logins by kind."""
    pid_file = bench.folder / "app.pid"
    program, files = make(bench, pid_file)
    with ExitStack() as stack:
        app = stack.enter_context(_App(postgres, files, pid_file))
        stack.enter_context(program)
        program.until(lambda: all(file.exists() for file in files), "all files")
        app.start_logins()
        writes = stack.enter_context(_load(bench))
        began = time.monotonic()
        while True:
            time.sleep(POLL_INTERVAL)
            seen = app.seen()
            done = all(each.handovers >= handovers for each in seen.values())
            if done or time.monotonic() - began > LONGEST:
                break
        took, revoked = time.monotonic() - began, len(audited_requests(bench, "sys/leases/revoke"))
    report(
        f"{program.folder.name}: {seen}, notified {app.notifications} times in {took:.0f} s, {revoked} leases revoked"
    )
    # If the server pauses longer than the rest of a lease's TTL, logins fail whatever the agent does.
    report(f"{len(writes)} writes meanwhile, the longest of {max(writes):.2f} s")
    return seen


@contextmanager
def _load(bench: Rig) -> Iterator[list[float]]:
    """Two threads write the KV secrets of the agent, and a process at nice 10 uses CPU. Yields the write times."""
    done = threading.Event()
    took = []

    def write(secret: str) -> None:
        while not done.wait(PACE):
            began = time.monotonic()
            bench.write(secret, str(began))
            took.append(time.monotonic() - began)

    writers = [threading.Thread(target=write, args=(secret,)) for secret in KV.values()]
    hog = subprocess.Popen(["nice", "-n", "10", sys.executable, "-c", "while True: pass"])
    for writer in writers:
        writer.start()
    try:
        yield took
    finally:
        hog.kill()
        hog.wait()
        done.set()
        for writer in writers:
            writer.join()


class _App:
    """A process that logs in with the contents of each of its files, and catches SIGHUP."""

    def __init__(self, postgres: Postgres, files: list[Path], pid_file: Path) -> None:
        self._command = [sys.executable, __file__, str(postgres.port), *map(str, files)]
        self._pid_file = pid_file
        self.notifications = 0

    def __enter__(self):
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self._answer()
        self._pid_file.write_text(f"{self._process.pid}\n")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def start_logins(self) -> None:
        """Start its logins; its files exist now."""
        self._process.stdin.write(b"go\n")

    def seen(self) -> Mapping[str, Seen]:
        """Its logins until now, by kind."""
        self._process.stdin.write(b"report\n")
        counts = self._answer()
        self.notifications = counts["notifications"]
        seen = dict(zip(ROLES, (Seen(**each) for each in counts["seen"]), strict=True))
        return {kind.name: sum((seen[role] for role in kind.roles), Seen()) for kind in KINDS}

    def _answer(self) -> Mapping[str, Any]:
        if not select.select([self._process.stdout], [], [], TIMEOUT)[0]:
            raise RuntimeError("the app does not answer")
        return json.loads(self._process.stdout.readline())


def _serve(port: str, *files: str) -> None:
    notifications = 0

    def on_signal(_: int, __: FrameType | None) -> None:
        nonlocal notifications
        notifications += 1

    signal.signal(signal.SIGHUP, on_signal)
    os.write(1, b"{}\n")
    sys.stdin.readline()
    seen = [Seen() for _ in files]
    for file, each in zip(files, seen, strict=True):
        threading.Thread(target=_log_in_repeatedly, args=(port, file, each), daemon=True).start()
    for _ in sys.stdin:
        os.write(
            1, json.dumps({"notifications": notifications, "seen": [asdict(each) for each in seen]}).encode() + b"\n"
        )


def _log_in_repeatedly(port: str, file: str, seen: Seen) -> NoReturn:
    before = ""
    while True:
        time.sleep(PERIOD)
        user = ""
        seen.logins += 1
        try:
            user, password = Path(file).read_text().split()
            psycopg.connect(host="127.0.0.1", port=port, dbname=DATABASE, user=user, password=password).close()
        except (OSError, ValueError, psycopg.Error) as exc:
            seen.failed += 1
            reason = " ".join(str(exc).split())
            sys.stderr.write(f"{time.strftime('%H:%M:%S')} {file}: {user}: {type(exc).__name__}: {reason}\n")
        seen.handovers += before not in {"", user}
        before = user


if __name__ == "__main__":
    _serve(*sys.argv[1:])
