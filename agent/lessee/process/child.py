"""The child of `lessee exec`: a program in a process group of its own, in the foreground of the terminal."""

import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from lessee.core.errors import LesseeError
from lessee.host import procfs
from lessee.host.clock import boot_time
from lessee.process import capabilities, system_calls, terminal
from lessee.process.hardening import InheritedLimits
from lessee.process.protected_fork import hand_over
from lessee.process.spawn import forget, spawn

_PR_SET_CHILD_SUBREAPER = 36
_ENDED = {os.CLD_EXITED, os.CLD_KILLED, os.CLD_DUMPED}
_GROUP_KILL_TIMEOUT = 1.0
_POLL = 0.001
# Python ignores these, and a program that it execs would inherit that (signal(7)).
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


User = tuple[int, int | None]
"""A uid and a gid; None: the agent's own gid."""


class StartError(LesseeError):
    """A program cannot be started. The exit code is the one that a shell uses."""

    def __init__(self, command: Sequence[str], exc: OSError | ValueError) -> None:
        self.exit_code = 127 if isinstance(exc, FileNotFoundError | NotADirectoryError) else 126
        # A ValueError may quote a value, so its text is replaced.
        what = (
            exc.strerror
            if isinstance(exc, OSError)
            else "an argument or a variable holds a NUL, or a variable's name holds a ="
        )
        todo = "check that it is on PATH, and that its interpreter exists" if self.exit_code == 127 else ""  # noqa: PLR2004
        super().__init__(f"cannot start the program: {what}", where=command[0], todo=todo)


class Child:
    """A running program. Only the thread that created it may call its methods."""

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        limits: InheritedLimits,
        *,
        pipes: tuple[int, int] | None = None,
        user: User | None = None,
    ) -> None:
        """Start it with these limits. Raises StartError.

        `pipes`: its stdin and stdout; without them it inherits both, and gets the terminal. With a `user` it has no
        capabilities, no group but the user's, gains none, and cannot push input into the terminal. It is killed when
        this process ends, or this thread.
        """
        settings: dict[str, Any] = {} if user is None else {"unprivileged": True, "user": user[0], "extra_groups": ()}
        if user is not None and user[1] is not None:
            settings["group"] = user[1]
        self.began = boot_time()
        """A time just before its start: whatever was published by then, it finds."""
        try:
            with _core_limit(limits.core):
                # It inherits no descriptor but stdin, stdout and stderr.
                stdin, stdout = pipes or (None, None)
                self._process = spawn(
                    command,
                    ends_with_agent=True,
                    env=environ,
                    process_group=0,
                    umask=limits.umask,
                    stdin=stdin,
                    stdout=stdout,
                    **settings,
                )
        except (OSError, ValueError) as exc:
            raise StartError(command, exc) from None
        self.pid = self._process.pid
        self._killed = False
        if pipes is None:
            terminal.give(self.pid)
        self.started = procfs.stat(self.pid).started
        """Its start on CLOCK_BOOTTIME by /proc, rounded down to a tick. The pid and this start identify the process."""

    def poll(self) -> int | None:
        """Its exit code once it has ended, 128 + n for signal n. If it was stopped, this process stops too."""
        # It stays a zombie, so that no other process can get its pid or its group before `reap`.
        change = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
        if change is None:
            return None
        if change.si_code in _ENDED:
            return change.si_status if change.si_code == os.CLD_EXITED else 128 + change.si_status
        with suppress(ChildProcessError):  # It has ended meanwhile, as the next poll will show.
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG)
        terminal.stop_with(self.pid, change.si_status)
        return None

    def signal(self, number: int) -> None:
        """Send it a signal, but not its group."""
        # It was not reaped, so no other process can have its pid.
        with suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill its group, or the rest of it."""
        self._killed = True
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def reap(self) -> None:
        """Collect its status after its end, and take back the terminal; wait until a killed group has ended."""
        terminal.take(self.pid)
        self._process.wait()
        forget(self._process)
        # A killed process holds its ports until it is dead, and the next child needs them. Orphans are adopted.
        deadline = boot_time() + (_GROUP_KILL_TIMEOUT if self._killed else 0)
        with suppress(ChildProcessError):
            while boot_time() < deadline:
                if os.waitpid(-self.pid, os.WNOHANG) == (0, 0):
                    time.sleep(_POLL)


def replace_process(
    command: Sequence[str], environ: Mapping[str, str], limits: InheritedLimits, user: User | None = None
) -> None:
    """Replace this process by the program, with these limits. Raises StartError, and never returns.

    With a `user` it is as `Child` describes.
    Where this process is a protected fork, the program replaces the first process, whose pid others know.
    """
    uid, gid = user or (None, None)
    numbers = [str(number) for number in (uid, gid, limits.umask, *limits.core, len(command))]
    words = [*numbers, *command]
    pairs = [f"{name}={value}" for name, value in environ.items()]
    # What cannot be written, execve(2) refuses too, and says why.
    if not any("\0" in text for text in (*command, *pairs)) and not any("=" in name for name in environ):
        hand_over(b"\0".join(map(os.fsencode, (*words, *pairs))))
    _replace(command, environ, limits, user)


def replace_as_written(program: bytes) -> int:
    """Replace this process by the program that `replace_process` has handed over. The exit code if that fails."""
    uid, gid, umask, soft, hard, length, *words = map(os.fsdecode, program.split(b"\0"))
    command, pairs = words[: int(length)], words[int(length) :]
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        _replace(
            command,
            dict(pair.split("=", 1) for pair in pairs),
            InheritedLimits((int(soft), int(hard)), int(umask)),
            None if uid == "None" else (int(uid), None if gid == "None" else int(gid)),
        )
    except StartError as exc:
        print(f"lessee: {exc}", file=sys.stderr, flush=True)  # noqa: T201  # As the command line does.
        return exc.exit_code
    return 0


def _replace(command: Sequence[str], environ: Mapping[str, str], limits: InheritedLimits, user: User | None) -> None:
    os.umask(limits.umask)
    resource.setrlimit(resource.RLIMIT_CORE, limits.core)
    for number in _IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
    try:
        if user is not None:
            _become(*user)
        os.execvpe(command[0], list(command), environ)  # noqa: S606  # As S603, which is ignored.
    except (OSError, ValueError) as exc:
        raise StartError(command, exc) from None


def _become(uid: int, gid: int | None) -> None:
    """Raises OSError."""
    os.setgroups([])
    if gid is not None:
        os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    capabilities.forbid_new_privileges()
    capabilities.keep_only(())
    if system_calls.deny_terminal_input():
        terminal.leave()


def adopt_orphans() -> None:
    """Adopt the orphans of all children, as PID 1 does anyway; `reap_orphans` must be called for them."""
    # Where this is forbidden, PID 1 adopts them.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@contextmanager
def _core_limit(limit: tuple[int, int]) -> Iterator[None]:
    """Set the limit for a child to inherit. This process stays protected meanwhile: it is not dumpable."""
    own = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, limit)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, own)
