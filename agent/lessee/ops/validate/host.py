"""The host that an agent runs on: nothing of a secret reaches its disk or its other users."""

import errno
import os
import socket
import stat
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from lessee import __version__
from lessee.config import App, Vault
from lessee.config.grammar.vault import AppRole, CertAuth, JwtAuth, TokenAuth, UserpassAuth
from lessee.core.errors import AgentUnavailableError
from lessee.core.severity import Level
from lessee.host.mounts import is_memory
from lessee.ops.validate.checks import Check, NotLookedError
from lessee.ops.validate.context import Subject
from lessee.ops.validate.policy import hosts
from lessee.ops.validate.policy.hosts import Mode
from lessee.ops.validate.policy.results import Result, Teller
from lessee.status.server import ask

_TELL = Teller("host")
_MOUNT = "mount a tmpfs there (Compose: a volume with `type: tmpfs`; Kubernetes: an emptyDir with `medium: Memory`)"
_PEER = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid


def checks(subject: Subject) -> Iterator[Check]:
    """Those of directories and files, and of the agent itself."""
    looks: dict[tuple[str, ...], Callable[[Subject], Iterator[Result]]] = {
        ("state-in-memory",): _state_in_memory,
        ("files-in-memory",): _files_in_memory,
        ("no-swap",): _swap,
        ("state-private",): _state_private,
        ("files-private",): _files_private,
        ("credentials-private",): _credentials,
        ("room-left",): _room,
        ("agent-runs", "agent-version", "no-core-files"): _agent,
    }
    for names, look in looks.items():
        yield Check("host", names, partial(_permitted, look, subject))


def _permitted(look: Callable[[Subject], Iterator[Result]], subject: Subject) -> Iterator[Result]:
    """An operator need not be who the agent is."""
    try:
        yield from look(subject)
    except PermissionError as exc:
        what = f"uid {os.geteuid()} may not look at {exc.filename}"
        raise NotLookedError(f"{what}: run it as root, or as the agent's uid") from None
    except FileNotFoundError as exc:
        # An agent is at work there.
        raise NotLookedError(f"{exc.filename} was there, and is gone: look again") from None


def _state_in_memory(subject: Subject) -> Iterator[Result]:
    state = Path(subject.config.state)
    if not state.is_dir():
        raise NotLookedError(f"{state} is not there: no agent has run here")
    yield _in_memory("state-in-memory", {state: subject.config.allow_disk})


def _files_in_memory(subject: Subject) -> Iterator[Result]:
    yield _in_memory("files-in-memory", {Path(app.directory): app.allow_disk for app in _published(subject)})


def _in_memory(check: str, directories: Mapping[Path, bool]) -> Result:
    """Of each directory whether it is allowed to lie on a disk."""
    disks = {path: allowed for path, allowed in directories.items() if not _is_memory(path)}
    names = ", ".join(map(str, disks))
    if not disks:
        return _TELL.passed(check, f"in memory: {', '.join(map(str, directories))}")
    text = f"values may reach a disk: {names} lies neither on tmpfs nor on ramfs"
    return _TELL.warning(check, text, _MOUNT) if all(disks.values()) else _TELL.critical(check, text, _MOUNT)


def _is_memory(path: Path) -> bool:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return is_memory(fd)
    finally:
        os.close(fd)


def _swap(subject: Subject) -> Iterator[Result]:
    places = [path for path in _directories(subject) if _is_memory(path)]
    swaps = hosts.swaps(Path("/proc/swaps").read_text(encoding="utf-8"))
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    options = {path: hosts.options_of(str(path.resolve()), mounts) for path in places}
    swapped = [str(path) for path, said in options.items() if said.startswith("tmpfs") and not hosts.is_noswap(said)]
    if swaps and (swapped or not places):
        text = f"there is swap on {', '.join(swaps)}, and tmpfs may go there: {', '.join(swapped) or 'every one'}"
        todo = "turn it off (`swapoff -a`), encrypt it, or mount the tmpfs with `noswap` (Linux 6.4)"
        yield _TELL.warning("no-swap", text, todo)
    else:
        yield _TELL.passed("no-swap", "what lies in memory stays there: no swap" if not swaps else "mounted noswap")


def _state_private(subject: Subject) -> Iterator[Result]:
    state = Path(subject.config.state)
    if not state.is_dir():
        raise NotLookedError(f"{state} is not there: no agent has run here")
    own = _mode(state)
    faults = list(own.faults(allowed=0o700, uid=None, gid=None))
    for path in sorted(state.iterdir()):
        if not path.is_symlink():
            faults += _mode(path).faults(allowed=0o700 if path.is_dir() else 0o600, uid=own.uid, gid=None)
    yield _private("state-private", faults, f"{state} is the agent's alone")


