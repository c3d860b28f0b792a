"""Gives the terminal to another process group, as a shell does for its jobs."""

import os
import signal
from contextlib import suppress

_STDIN = 0
_TERMINAL_ACCESS = {signal.SIGTTIN, signal.SIGTTOU}


def give(group: int) -> None:
    """Put this group in the foreground, if the own group is there; do nothing without a terminal."""
    _move(os.getpgrp(), group)


def take(group: int) -> None:
    """Put the own group in the foreground again, if this group is there."""
    _move(group, os.getpgrp())


def stop_with(group: int, number: int) -> None:
    """Stop, as this group did at the signal, until the shell continues this process; then continue the group."""
    foreground = _foreground()
    if foreground is None:
        return  # No shell controls this process: whatever stopped the group continues it.
    # A program that just started, or that a shell put in the foreground, may have used the terminal too early.
    if number not in _TERMINAL_ACCESS or foreground not in {group, os.getpgrp()}:
        take(group)
        # Stops the whole job. The kernel skips a group that no shell could continue, as it does for Ctrl-Z.
        os.killpg(0, signal.SIGTSTP)
    give(group)
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGCONT)


def _foreground() -> int | None:
    """The foreground group of the terminal, if stdin is one."""
    try:
        return os.tcgetpgrp(_STDIN)
    except OSError:
        return None


def _move(foreground: int, group: int) -> None:
    if _foreground() != foreground:
        return
    # The kernel stops a background process for this, unless it ignores the signal.
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        with suppress(OSError):  # The terminal or the whole group no longer exists.
            os.tcsetpgrp(_STDIN, group)
    finally:
        signal.signal(signal.SIGTTOU, before)
