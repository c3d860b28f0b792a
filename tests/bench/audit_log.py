"""Measures how fast `lessee monitor` reads an audit log, its memory, and its losses across rotations and kills."""

import json
import os
import random
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from statistics import median, quantiles

from figures import Figure
from rig import MEMORY, report

from support.programs.monitor import Audited, Monitor, accesses
from support.programs.sidecar import eventually

LINES = 1_000_000
ROTATIONS, KILLS = 100, 20
WRITES = 200
FAST, SMALL = 50_000, 80
"""Lines a second; MiB."""


def measure(lines: int = LINES) -> Iterator[Figure]:
    with (
        tempfile.TemporaryDirectory(prefix="lessee-audit-") as folder,
        tempfile.TemporaryDirectory(dir=MEMORY) as memory,
    ):
        disk = Path(folder)
        yield from _speed(disk, Path(memory), lines)
    with (
        tempfile.TemporaryDirectory(prefix="lessee-audit-") as folder,
        tempfile.TemporaryDirectory(dir=MEMORY) as memory,
    ):
        yield from _losses(Path(folder), Path(memory))
    with (
        tempfile.TemporaryDirectory(prefix="lessee-audit-") as folder,
        tempfile.TemporaryDirectory(dir=MEMORY) as memory,
    ):
        yield from _delay(Path(folder), Path(memory))


# A long log.


