"""Counts signals sent to a wrong process that gets the target's pid at any moment of a notification or a restart.

Run as a program in its own PID namespace, in which no other program forks, it makes the given number of tries and
prints the counts as JSON.
"""

import ctypes
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from figures import Figure
from rig import report

from lessee.config import NameTarget, PidFileTarget
from lessee.host.clock import boot_time
from lessee.host.procfs import TICK, read_process
from lessee.notification import signals
from lessee.notification.process_finder import ProcessNotFound

TRIES = 1000
BATCH = 10
"""Target processes that exist at the same time."""
WAYS = ("name", "pid file", "pid and start")
MOMENTS = {
    "signal": ("found", "opened", "checked", "sent"),
    "restart": ("found", "opened", "checked", "sent", "killed"),
}
"""After the process was found, opened by pidfd, and checked again; before the signal, and before SIGKILL."""
STOP_GRACE_PERIOD = 0.001
_LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
_PR_SET_NAME = 15
_libc = ctypes.CDLL(None)
_true_pidfd_open, _true_read_process, _true_send = os.pidfd_open, signals.read_process, signal.pidfd_send_signal


def measure() -> Iterator[Figure]:
    """Measure lessee alone; the peer signals only processes that it has started."""
    if os.geteuid() != 0 or shutil.which("unshare") is None or not _LAST_PID.exists():
        report("pid_reuse: skipped, because it needs root, unshare(1) and /proc/sys/kernel/ns_last_pid")
        return
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, __file__, str(TRIES)]
    counts = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    report(f"pid_reuse: {counts}")
    name = f"pid reused at a moment of a notification or restart, {counts['reused']} times: wrong processes signaled"
    met = counts["reused"] == counts["tries"] == TRIES and not counts["signaled"]
    yield Figure(name, "", str(counts["signaled"]), "0", met)


@dataclass(frozen=True, slots=True)
class Process:
    """A process that reports each signal it gets, as one byte."""

    pid: int
    output: int

    def next_signal(self) -> int:
        """The number of the next signal that it reports; 0 if it has ended."""
        return int.from_bytes(os.read(self.output, 1), "big")

    def was_signaled(self) -> bool:
        """Whether it got a signal before SIGWINCH: it reports signals in order, those with lower numbers first."""
        os.kill(self.pid, signal.SIGWINCH)
        return self.next_signal() != signal.SIGWINCH

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.output)


@dataclass(frozen=True, slots=True)
class Case:
    """A try: the action, the moment of the reuse, how the target is named, and whether the other process catches it."""

    action: str
    moment: str
    way: str
    catches: bool


class Swap:
    """Ends the target at the given moment, and starts another process with the same pid and name."""

    def __init__(self, target: Process, name: str, case: Case) -> None:
        self._target, self._name, self._case = target, name, case
        self._other: Process | None = None
        self._sent = 0

    def judge(self) -> bool | None:
        """End the other process. Returns whether it was signaled; None if it did not get the pid."""
        other = self._other
        if other is None:
            self._target.end()
            return None
        signaled = other.was_signaled() if other.pid == self._target.pid else None
        other.end()
        return signaled

    def pidfd_open(self, pid: int) -> int:
        self._at("found")
        pidfd = _true_pidfd_open(pid)
        self._at("opened")
        return pidfd

    def read_process(self, pid: int) -> Any:
        seen = _true_read_process(pid)
        self._at("checked")
        return seen

    def send(self, pidfd: int, number: int) -> None:
        self._at_sending()
        _true_send(pidfd, number)

    def send_by_pid(self, _pidfd: int, number: int) -> None:
        """Signal by pid, as a program without pidfds does."""
        self._at_sending()
        os.kill(self._target.pid, number)

    def _at_sending(self) -> None:
        self._sent += 1
        self._at("sent" if self._sent == 1 else "killed")

    def _at(self, moment: str) -> None:
        if moment == self._case.moment and self._other is None:
            self._target.end()
            _LAST_PID.write_text(str(self._target.pid - 1))
            self._other = start(self._name, catches=self._case.catches)


