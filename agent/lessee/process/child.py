"""The child of `lessee exec`: a program in a process group of its own, which may have the terminal."""

import ctypes
import os
import resource
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from lessee.core.errors import LesseeError
from lessee.host import procfs
from lessee.host.clock import boot_time
from lessee.process import terminal
from lessee.process.hardening import Before
from lessee.process.spawn import over, spawn

_PR_SET_CHILD_SUBREAPER = 36
_ENDED = {os.CLD_EXITED, os.CLD_KILLED, os.CLD_DUMPED}
_DYING = 1.0
_MOMENT = 0.001
# Python ignores these, and who is started by exec would too (signal(7)).
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


class StartError(LesseeError):
    """A program cannot be started; the exit code is the shell's."""

    def __init__(self, command: Sequence[str], exc: OSError | ValueError) -> None:
        self.exit_code = 127 if isinstance(exc, FileNotFoundError | NotADirectoryError) else 126
        # The text of a ValueError is not ours, and what it is about may be a value.
        what = exc.strerror if isinstance(exc, OSError) else "a word or a variable of it holds a NUL or a name a ="
        todo = "see that it is on PATH, and its interpreter there" if self.exit_code == 127 else ""  # noqa: PLR2004
        super().__init__(f"cannot be started: {what}", where=command[0], todo=todo)


class Child:
    """A program that was started; all but the making is to be done in the thread that made it."""

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        before: Before,
        *,
        pipes: tuple[int, int] | None = None,
    ) -> None:
        """It gets what was `before` us. Raises StartError.

        `pipes`: its stdin and its stdout; without them, ours, and the terminal if we have it.
        """
        self.began = boot_time()
        """What was there at this time, the child finds; its start is a little later."""
        try:
            with _core_limit(before.core):
                # All of ours are closed in it; stdin, stdout and stderr pass through.
                stdin, stdout = pipes or (None, None)
                self._process = spawn(
                    command, env=environ, process_group=0, umask=before.umask, stdin=stdin, stdout=stdout
                )
        except (OSError, ValueError) as exc:
            raise StartError(command, exc) from None
        self.pid = self._process.pid
        self._killed = False
        if pipes is None:
            terminal.give(self.pid)
        self.started = procfs.stat(self.pid).started
        """Its start on CLOCK_BOOTTIME as the kernel tells it, rounded down to a tick: with the pid, its name."""

    def look(self) -> int | None:
        """Its exit code when it has ended, 128 + n by signal n. Where it was stopped, we stop with it."""
        # It stays a zombie, so that neither its pid nor its group can be another's before `reap`.
        seen = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
        if seen is None:
            return None
        if seen.si_code in _ENDED:
            return seen.si_status if seen.si_code == os.CLD_EXITED else 128 + seen.si_status
        with suppress(ChildProcessError):  # It has ended meanwhile, which the next look will find.
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG)
        terminal.stop_with(self.pid, seen.si_status)
        return None

    def signal(self, number: int) -> None:
        """Send it a signal, and not to its group."""
        # Nobody else waits for it, so its number cannot have passed to another.
        with suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill all of its group, or what is left of it."""
        self._killed = True
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def reap(self) -> None:
        """It has ended: take its status, and the terminal; where its group was killed, all of that is gone then."""
        terminal.take(self.pid)
        self._process.wait()
        over(self._process)
        # Until it is dead, what was killed holds ports that the next child wants. It has come to us, as orphans do.
        deadline = boot_time() + (_DYING if self._killed else 0)
        with suppress(ChildProcessError):
            while boot_time() < deadline:
                if os.waitpid(-self.pid, os.WNOHANG) == (0, 0):
                    time.sleep(_MOMENT)


def become(command: Sequence[str], environ: Mapping[str, str], before: Before) -> None:
    """Have the program take our place, with what was before us. Raises StartError, and never returns."""
    os.umask(before.umask)
    resource.setrlimit(resource.RLIMIT_CORE, before.core)
    for number in _IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(command[0], list(command), environ)  # noqa: S606  # As S603, which is ignored.
    except (OSError, ValueError) as exc:
        raise StartError(command, exc) from None


def adopt_orphans() -> None:
    """What our children leave behind comes to us, as it comes to PID 1 anyway; `reap_orphans` is to be called."""
    # Where it is forbidden the orphans go to PID 1, as without us.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@contextmanager
def _core_limit(limit: tuple[int, int]) -> Iterator[None]:
    """A child inherits it. That it is ours meanwhile does no harm: we are not dumpable."""
    ours = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, limit)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, ours)
