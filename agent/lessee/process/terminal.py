"""Gives the terminal to another process group, as a shell does for its jobs."""

import errno
import fcntl
import os
import signal
import termios
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


def leave() -> None:
    """Have no controlling terminal any longer, so that nothing can be pushed into it (ioctl_tty(2)). Raises OSError."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno == errno.ENXIO:
            return
        raise
    # A session's leader takes the terminal from the whole session, which gets SIGHUP.
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        fcntl.ioctl(terminal, termios.TIOCNOTTY)
    finally:
        signal.signal(signal.SIGHUP, before)
        os.close(terminal)


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
