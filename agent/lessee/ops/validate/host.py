"""Checks the agent's host: secrets must not reach its disk, or other users."""

import errno
import os
import socket
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from lessee import __version__
from lessee.config import App, Vault
from lessee.config.grammar.vault import (
    AppRole,
    AwsAuth,
    CertAuth,
    CfAuth,
    GcpAuth,
    GitHubAuth,
    JwtAuth,
    KerberosAuth,
    PasswordAuth,
    TokenAuth,
)
from lessee.core.errors import AgentUnavailableError
from lessee.core.severity import Level
from lessee.host.mounts import is_memory
from lessee.host.peers import peer_credentials
from lessee.ops.validate.checks import Check, CheckSkippedError, NotConfiguredError
from lessee.ops.validate.context import ValidationContext
from lessee.ops.validate.policy import hosts
from lessee.ops.validate.policy.hosts import FileMode
from lessee.ops.validate.policy.results import Reporter, Result
from lessee.status.client import known_format, request_status

_REPORTER = Reporter("host")
_MOUNT = "mount a tmpfs there (Compose: a volume with `type: tmpfs`; Kubernetes: an emptyDir with `medium: Memory`)"


def checks(context: ValidationContext) -> Iterator[Check]:
    """The checks of directories, files, and the agent's process."""
    functions: dict[tuple[str, ...], Callable[[ValidationContext], Iterator[Result]]] = {
        ("state-in-memory",): _check_state_in_memory,
        ("files-in-memory",): _check_files_in_memory,
        ("no-swap",): _check_swap,
        ("state-private",): _check_state_private,
        ("files-private",): _check_files_private,
        ("credentials-private",): _check_credentials,
        ("space-left",): _check_space,
        ("agent-running", "agent-version", "no-core-files"): _check_agent,
    }
    for names, function in functions.items():
        yield Check("host", names, partial(_skip_unreadable, function, context))


def _skip_unreadable(
    function: Callable[[ValidationContext], Iterator[Result]], context: ValidationContext
) -> Iterator[Result]:
    """Skips a check where this user may not read what the agent's user may."""
    try:
        yield from function(context)
    except PermissionError as exc:
        what = f"uid {os.geteuid()} may not read {exc.filename}"
        raise CheckSkippedError(f"{what}: run it as root, or with the agent's uid") from None
    except FileNotFoundError as exc:
        # A running agent has removed it.
        raise CheckSkippedError(f"{exc.filename} was removed during the check: run it again") from None


def _check_state_in_memory(context: ValidationContext) -> Iterator[Result]:
    state = _state_dir(context)
    yield _check_memory("state-in-memory", {state: context.config.allow_disk})


def _check_files_in_memory(context: ValidationContext) -> Iterator[Result]:
    directories = {Path(app.directory): app.allow_disk for app in _published_apps(context)}
    yield _check_memory("files-in-memory", directories)


def _check_memory(check: str, directories: Mapping[Path, bool]) -> Result:
    """`directories`: whether each may be on a disk."""
    on_disk = {path: allowed for path, allowed in directories.items() if not _is_memory(path)}
    names = ", ".join(map(str, on_disk))
    if not on_disk:
        return _REPORTER.passed(check, f"in memory: {', '.join(map(str, directories))}")
    text = f"secrets may reach a disk: not on tmpfs or ramfs: {names}"
    report = _REPORTER.warning if all(on_disk.values()) else _REPORTER.critical
    return report(check, text, _MOUNT)


def _is_memory(path: Path) -> bool:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return is_memory(fd)
    finally:
        os.close(fd)


def _check_swap(context: ValidationContext) -> Iterator[Result]:
    in_memory = [path for path in _directories(context) if _is_memory(path)]
    devices = hosts.swap_devices(Path("/proc/swaps").read_text(encoding="utf-8"))
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    options = {path: hosts.mount_options(str(path.resolve()), mounts) for path in in_memory}
    swappable = [str(path) for path, some in options.items() if some.startswith("tmpfs") and not hosts.is_noswap(some)]
    if devices and (swappable or not in_memory):
        names = ", ".join(swappable) or "every tmpfs"
        text = f"the machine has swap on {', '.join(devices)}, and may swap out: {names}"
        todo = "turn swap off (`swapoff -a`), encrypt it, or mount the tmpfs with `noswap` (Linux 6.4)"
        yield _REPORTER.warning("no-swap", text, todo)
    else:
        text = "each tmpfs is mounted with noswap" if devices else "the machine has no swap"
        yield _REPORTER.passed("no-swap", text)


def _check_state_private(context: ValidationContext) -> Iterator[Result]:
    state = _state_dir(context)
    own = _mode(state)
    problems = list(own.problems(allowed=0o700, uid=None, gid=None))
    for path in sorted(state.iterdir()):
        if not path.is_symlink():
            problems += _mode(path).problems(allowed=0o700 if path.is_dir() else 0o600, uid=own.uid, gid=None)
    yield _private("state-private", problems, f"only the agent's user may read {state}")


def _check_files_private(context: ValidationContext) -> Iterator[Result]:
    problems: list[str] = []
    open_to_all: list[str] = []
    for app in _published_apps(context):
        live = Path(app.directory, "..data")
        folders = {Path(app.directory): None}
        for file in app.files:
            path = live / file.name
            if not path.is_file():
                continue
            folders |= dict.fromkeys(folder for folder in path.parents if live in folder.parents)
            uid, gid = file.owner or (None, None)
            problems += _mode(path).problems(allowed=file.mode, uid=uid, gid=gid)
            open_to_all += [f"{app.name}: {file.name}"] if file.mode & 0o007 else []
        for folder in folders:
            problems += _mode(folder).problems(allowed=0o755, uid=None, gid=None)
    if not problems and open_to_all:
        text = f"all users of this machine may read {', '.join(open_to_all)}"
        todo = 'set a mode whose last digit is 0, such as "0440", and an owner'
        yield _REPORTER.warning("files-private", text, todo)
    else:
        yield _private("files-private", problems, "the apps' files have the configured modes and owners")