def _speed(disk: Path, memory: Path, lines: int) -> Iterator[Figure]:
    answered = _write_log(disk, lines)
    size = (disk / "audit.log").stat().st_size
    monitor = Monitor(disk / "lessee", memory, {"file": str(disk / "audit.log")})
    command = monitor.command("--once", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    began = time.monotonic()
    process = subprocess.Popen(**command)
    _, status, usage = os.wait4(process.pid, 0)
    took = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    checkpoint = monitor.checkpoint()["sources"]["vault"]
    is_complete = process.returncode == 0 and checkpoint["lines"] == lines and checkpoint["accesses"] == answered
    rate, peak = lines / took, usage.ru_maxrss / 1024
    report(f"{lines:,} lines, {size / 1e6:,.0f} MB: {took:.1f} s, {usage.ru_utime + usage.ru_stime:.1f} s of processor")
    name = f"audit log of {lines:,} lines ({size / 1e6:,.0f} MB): lines a second"
    yield Figure(name, "", f"{rate:,.0f}", f"≥ {FAST:,}", is_complete and rate >= FAST)
    busy = lines / (usage.ru_utime + usage.ru_stime)
    yield Figure("the same: lines a second of processor time", "", f"{busy:,.0f}")
    yield Figure("the same: most memory (RSS)", "", f"{peak:.0f} MiB", f"≤ {SMALL} MiB", peak <= SMALL)


def _write_log(disk: Path, lines: int) -> int:
    """Write lines of a real log with new times, ids and paths. Returns the number of responses."""
    originals = _real_lines(disk)
    at, answered = datetime(2026, 1, 1, tzinfo=UTC), 0
    with (disk / "audit.log").open("w", encoding="utf-8") as file:
        for number in range(lines):
            text, moment, request, is_response = originals[number % len(originals)]
            at += timedelta(microseconds=700)
            answered += is_response
            line = text.replace(moment, f"{at:%Y-%m-%dT%H:%M:%S.%f}123Z", 1).replace(request, f"{number:036d}", 1)
            file.write(line.replace("/benched/0", f"/benched/{number % 5000}"))
    return answered


def _real_lines(disk: Path) -> list[tuple[str, str, str, bool]]:
    """Lines, each with its time, its request id, and whether it is a response."""
    folder = disk / "openbao"
    folder.mkdir()
    with Audited(folder) as bao:
        role_id, secret_id = bao.approle("benched", 'path "secret/data/benched/*" { capabilities = ["read"] }')
        login = {"role_id": role_id, "secret_id": secret_id}
        token = bao.ask("POST", "auth/approle/login", login, token="")["auth"]["client_token"]
        bao.put("benched/0", **{f"key{number}": f"canary-{number}" for number in range(5)})
        for _ in range(6):
            bao.ask("GET", "secret/data/benched/0", token=token)
        bao.ask("GET", "secret/metadata/benched/0")
        bao.ask("GET", "secret/metadata/benched/?list=true")
        with suppress(RuntimeError):
            bao.ask("GET", "secret/data/denied/benched/0", token=token)
        bao.ask("DELETE", "secret/data/benched/0")
    found = []
    for text in bao.audit.read_text().splitlines(keepends=True):
        line = json.loads(text)
        if "remote_address" in line["request"]:
            found.append((text, line["time"], line["request"]["id"], line["type"] == "response"))
    return found


# Rotations and kills.


def _losses(disk: Path, memory: Path) -> Iterator[Figure]:
    with Audited(disk) as bao, Monitor(disk / "lessee", memory, {"file": str(bao.audit)}) as monitor:
        done = threading.Event()
        writers = [threading.Thread(target=_write, args=(bao, number, done)) for number in range(2)]
        rotating = threading.Thread(target=_rotate, args=(bao,))
        monitor.start().until(lambda status: status["ready"])
        for thread in (*writers, rotating):
            thread.start()
        draw, kills = random.Random(1), 0  # noqa: S311  # The random moments are no secret.
        while kills < KILLS or rotating.is_alive():
            time.sleep(draw.uniform(0.2, 1.6))  # At a random moment.
            monitor.stop(signal.SIGKILL)
            monitor.start()
            kills += 1
        done.set()
        for thread in (*writers, rotating):
            thread.join()
        written = len(accesses(*bao.audit.parent.glob("audit.log*")))
        with suppress(AssertionError):
            monitor.until(lambda status: status["accesses"]["total"] >= written)
        time.sleep(1.0)
        monitor.stop()
        checkpoint = monitor.checkpoint()
    counted = sum(sum(one.values()) for one in checkpoint["sinks"]["counters"].values())
    read = checkpoint["sources"]["vault"]["number"]
    lost, doubled = max(0, written - counted), max(0, counted - written)
    report(f"{written:,} written, {read:,} read, {counted:,} counted, {kills} kills")
    name = f"accesses lost, counted twice, of {written:,}, over {ROTATIONS} rotations and {kills} kills"
    yield Figure(name, "", f"{lost}, {doubled}", "0, 0", counted == written == read)


def _write(bao: Audited, number: int, done: threading.Event) -> None:
    for n in count():
        if done.is_set():
            return
        bao.put(f"benched/{number}", n=n)


def _rotate(bao: Audited) -> None:
    for number in range(ROTATIONS):
        if number % 2:
            bao.audit.rename(bao.audit.with_name(f"audit.log-{number:03}"))
            bao.reopen()
        else:
            bao.audit.rename(bao.audit.with_name(f"audit.log-{number:03}"))
            bao.audit.touch()  # As logrotate does with `create`.
            time.sleep(0.05)
            bao.reopen()
        eventually(lambda: bao.audit.exists() and bao.audit.stat().st_size, "the new file")
        time.sleep(0.1)


# The time from a write until it is counted.


def _delay(disk: Path, memory: Path) -> Iterator[Figure]:
    with Audited(disk) as bao, Monitor(disk / "lessee", memory, {"file": str(bao.audit)}) as monitor:
        total = monitor.start().until(lambda status: status["ready"] and status["fresh"])["accesses"]["total"]
        took = []
        for n in range(WRITES):
            bao.put("benched/delay", n=n)
            began = time.monotonic()
            total += 1
            while monitor.status()["accesses"]["total"] < total:
                pass
            took.append(time.monotonic() - began)
            time.sleep(0.02)
    text = f"{median(took) * 1000:.1f} ms, {quantiles(took, n=100)[-1] * 1000:.1f} ms"
    yield Figure("KV write → counted in the monitor's status: median, p99", "", text)
