"""The command line."""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False  # As in process.protected_fork.
if TYPE_CHECKING:
    from collections.abc import Sequence

closed_streams: set[int] = set()
"""The standard streams that were closed when this process started."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is one of sysexits(3).

    Without arguments it is the process's own command: it runs in a fork whose memory is closed to other processes.
    """
    # A start allocates much and frees nothing: the garbage collector would take a sixth of it.
    gc.disable()
    gc.set_threshold(20_000, 20, 50)
    if argv is None:
        _open_closed_streams()
        from lessee.process.protected_fork import enter

        enter()
    from lessee.cli.dispatch import run_command  # The collector ran during its imports otherwise.

    return run_command(argv)


def _open_closed_streams() -> None:
    """Open /dev/null for each standard stream that is closed, as glibc does for set-user-ID programs.

    A secret's file would be the next one to get its number, and what any code prints to that stream would be in it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            closed_streams.add(number)
            # The lowest number that is free, because those before it are open.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
            stream = open(number, "w" if number else "r", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115  # Until the process ends.
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
