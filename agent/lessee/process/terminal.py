"""Hands the terminal from one process group to another, as a shell does for its jobs."""

import os
import signal
from contextlib import suppress

_STDIN = 0
_WANT_IT = {signal.SIGTTIN, signal.SIGTTOU}


def give(group: int) -> None:
    """Put this group in the foreground, where it is ours that stands there; nothing without a terminal."""
    _hand(os.getpgrp(), group)


def take(group: int) -> None:
    """Put our group in the foreground again, where it is this one that stands there."""
    _hand(group, os.getpgrp())


def stop_with(group: int, number: int) -> None:
    """Stop, as a group did at that signal, until somebody continues us; then have it go on."""
    holder = _holder()
    if holder is None:
        return  # No shell sees to us: who stopped it continues it.
    # What was started, or called to the foreground by a shell, could ask for the terminal before it had it.
    if number not in _WANT_IT or holder not in {group, os.getpgrp()}:
        take(group)
        # To all of our job. The kernel passes over a group that no shell could continue, as it does at Ctrl-Z.
        os.killpg(0, signal.SIGTSTP)
    give(group)
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGCONT)


def _holder() -> int | None:
    """The group in the foreground of our terminal, if stdin is that."""
    try:
        return os.tcgetpgrp(_STDIN)
    except OSError:
        return None


def _hand(holder: int, group: int) -> None:
    if _holder() != holder:
        return
    # Who is in the background is stopped for this, unless it does not care.
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        with suppress(OSError):  # The terminal, or all of the group, is gone.
            os.tcsetpgrp(_STDIN, group)
    finally:
        signal.signal(signal.SIGTTOU, before)
