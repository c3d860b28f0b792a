"""Runs benchmarks by name, or all of them, and prints one table."""

import importlib
import signal
import sys
from types import FrameType
from typing import NoReturn

from rig import Figure, tell

NAMES = (
    "start",
    "memory",
    "polling",
    "saved",
    "latency",
    "events",
    "told",
    "replaced",
    "reload",
    "rendering",
    "bounds",
    "mixed",
    "kill",
    "owed",
    "reuse",
    "canary",
    "restarts",
    "forbidden",
    "handover",
    "rotations",
    "bad",
    "deaf",
    "orphans",
    "crashes",
    "revoked",
    "stopped",
    "jumps",
    "weather",
    "herd",
    "fleet",
    "scale",
    "month",
    "months",
    "setup",
    "apart",
    "validation",
    "dist",
    "backup",
    "turns",
    "killed",
    "twenty",
    "secrecy",
    "simba",
    "mcp_session",
    "audit_log",
    "trail",
)
_MET = {True: "yes", False: "**no**", None: ""}


def main(names: list[str]) -> int:
    """0 where all that is to be reached was reached."""
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        sys.stderr.write(f"there is no {', '.join(unknown)}; there are: {', '.join(NAMES)}\n")
        return 64
    # As Ctrl-C does: servers, agents and files go on the way out.
    signal.signal(signal.SIGTERM, _leave)
    missed = False
    _row("figure", "bao agent", "lessee", "to reach", "met")
    _row(*["---"] * 5)
    for name in names or NAMES:
        tell(name)
        for figure in importlib.import_module(name).measure():
            _print(figure)
            missed = missed or figure.met is False
    return int(missed)


def _print(figure: Figure) -> None:
    _row(figure.name, figure.peer, figure.lessee, figure.reach, _MET[figure.met])


def _row(*cells: str) -> None:
    sys.stdout.write(f"| {' | '.join(cells)} |\n")
    sys.stdout.flush()


def _leave(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