def _files_private(subject: Subject) -> Iterator[Result]:
    faults: list[str] = []
    open_to_all: list[str] = []
    for app in _published(subject):
        live = Path(app.directory, "..data")
        for file in app.files:
            path = live / file.name
            if not path.is_file():
                continue
            uid, gid = file.owner or (None, None)
            faults += _mode(path).faults(allowed=file.mode, uid=uid, gid=gid)
            open_to_all += [f"{app.name}: {file.name}"] if file.mode & 0o007 else []
        faults += _mode(Path(app.directory)).faults(allowed=0o755, uid=None, gid=None)
    if not faults and open_to_all:
        text = f"everybody on this machine may read {', '.join(open_to_all)}"
        yield _TELL.warning("files-private", text, 'write a mode without the last digit, such as "0440", and an owner')
    else:
        yield _private("files-private", faults, "the apps' files have the mode and owner that the configuration says")


def _private(check: str, faults: list[str], sound: str) -> Result:
    if faults:
        todo = "set it right with chmod and chown, and find out who changed it"
        return _TELL.critical(check, "; ".join(faults), todo)
    return _TELL.passed(check, sound)


def _credentials(subject: Subject) -> Iterator[Result]:
    vaults = {subject.config.vault, *(app.vault for app in subject.config.apps.values())}
    paths = sorted({Path(name) for vault in vaults for name in _secret_files(vault)})
    there = [path for path in paths if path.is_file()]
    if not there:
        raise NotLookedError("the login takes nothing from a file that is there")
    faults = [fault for path in there for fault in _mode(path).faults(allowed=0o600, uid=None, gid=None)]
    if faults:
        yield _TELL.critical("credentials-private", "; ".join(faults), "chmod 0600, and give it to the agent's uid")
    else:
        yield _TELL.passed("credentials-private", f"the login's files are their owner's alone ({len(there)})")


def _secret_files(vault: Vault) -> Iterable[str]:
    """Those that let their reader in. The token of a pod's service account has the mode that Kubernetes gives it."""
    match vault.auth:
        case TokenAuth(token_file=name):
            found = [name]
        case AppRole():
            found = [vault.auth.role_id_file, vault.auth.secret_id_file]
        case CertAuth(key_file=name):
            found = [name]
        case JwtAuth(jwt_file=name) | UserpassAuth(password_file=name):
            found = [name]
        case _:
            found = []
    return [name for name in (*found, vault.client_key_file) if name is not None]


def _room(subject: Subject) -> Iterator[Result]:
    places = [path for path in _directories(subject) if _is_memory(path)]
    if not places:
        raise NotLookedError("none of the directories is there, in memory")
    worst, full = Level.INFO, []
    for path in places:
        status = os.statvfs(path)
        if (level := hosts.room(status.f_bavail, status.f_blocks)) is not None:
            worst = level if worst is not Level.CRITICAL else worst
            full.append(f"{path} has {status.f_bavail * status.f_frsize // 1024} KiB left")
    if full:
        todo = "make the tmpfs larger (its size=), or remove what fills it: at a change two generations stand in it"
        yield Result("host", "room-left", worst, passed=False, text="; ".join(full), todo=todo)
    else:
        yield _TELL.passed("room-left", "there is room for the next generation")


def _agent(subject: Subject) -> Iterator[Result]:
    path = Path(subject.config.status.socket)
    if not subject.config.apps:
        raise NotLookedError("the configuration has no apps, and so no agent")
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise PermissionError(errno.EACCES, "", str(path))
    try:
        status = ask(path, "GET", "/status.json", timeout=subject.timeout / 2)
    except AgentUnavailableError as exc:
        yield _TELL.critical("agent-runs", f"{exc.what} ({path})", "start it: `lessee run`, or see why it ended")
        return
    yield _TELL.passed("agent-runs", "an agent runs")
    if status["version"] == __version__:
        yield _TELL.passed("agent-version", f"the agent is lessee {__version__}, as this is")
    else:
        text = f"the agent is lessee {status['version']}, and this is {__version__}"
        yield _TELL.warning("agent-version", text, "restart the agent with the version that is installed")
    yield _core_files(path, subject.timeout / 2)


def _core_files(path: Path, timeout: float) -> Result:
    check = "no-core-files"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(str(path))
        pid, _, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    try:
        limit = hosts.core_limit(Path(f"/proc/{pid}/limits").read_text(encoding="utf-8"))
    except OSError:
        limit = None
    if limit is None:
        return _TELL.unlooked(check, "the agent's process is in another PID namespace, or hidden")
    if not limit:
        return _TELL.passed(check, "the agent leaves no core file")
    todo = "restart the agent, which forbids itself core files at its start, and see who allowed them since"
    return _TELL.warning(check, f"the agent ({pid}) may leave a core file, with values in it", todo)


def _published(subject: Subject) -> list[App]:
    """Those of the apps whose directories are there. Raises NotLookedError where there are none."""
    found = [app for app in subject.config.apps.values() if Path(app.directory).is_dir()]
    if not found:
        raise NotLookedError("no app's directory is there")
    return found


def _directories(subject: Subject) -> list[Path]:
    paths = [Path(subject.config.state), *(Path(app.directory) for app in subject.config.apps.values())]
    return [path for path in paths if path.is_dir()]


def _mode(path: Path) -> Mode:
    status = path.stat()
    return Mode(str(path), stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