def start(name: str, *, catches: bool, ignores_sigterm: bool = False) -> Process:
    """Fork a process with this name, which runs until it is killed."""
    output, reports = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _run(name, reports, catches=catches, ignores_sigterm=ignores_sigterm)
        finally:
            os._exit(1)
    os.close(reports)
    process = Process(pid, output)
    assert process.next_signal() == signal.SIGCONT  # It is ready.
    return process


def _run(name: str, reports: int, *, catches: bool, ignores_sigterm: bool) -> None:
    def report_signal(number: int, _: FrameType | None = None) -> None:
        os.write(reports, bytes([number]))

    _libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
    # Without it, a signal just before the read would wait for the next one.
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGWINCH, report_signal)
    for number in (signal.SIGHUP, signal.SIGTERM) if catches else ():
        signal.signal(number, report_signal)
    if ignores_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    report_signal(signal.SIGCONT)
    while True:
        os.read(woken, 64)


def main(tries: int) -> None:
    """Try every case in turn; then some with a bare pid, to verify that a wrong signal is detected."""
    moments = [(action, moment) for action, moments in MOMENTS.items() for moment in moments]
    cases = [Case(*moment, way, catches) for moment in moments for way in WAYS for catches in (True, False)]
    signaled = _signaled(list(itertools.islice(itertools.cycle(cases), tries)), Swap.send)
    by_pid = _signaled([case for case in cases if case.moment in {"sent", "killed"}], Swap.send_by_pid)
    counts = {
        "tries": len(signaled),
        "reused": sum(was is not None for was in signaled),
        "signaled": sum(was is True for was in signaled),
        "tries by pid": len(by_pid),
        "signaled by pid": sum(was is True for was in by_pid),
    }
    sys.stdout.write(f"{json.dumps(counts)}\n")


def _signaled(cases: list[Case], send: Callable[[Swap, int, int], None]) -> list[bool | None]:
    """For each case whether the other process was signaled; None if no process reused the pid at that moment."""
    found: list[bool | None] = []
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        for first in range(0, len(cases), BATCH):
            processes = {
                f"target{number}": (
                    case,
                    start(f"target{number}", catches=True, ignores_sigterm=case.moment == "killed"),
                )
                for number, case in enumerate(cases[first : first + BATCH])
            }
            # In practice a pid is reused after thousands of others: not within the clock tick of a process's start.
            time.sleep(2 * TICK)
            found += [_try(*processes[name], name, Path(folder) / "pid", send) for name in processes]
    return found


def _try(
    case: Case, process: Process, name: str, pid_file: Path, send: Callable[[Swap, int, int], None]
) -> bool | None:
    seen = read_process(process.pid)
    assert seen is not None
    pid_file.write_text(str(process.pid))
    targets = (NameTarget(name), PidFileTarget(str(pid_file)), seen.identity)
    target = targets[WAYS.index(case.way)]
    swap = Swap(process, name, case)
    _hook(swap.pidfd_open, swap.read_process, lambda pidfd, number: send(swap, pidfd, number))
    try:
        now = boot_time()
        if case.action == "signal":
            outcome = signals.send(target, signal.SIGHUP, published_at=now, start_period=0.0, now=now)
        else:
            outcome = signals.restart(target, published_at=now, stop_grace_period=STOP_GRACE_PERIOD)
    finally:
        _hook(_true_pidfd_open, _true_read_process, _true_send)
    # The outcome must not name the other process either.
    assert send is not Swap.send or isinstance(outcome, ProcessNotFound | signals.Restarted), outcome
    return swap.judge()


def _hook(pidfd_open: Callable[..., int], read_process: Callable[..., Any], send: Callable[..., None]) -> None:
    os.pidfd_open, signals.read_process, signal.pidfd_send_signal = pidfd_open, read_process, send


if __name__ == "__main__":
    main(int(sys.argv[1]))
