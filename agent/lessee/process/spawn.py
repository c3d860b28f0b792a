"""Starts programs, and tells their processes from orphans that this process adopted."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lessee.core.variables import VariableScope
from lessee.host import procfs
from lessee.process.libc import symbol

if TYPE_CHECKING:
    import subprocess

_PR_SET_PDEATHSIG = 1
_OF_AGENT = VariableScope()
_USUAL = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TERM", "TMPDIR", "XDG_RUNTIME_DIR"}
)
"""What a program needs to find others, and to print."""
_named: frozenset[str] = frozenset()
_user: tuple[int, int | None] | None = None
_lock = threading.Lock()
_registered: dict[int, "subprocess.Popen[bytes]"] = {}
_parents: dict[int, threading.Event] = {}
"""By the pid of a program: what ends the thread that started it, and with which it would be killed."""


def spawn(
    command: Sequence[str], *, unprivileged: bool = False, ends_with_agent: bool = False, **settings: Any
) -> "subprocess.Popen[bytes]":
    """Start a program, as Popen does; the caller calls `forget` after it has reaped the process.

    An `unprivileged` one has no capabilities and gains none, also as root; and it cannot push input into the terminal
    that it shares: where the kernel cannot deny that, it has a session of its own, and no terminal. One that
    `ends_with_agent` is killed when this process ends, or the calling thread: without `unprivileged` that must be the
    main thread.
    """
    import subprocess  # noqa: PLC0415  # Most agents start no program.

    def start() -> "subprocess.Popen[bytes]":
        with _lock:  # Otherwise it could end, and be taken for an orphan, before it is registered.
            process = subprocess.Popen(command, **settings)
            _registered[process.pid] = process
        return process

    if ends_with_agent:
        settings["preexec_fn"] = _end_with(os.getpid())
    return _start_unprivileged(start, settings, stays=ends_with_agent) if unprivileged else start()


def _end_with(parent: int) -> Callable[[], None]:
    """What a program calls, after it has changed its user, so that it is killed when the thread ends that started it.

    A change of the user clears that, and exec(2) of a file with set-user-ID or capabilities: PR_SET_PDEATHSIG(2const).
    """
    import _ctypes  # noqa: PLC0415  # Only the child of `lessee exec` needs it.

    # Looked up here: in the fork, another thread could hold the lock of the dynamic linker for ever.
    prctl = symbol("prctl")

    def end_with_parent() -> None:
        _ctypes.call_function(prctl, (_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0))
        if os.getppid() != parent:
            os._exit(1)  # It ended before prctl took effect.

    return end_with_parent


def _start_unprivileged(
    start: "Callable[[], subprocess.Popen[bytes]]", settings: dict[str, Any], *, stays: bool
) -> "subprocess.Popen[bytes]":
    from lessee.process.capabilities import Capability, forbid_new_privileges, keep_only  # noqa: PLC0415  # As above.
    from lessee.process.system_calls import deny_terminal_input  # noqa: PLC0415  # As above.

    found: subprocess.Popen[bytes] | Exception | None = None
    is_started, has_ended = threading.Event(), threading.Event()
    kept: set[int] = set()
    if "user" in settings:
        # With another uid, which is not root, the kernel takes these from the program.
        kept = {Capability.SETUID, Capability.SETGID}
        if stays:
            # The thread may be the last of its process to end, and it is the one that kills then.
            kept.add(Capability.KILL)

    def run() -> None:
        nonlocal found
        try:
            # They belong to a thread, and a program inherits those of the thread that started it.
            forbid_new_privileges()
            keep_only(kept)
            if not settings.get("start_new_session") and deny_terminal_input():
                # The leader of a session is the leader of its process group too.
                settings.pop("process_group", None)
                settings["start_new_session"] = True
            found = start()
        except Exception as exc:  # noqa: BLE001  # It is raised in the other thread.
            found = exc
        is_started.set()
        if stays and not isinstance(found, Exception):
            has_ended.wait()

    thread = threading.Thread(target=run, name="lessee-spawn", daemon=stays)
    thread.start()
    is_started.wait()
    if isinstance(found, Exception):
        raise found
    assert found is not None
    if stays:
        with _lock:
            _parents[found.pid] = has_ended
    else:
        thread.join()
    return found


def forget(process: "subprocess.Popen[bytes]") -> None:
    """Unregister a program that has ended and was reaped."""
    with _lock:
        _registered.pop(process.pid, None)
        has_ended = _parents.pop(process.pid, None)
    if has_ended is not None:
        has_ended.set()


def running_pids() -> frozenset[int]:
    """The pids of all programs that still run."""
    with _lock:
        return frozenset(_registered)


def kill_all() -> None:
    """Kill the sessions of all programs that still run, when no caller awaits them any longer."""
    with _lock:
        for process in _registered.values():
            with suppress(ProcessLookupError, PermissionError):
                if process.returncode is None and os.getsid(process.pid) == process.pid:
                    os.killpg(process.pid, signal.SIGKILL)


def reap_orphans() -> int:
    """Reap the adopted orphans that have ended, as PID 1 must, and return their number."""
    with _lock:
        orphans = [pid for pid in procfs.zombie_children() if pid not in _registered]
        for pid in orphans:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        return len(orphans)


def configure_programs(names: Iterable[str], user: "tuple[int, int | None] | None") -> None:
    """Set which variables, besides `_USUAL`, and which user the agent's programs get."""
    global _named, _user  # One agent has one configuration.
    _named, _user = frozenset(names), user


def program_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program that the agent starts for itself: named variables alone."""
    return {
        name: value
        for name, value in environ.items()
        if (name in _USUAL or name in _named or name.startswith("LC_")) and not _OF_AGENT.is_of_agent(name)
    }


def user_settings() -> dict[str, Any]:
    """The settings of `spawn` for the user of such a program."""
    if _user is None:
        return {}
    uid, gid = _user
    return {"user": uid, "extra_groups": (), **({"group": gid} if gid is not None else {})}


def hide_variables(names: Iterable[str]) -> None:
    """Keep these variables from all programs that are started from now on."""
    for name in names:
        os.environ.pop(name, None)
