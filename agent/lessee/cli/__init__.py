"""The command line."""

from __future__ import annotations

import gc

TYPE_CHECKING = False  # As in process.protected_fork.
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is one of sysexits(3).

    Without arguments it is the process's own command: it runs in a fork whose memory is closed to other processes.
    """
    # A start allocates much and frees nothing: the garbage collector would take a sixth of it.
    gc.disable()
    gc.set_threshold(20_000, 20, 50)
    if argv is None:
        from lessee.process.protected_fork import enter

        enter()
    from lessee.cli.dispatch import run_command  # The collector ran during its imports otherwise.

    return run_command(argv)
