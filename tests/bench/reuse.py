"""Whether a stranger is signalled that gets the pid of the one that is meant, at each moment of telling and ending it.

As a program in a PID namespace of its own, where it alone makes processes, it does as many tries as it is told, and
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

from rig import Figure, tell

from lessee.config import NameTarget, PidFileTarget
from lessee.host.clock import boot_time
from lessee.host.procfs import TICK, read_process
from lessee.notification import signals
from lessee.notification.process_finder import ProcessNotFound

TRIES = 1000
BATCH = 10
"""Victims that are there at a time."""
WAYS = ("name", "pid file", "pid and start")
MOMENTS = {
    "tell": ("found", "held", "looked at", "sent"),
    "restart": ("found", "held", "looked at", "sent", "killed"),
}
"""After it was found, was held by descriptor, was looked at again; before the signal is sent; before SIGKILL is."""
GRACE = 0.001
_LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
_PR_SET_NAME = 15
_libc = ctypes.CDLL(None)
_true_pidfd_open, _true_look, _true_send = os.pidfd_open, signals.read_process, signal.pidfd_send_signal


def measure() -> Iterator[Figure]:
    """Lessee alone: the peer signals only what it started itself."""
    if os.geteuid() != 0 or shutil.which("unshare") is None or not _LAST_PID.exists():
        tell("reuse: not measured, for want of root, unshare(1) or /proc/sys/kernel/ns_last_pid")
        return
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, __file__, str(TRIES)]
    counts = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    tell(f"reuse: {counts}")
    name = f"pid forced to another process at a moment of telling or ending it, {counts['reused']} times: others struck"
    met = counts["reused"] == counts["tries"] == TRIES and not counts["struck"]
    yield Figure(name, "", str(counts["struck"]), "0", met)


@dataclass(frozen=True, slots=True)
class Process:
    """One that says, in a byte each, which signals it got."""

    pid: int
    said: int

    def hears(self) -> int:
        """The number of a signal that it got; 0 where it is dead."""
        return int.from_bytes(os.read(self.said, 1), "big")

    def was_struck(self) -> bool:
        """What came before, and has a lower number than what it is asked by, it says before."""
        os.kill(self.pid, signal.SIGWINCH)
        return self.hears() != signal.SIGWINCH

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.said)


@dataclass(frozen=True, slots=True)
class Case:
    """A try: what is done, when the pid passes on, how the victim is meant, and whether the stranger catches it."""

    action: str
    moment: str
    way: str
    catches: bool


class Swap:
    """Ends the victim when the moment comes, and gives its pid to a stranger that looks the same."""

    def __init__(self, victim: Process, name: str, case: Case) -> None:
        self._victim, self._name, self._case = victim, name, case
        self._stranger: Process | None = None
        self._sent = 0

    def judge(self) -> bool | None:
        """Whether the stranger was struck; None where there is none of that pid. Ends it."""
        stranger = self._stranger
        if stranger is None:
            self._victim.end()
            return None
        struck = stranger.was_struck() if stranger.pid == self._victim.pid else None
        stranger.end()
        return struck

    def pidfd_open(self, pid: int) -> int:
        self._at("found")
        pidfd = _true_pidfd_open(pid)
        self._at("held")
        return pidfd

    def read_process(self, pid: int) -> Any:
        seen = _true_look(pid)
        self._at("looked at")
        return seen

    def send(self, pidfd: int, number: int) -> None:
        self._at_sending()
        _true_send(pidfd, number)

    def send_by_pid(self, _pidfd: int, number: int) -> None:
        """As it would be without descriptors."""
        self._at_sending()
        os.kill(self._victim.pid, number)

    def _at_sending(self) -> None:
        self._sent += 1
        self._at("sent" if self._sent == 1 else "killed")

    def _at(self, moment: str) -> None:
        if moment == self._case.moment and self._stranger is None:
            self._victim.end()
            _LAST_PID.write_text(str(self._victim.pid - 1))
            self._stranger = start(self._name, catches=self._case.catches)


def start(name: str, *, catches: bool, is_deaf: bool = False) -> Process:
    """Fork a process of that name; it lives until it is killed."""
    said, says = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _live(name, says, catches=catches, is_deaf=is_deaf)
        finally:
            os._exit(1)
    os.close(says)
    process = Process(pid, said)
    assert process.hears() == signal.SIGCONT  # It is up.
    return process


def _live(name: str, says: int, *, catches: bool, is_deaf: bool) -> None:
    def say(number: int, _: FrameType | None = None) -> None:
        os.write(says, bytes([number]))

    _libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
    # Without it a signal just before the read would be noticed only after the next.
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGWINCH, say)
    for number in (signal.SIGHUP, signal.SIGTERM) if catches else ():
        signal.signal(number, say)
    if is_deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say(signal.SIGCONT)
    while True:
        os.read(woken, 64)


def main(tries: int) -> None:
    """Every moment, way to be meant and stranger in turn; and some by a bare pid, to see that one struck is seen."""
    moments = [(action, moment) for action, moments in MOMENTS.items() for moment in moments]
    cases = [Case(*moment, way, catches) for moment in moments for way in WAYS for catches in (True, False)]
    struck = _struck(list(itertools.islice(itertools.cycle(cases), tries)), Swap.send)
    by_pid = _struck([case for case in cases if case.moment in {"sent", "killed"}], Swap.send_by_pid)
    counts = {
        "tries": len(struck),
        "reused": sum(was is not None for was in struck),
        "struck": sum(was is True for was in struck),
        "tries by pid": len(by_pid),
        "struck by pid": sum(was is True for was in by_pid),
    }
    sys.stdout.write(f"{json.dumps(counts)}\n")


def _struck(cases: list[Case], send: Callable[[Swap, int, int], None]) -> list[bool | None]:
    """Of each case whether the stranger was; None where it had another pid, or the moment did not come."""
    found: list[bool | None] = []
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        for first in range(0, len(cases), BATCH):
            victims = {
                f"victim{number}": (case, start(f"victim{number}", catches=True, is_deaf=case.moment == "killed"))
                for number, case in enumerate(cases[first : first + BATCH])
            }
            # A pid comes again only after thousands of others, so not within the tick that a start is counted in.
            time.sleep(2 * TICK)
            found += [_try(*victims[name], name, Path(folder) / "pid", send) for name in victims]
    return found


def _try(case: Case, victim: Process, name: str, pid_file: Path, send: Callable[[Swap, int, int], None]) -> bool | None:
    seen = read_process(victim.pid)
    assert seen is not None
    pid_file.write_text(str(victim.pid))
    targets = (NameTarget(name), PidFileTarget(str(pid_file)), seen.identity)
    target = targets[WAYS.index(case.way)]
    swap = Swap(victim, name, case)
    _hook(swap.pidfd_open, swap.read_process, lambda pidfd, number: send(swap, pidfd, number))
    try:
        now = boot_time()
        if case.action == "tell":
            outcome = signals.send(target, signal.SIGHUP, published_at=now, start_period=0.0, now=now)
        else:
            outcome = signals.restart(target, published_at=now, stop_grace_period=GRACE)
    finally:
        _hook(_true_pidfd_open, _true_look, _true_send)
    # Nor is it said that a stranger was told, or what it would have done.
    assert send is not Swap.send or isinstance(outcome, ProcessNotFound | signals.Restarted), outcome
    return swap.judge()


def _hook(pidfd_open: Callable[..., int], read_process: Callable[..., Any], send: Callable[..., None]) -> None:
    os.pidfd_open, signals.read_process, signal.pidfd_send_signal = pidfd_open, read_process, send


if __name__ == "__main__":
    main(int(sys.argv[1]))