def _private(check: str, problems: list[str], text: str) -> Result:
    if problems:
        todo = "correct it with chmod and chown, and find out what changed it"
        return _REPORTER.critical(check, "; ".join(problems), todo)
    return _REPORTER.passed(check, text)


def _check_credentials(context: ValidationContext) -> Iterator[Result]:
    vaults = {context.config.vault, *(app.vault for app in context.config.apps.values())}
    paths = sorted({Path(name) for vault in vaults for name in _credential_files(vault)})
    existing = [path for path in paths if path.is_file()]
    if not existing:
        raise CheckSkippedError("the login uses no existing file")
    problems = [text for path in existing for text in _mode(path).problems(allowed=0o600, uid=None, gid=None)]
    if problems:
        todo = "chmod 0600, and chown it to the agent's uid"
        yield _REPORTER.critical("credentials-private", "; ".join(problems), todo)
    else:
        text = f"only their owners may read the files of the login ({len(existing)})"
        yield _REPORTER.passed("credentials-private", text)


def _credential_files(vault: Vault) -> Iterable[str]:
    """The files with credentials. Kubernetes itself sets the mode of a service account's token, which is left out."""
    match vault.auth:
        case TokenAuth(token_file=name):
            found = [name]
        case AppRole():
            found = [vault.auth.role_id_file, vault.auth.secret_id_file]
        case CertAuth(key_file=name):
            found = [name]
        case JwtAuth(jwt_file=name) | PasswordAuth(password_file=name) | GitHubAuth(token_file=name):
            found = [name]
        case AwsAuth():
            found = [vault.auth.credentials_file, vault.auth.nonce_file]
        case GcpAuth(credentials_file=name):
            found = [name]
        case CfAuth(key_file=name) | KerberosAuth(keytab_file=name):
            found = [name]
        case _:
            found = []
    return [name for name in (*found, vault.client_key_file) if name is not None]


def _check_space(context: ValidationContext) -> Iterator[Result]:
    in_memory = [path for path in _directories(context) if _is_memory(path)]
    if not in_memory:
        raise CheckSkippedError("no directory exists in memory")
    worst, full = Level.INFO, []
    for path in in_memory:
        status = os.statvfs(path)
        if (level := hosts.space_level(status.f_bavail, status.f_blocks)) is not None:
            worst = level if worst is not Level.CRITICAL else worst
            full.append(f"{path} has {status.f_bavail * status.f_frsize // 1024} KiB left")
    if full:
        todo = "increase the size of the tmpfs, or remove files: during a change it has two generations"
        yield Result("host", "space-left", worst, passed=False, text="; ".join(full), todo=todo)
    else:
        yield _REPORTER.passed("space-left", "there is enough space for the next generation")


def _check_agent(context: ValidationContext) -> Iterator[Result]:
    path = Path(context.config.status.socket)
    if not context.config.apps:
        raise NotConfiguredError("the configuration has no apps, so no agent runs")
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise PermissionError(errno.EACCES, "", str(path))
    try:
        status = request_status(path, "GET", "/status.json", timeout=context.timeout / 2)
        with known_format(path):
            version = str(status["version"])
    except AgentUnavailableError as exc:
        todo = "start it with `lessee run`, or see its log"
        yield _REPORTER.critical("agent-running", f"{exc.what} ({path})", todo)
        return
    yield _REPORTER.passed("agent-running", "an agent is running")
    if version == __version__:
        yield _REPORTER.passed("agent-version", f"the agent has the installed version {__version__}")
    else:
        text = f"the agent has version {version}; installed is {__version__}"
        yield _REPORTER.warning("agent-version", text, "restart the agent")
    yield _check_core_files(path, context.timeout / 2)


def _check_core_files(path: Path, timeout: float) -> Result:
    check = "no-core-files"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(str(path))
        pid, _, _ = peer_credentials(connection)
    try:
        limit = hosts.core_file_limit(Path(f"/proc/{pid}/limits").read_text(encoding="utf-8"))
    except OSError:
        limit = None
    if limit is None:
        return _REPORTER.skipped(check, "the agent's process is in another PID namespace, or hidden")
    if not limit:
        return _REPORTER.passed(check, "the agent writes no core file")
    todo = "restart the agent, which disables core files at its start, and find out what enabled them"
    return _REPORTER.warning(check, f"the agent ({pid}) may write a core file, which would contain secrets", todo)


def _state_dir(context: ValidationContext) -> Path:
    """Raises CheckSkippedError where it does not exist."""
    state = Path(context.config.state_dir)
    if not state.is_dir():
        raise CheckSkippedError(f"{state} does not exist: no agent has run here")
    return state


def _published_apps(context: ValidationContext) -> list[App]:
    """The apps whose directories exist. Raises CheckSkippedError where no directory exists."""
    apps = [app for app in context.config.apps.values() if Path(app.directory).is_dir()]
    if not apps:
        raise CheckSkippedError("no app's directory exists")
    return apps


def _directories(context: ValidationContext) -> list[Path]:
    paths = [Path(context.config.state_dir), *(Path(app.directory) for app in context.config.apps.values())]
    return [path for path in paths if path.is_dir()]


def _mode(path: Path) -> FileMode:
    status = path.stat()
    return FileMode(str(path), stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
