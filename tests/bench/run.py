"""Runs benchmarks by name, or all of them, and prints one table."""

import importlib
import signal
import sys
from types import FrameType
from typing import NoReturn

from rig import Figure, report

NAMES = (
    "start",
    "memory",
    "growth",
    "polling",
    "idle",
    "requests_saved",
    "latency",
    "events",
    "notification",
    "child_replacement",
    "reload",
    "rendering",
    "bounds",
    "mixed_reads",
    "killed_publications",
    "pending_notifications",
    "pid_reuse",
    "canary",
    "restarts",
    "denied_path",
    "handover",
    "rotations",
    "rollback",
    "unhandled_signals",
    "orphans",
    "crashes",
    "token_revocation",
    "sigstop",
    "clock_jumps",
    "outages",
    "herd",
    "fleet",
    "scale",
    "lease_simulation",
    "rotation_simulation",
    "setup",
    "environment_isolation",
    "validation",
    "dist",
    "backup",
    "role_rotation",
    "killed_rotations",
    "concurrent_rotators",
    "secrecy",
    "simba",
    "mcp_session",
    "audit_log",
    "audit_trail",
)
_MARKS = {True: "yes", False: "**no**", None: ""}


def main(names: list[str]) -> int:
    """Return 0 if every figure reached its target, else 1; 64 for an unknown name."""
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        sys.stderr.write(f"unknown benchmark: {', '.join(unknown)}; choose from: {', '.join(NAMES)}\n")
        return 64
    # SIGTERM cleans up as Ctrl-C does: it ends servers and agents, and removes files.
    signal.signal(signal.SIGTERM, _exit)
    missed = False
    _row("figure", "bao agent", "lessee", "target", "met")
    _row(*["---"] * 5)
    for name in names or NAMES:
        report(name)
        for figure in importlib.import_module(name).measure():
            _print(figure)
            missed = missed or figure.met is False
    return int(missed)


def _print(figure: Figure) -> None:
    _row(figure.name, figure.peer, figure.lessee, figure.target, _MARKS[figure.met])


def _row(*cells: str) -> None:
    sys.stdout.write(f"| {' | '.join(cells)} |\n")
    sys.stdout.flush()


def _exit(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
