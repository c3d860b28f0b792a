"""Whether an app can log in at any moment while its leases come to their max_ttl; run as a program, it is the app."""

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
from database import answered, database, peer_template, template
from rig import PATIENCE, Figure, Program, Rig, peer_templates, tell, templates

from support.servers.postgres import DATABASE, Postgres

HANDOVERS = 100
PEER_HANDOVERS = 30
LONGEST = 600.0
"""Seconds in which there are so many of each kind."""
PERIOD = 0.1
"""Seconds between the app's logins with a file."""
PACE = 0.02
"""Seconds between the writes of each of two who are busy with KV."""
LOOK = 1.0


class _Kind(NamedTuple):
    """Roles that are alike, each with a file and a lease."""

    name: str
    count: int
    default_ttl: str
    max_ttl: str

    @property
    def roles(self) -> list[str]:
        return [f"{self.name}{number:02}" for number in range(self.count)]


KINDS = (
    # Renewed once, and then replaced so early that it is revoked, 5 s after the app was told, before it ends by itself.
    _Kind("long", 10, "20s", "28s"),
    # Renewed once or twice, and replaced so near its max_ttl that it ends by itself before it could be revoked.
    _Kind("short", 5, "5s", "8s"),
)
KV = {"one.env": "handover/one", "two.env": "handover/two"}
ROLES = [role for kind in KINDS for role in kind.roles]


@dataclass(slots=True)
class Seen:
    """What the app has seen of a file, or of several."""

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
        whole = not mine.failed and mine.handovers >= HANDOVERS
        yield Figure(name, _told(theirs[kind.name]), _told(mine), f"0 in ≥ {HANDOVERS} handovers", whole)


def _told(seen: Seen) -> str:
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
    """Until there were so many handovers of each kind; what was seen, by kind."""
    pid_file = bench.folder / "app.pid"
    program, files = make(bench, pid_file)
    with ExitStack() as stack:
        app = stack.enter_context(_App(postgres, files, pid_file))
        stack.enter_context(program)
        program.until(lambda: all(file.exists() for file in files), "all files")
        app.go()
        writes = stack.enter_context(_load(bench))
        began = time.monotonic()
        while True:
            time.sleep(LOOK)
            seen = app.seen()
            done = all(each.handovers >= handovers for each in seen.values())
            if done or time.monotonic() - began > LONGEST:
                break
        took, revoked = time.monotonic() - began, len(answered(bench, "sys/leases/revoke"))
    tell(f"{program.folder.name}: {seen}, told {app.told} times in {took:.0f} s, {revoked} leases revoked")
    # A server that itself stands still as long as a lease has left makes logins fail, whatever the agent does.
    tell(f"{len(writes)} writes meanwhile, the longest of {max(writes):.2f} s")
    return seen


@contextmanager
def _load(bench: Rig) -> Iterator[list[float]]:
    """Two are busy with what the agent reads, and one with nothing, less urgently; seconds that each write took."""
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
    """A process that logs in with what stands in its files, each of them by itself, and catches SIGHUP."""

    def __init__(self, postgres: Postgres, files: list[Path], pid_file: Path) -> None:
        self._command = [sys.executable, __file__, str(postgres.port), *map(str, files)]
        self._pid_file = pid_file
        self.told = 0

    def __enter__(self):
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self._answer()
        self._pid_file.write_text(f"{self._process.pid}\n")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def go(self) -> None:
        """Its files are there."""
        self._process.stdin.write(b"go\n")

    def seen(self) -> Mapping[str, Seen]:
        """What it has seen so far, by kind."""
        self._process.stdin.write(b"say\n")
        said = self._answer()
        self.told = said["told"]
        seen = dict(zip(ROLES, (Seen(**each) for each in said["seen"]), strict=True))
        return {kind.name: sum((seen[role] for role in kind.roles), Seen()) for kind in KINDS}

    def _answer(self) -> Mapping[str, Any]:
        if not select.select([self._process.stdout], [], [], PATIENCE)[0]:
            raise RuntimeError("the app is silent")
        return json.loads(self._process.stdout.readline())


def _serve(port: str, *files: str) -> None:
    told = 0

    def hear(_: int, __: FrameType | None) -> None:
        nonlocal told
        told += 1

    signal.signal(signal.SIGHUP, hear)
    os.write(1, b"{}\n")
    sys.stdin.readline()
    seen = [Seen() for _ in files]
    for file, each in zip(files, seen, strict=True):
        threading.Thread(target=_log_in_on, args=(port, file, each), daemon=True).start()
    for _ in sys.stdin:
        os.write(1, json.dumps({"told": told, "seen": [asdict(each) for each in seen]}).encode() + b"\n")


def _log_in_on(port: str, file: str, seen: Seen) -> NoReturn:
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
