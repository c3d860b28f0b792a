"""Confines an agent to what its configuration needs, once it is loaded and before the first thread starts."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from lessee.config import (
    CmdlineTarget,
    CommandProbe,
    CommandTarget,
    Config,
    ContainerTarget,
    File,
    LastKnownGoodFallback,
    NameTarget,
    PidFileTarget,
    logins_of,
)
from lessee.config.grammar.app import OnExpiry
from lessee.config.grammar.vault import AppRole, credential_command
from lessee.core.errors import ConfigError, LesseeError, WriteError
from lessee.core.immutable import ImmutableStruct
from lessee.core.printable import spelled_out
from lessee.host.directories import Ownership, open_directory
from lessee.host.project import Project
from lessee.process import capabilities, landlock, system_calls
from lessee.process.capabilities import Capability
from lessee.process.protected_fork import renew
from lessee.publishing.publication_store import directory_ownership

if TYPE_CHECKING:
    from lessee.agent.machine.status.fields import SandboxFields

_LAST_PRIVILEGED_PORT = 1023
_BYPASS = {Capability.DAC_READ_SEARCH, Capability.DAC_OVERRIDE}
"""With one of these a process may read what its user may not."""
_CHILD_INHERITS = "the child of lessee exec would inherit it"


class Sandbox(ImmutableStruct, frozen=True):
    """What is in force. Each reason is why a part is not, and empty where it is."""

    capabilities: tuple[str, ...]
    """The capabilities that the agent has, without CAP_."""
    no_new_privileges: bool
    seccomp: str
    """The reason."""
    landlock: str
    """The reason."""
    writable: "Writable | None"
    """None: wherever its user may."""

    dropped: frozenset[int] = frozenset()

    def as_status(self) -> "SandboxFields":
        """For the status: each part with `on`, or why it is off."""
        return {
            "capabilities": list(self.capabilities),
            "no_new_privileges": self.no_new_privileges,
            "seccomp": self.seccomp or "on",
            "landlock": self.landlock or "on",
            "writable": list(self.writable.paths) if self.writable is not None else None,
        }

    def lacks(self, project: Project) -> str:
        """What a new configuration needs and this process has dropped; empty if there is nothing."""
        missing = sorted(self.dropped & needed_capabilities(project))
        if missing:
            return f"it needs {', '.join(f'CAP_{capabilities.name(one)}' for one in missing)}"
        if self.writable is None:
            return ""
        if program := _program(project.config) or _login_program(project.config):
            return f"{program} starts a program, which may write anywhere"
        places = _places(project.config, os.environ)
        return next((f"it writes to {place.path}" for place in places if not self.writable.allows(place)), "")


class Writable(ImmutableStruct, frozen=True):
    """The directories beneath which a confined agent may write, or remove files."""

    paths: tuple[str, ...]
    """As they were named; the first are those of the agent itself."""
    rights: Mapping[tuple[int, int], int]
    """By their devices and inodes: Landlock knows a directory by these, and one that was made again is another."""
    missing: frozenset[Path]
    """Those that could neither be made before nor have a parent in which the agent could make them later."""

    def allows(self, place: "_Place") -> bool:
        """Whether the agent may write there, or could not in a new process either."""
        if place.directory in self.missing:
            return True
        try:
            real = Path(os.path.realpath(place.directory))
        except OSError:
            # Another user changes it at this moment: no new process helps, and the publisher follows no foreign link.
            return True
        inodes = map(_inode, (real, *real.parents))
        return any(self.rights.get(inode, 0) & place.rights == place.rights for inode in inodes if inode is not None)


class _Place(ImmutableStruct, frozen=True):
    path: Path
    """A file or directory that the agent writes."""
    directory: Path
    """In which it does so."""
    make: Ownership | None
    """What the agent makes it with; None: it does not make it."""
    rights: int = landlock.ALL


_OWN: Ownership = (0o700, None, None)
_ROOT = Path("/")
_MOST_NAMED = 8
_MOST_INPUTS = 1000
"""Files of a source that are looked at, to find out which capabilities the agent needs."""
_KEY_SIZE = 32
"""Bytes. The least that a key has."""


def describe(status: Mapping[str, Any]) -> str:
    """A line about what `as_status` has returned, for a person."""
    names = ", ".join(f"CAP_{name}" for name in status["capabilities"]) or "no capabilities"
    privileges = "" if status["no_new_privileges"] else ", may gain privileges"
    parts = (f"{part} {'on' if status[part] == 'on' else f'off ({status[part]})'}" for part in ("seccomp", "landlock"))
    line = "  ".join(("sandbox", f"{names}{privileges}", *parts))
    if not (writable := status.get("writable")):
        return line
    more = f" and {len(writable) - _MOST_NAMED} more" if len(writable) > _MOST_NAMED else ""
    return spelled_out(f"{line}  writable {', '.join(writable[:_MOST_NAMED])}{more}")


def confine(project: Project, *, make: bool = True) -> Sandbox:
    """Confine the calling thread, and all that it starts from now on. Never raises: a kernel may lack each part.

    With `make`, it first makes the directories that the agent would make later, because it then may no longer.
    """
    had = capabilities.numbers("CapPrm")
    kept = capabilities.keep_only(needed_capabilities(project))
    is_bound = capabilities.forbid_new_privileges()
    writable, landlocked = None, "the kernel has no no_new_privs"
    if is_bound:
        writable, landlocked = _restrict_writes(project.config, make=make)
    return Sandbox(
        capabilities=tuple(capabilities.name(number) for number in sorted(kept)),
        no_new_privileges=is_bound,
        seccomp=system_calls.deny() if is_bound else "the kernel has no no_new_privs",
        landlock=landlocked,
        writable=writable,
        dropped=had - kept,
    )


def _restrict_writes(config: Config, *, make: bool) -> tuple[Writable | None, str]:
    if program := _program(config) or _login_program(config):
        return None, f"{program} starts a program, which would inherit it"
    places = list(_places(config, os.environ))
    for place in places:
        if place.directory.absolute() == _ROOT:
            return None, f"{place.path} is directly in /, and everything beneath / would be writable"
    granting = _Granting(make=make)
    reason = landlock.restrict_writes(granting.grants(places))
    return (None if reason else granting.granted()), reason


class _Granting:
    """Opens the directories that the agent writes to, and remembers them."""

    def __init__(self, *, make: bool) -> None:
        self._make = make
        self._paths: dict[str, None] = {}
        self._rights: dict[tuple[int, int], int] = {}
        self._missing: set[Path] = set()

    def grants(self, places: Iterable[_Place]) -> Iterator[tuple[int, int]]:
        """An open directory, and the rights to it, for each place: the directory itself, after it was made.

        Where it cannot be made yet, the nearest parent, but never `/`.
        """
        root = _inode(_ROOT)
        for place in places:
            directory, fd = self._open(place)
            if fd is None:
                continue
            try:
                status = os.fstat(fd)
                if (inode := (status.st_dev, status.st_ino)) == root:
                    self._missing.add(place.directory)
                    continue
                self._rights[inode] = self._rights.get(inode, 0) | place.rights
                self._paths[str(directory)] = None
                yield fd, place.rights
            finally:
                os.close(fd)

    def granted(self) -> Writable:
        """What was given out."""
        return Writable(tuple(self._paths), self._rights, frozenset(self._missing))

    def _open(self, place: _Place) -> tuple[Path, int | None]:
        make = place.make if self._make else None
        with suppress(WriteError):
            return place.directory, open_directory(place.directory, make=make)
        if place.make is None:
            self._missing.add(place.directory)
            return place.directory, None
        if not self._make:
            self._paths[str(place.directory)] = None
            return place.directory, None
        for parent in place.directory.absolute().parents:
            with suppress(WriteError):
                return parent, open_directory(parent, make=None)
        return _ROOT, None


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _places(config: Config, environ: Mapping[str, str]) -> Iterator[_Place]:
    """What the agent writes. It publishes in an app's directory, and replaces files in the directory of each."""
    yield _Place(Path(config.state_dir), Path(config.state_dir), _OWN)
    yield _in_parent(config.status.socket, _OWN)
    if config.audit_trail is not None:
        directory = Path(config.audit_trail.directory)
        yield _Place(directory, directory, _OWN)
        yield from _new_key(Path(config.audit_trail.key_file))
    for app in config.apps.values():
        yield _Place(Path(app.directory), Path(app.directory), directory_ownership(app))
        if app.socket is not None:
            yield _in_parent(app.socket.path, (0o711, None, None))
        if app.credentials is not None and not _is_inherited(app.credentials.path):
            yield _in_parent(app.credentials.path, (0o711, None, None))
        if isinstance(app.fallback, LastKnownGoodFallback):
            from lessee.host.encrypted_file import key_file  # noqa: PLC0415  # Few apps have a snapshot.

            yield _in_parent(app.fallback.file, _OWN)
            yield from _new_key(key_file(environ))
    for auth in dict.fromkeys(vault.auth for vault in logins_of(config)):
        if isinstance(auth, AppRole) and auth.remove_secret_id_file_after_reading and auth.secret_id_file is not None:
            yield _in_parent(auth.secret_id_file, None, landlock.REMOVE_FILE)


def _is_inherited(socket: str) -> bool:
    """Whether systemd has made this socket for the agent, which then writes nothing there."""
    from lessee.host.unix_listener import inherited_socket  # noqa: PLC0415  # Few agents have such a socket.

    found = inherited_socket(Path(socket))
    if found is not None:
        found.close()
    return found is not None


def _in_parent(file: str, make: Ownership | None, rights: int = landlock.ALL) -> _Place:
    return _Place(Path(file), Path(file).parent, make, rights)


def _new_key(path: Path) -> Iterator[_Place]:
    """The agent makes a key that is missing, also after someone has removed what was too short to be one."""
    try:
        is_key = path.stat().st_size >= _KEY_SIZE
    except OSError:
        is_key = False
    if not is_key:
        yield _in_parent(str(path), None)


def _program(config: Config) -> str:
    """The key of a program that the agent starts, which inherits what restricts the agent; empty without one."""
    for name, app in config.apps.items():
        programs = {
            "check": app.check is not None,
            "notify": app.notify is not None and isinstance(app.notify.target, CommandTarget),
            "ready": app.ready is not None and isinstance(app.ready.probe, CommandProbe),
            "on_expiry": isinstance(app.on_expiry, OnExpiry),
        }
        if keys := [key for key, is_set in programs.items() if is_set]:
            return f"apps.{name}.{keys[0]}"
    return ""


def _login_program(config: Config) -> str:
    """The same of a login: it runs as the agent's own user."""
    return "vault.auth" if any(credential_command(vault.auth) for vault in logins_of(config)) else ""


def apps_of_own_user(config: Config) -> list[str]:
    """The apps that certainly run as the agent's user.

    The agent signals them and may signal no other user's, or, unless it is root, no other user may read their files.
    """
    may_signal = Capability.KILL in capabilities.numbers("CapEff")
    return [
        name
        for name, app in config.apps.items()
        if (not may_signal and app.notify and _is_signaled(app.notify.target))
        or (os.geteuid() != 0 and app.files and all(map(_is_readable_by_agent_alone, app.files)))
    ]


def _is_readable_by_agent_alone(file: File) -> bool:
    uid = os.geteuid() if file.owner is None else file.owner[0]
    return uid == os.geteuid() and not file.mode & 0o077


def separate(project: Project, user: tuple[int, int | None]) -> Sandbox:
    """Prepare for a child of another user: the agent gets its group, so that it can read new files, and drops the rest.

    The child inherits neither a capability nor the hope of one. Raises ConfigError.
    """
    uid, gid = user
    if uid in {0, os.geteuid()}:
        whose = "root" if uid == 0 else "the agent"
        raise _user_error(f"the child would be {whose}, and read the agent's credentials", "write the uid of the app")
    had = capabilities.numbers("CapEff")
    required = {Capability.SETUID, Capability.SETGID, Capability.KILL}
    if missing := sorted(required - had):
        names = ", ".join(f"CAP_{one.name}" for one in missing)
        raise _user_error(f"the agent lacks {names}", "add them, as by `cap_add: [SETUID, SETGID, KILL]`")
    if gid is not None:
        os.setresgid(gid, gid, gid)
    kept = capabilities.keep_only(required | needed_capabilities(project))
    renew()
    return Sandbox(
        capabilities=tuple(capabilities.name(number) for number in sorted(kept)),
        no_new_privileges=capabilities.forbid_new_privileges(),
        seccomp=_CHILD_INHERITS,
        landlock=_CHILD_INHERITS,
        writable=None,
        dropped=had - kept,
    )


def unconfined() -> Sandbox:
    """What is in force for an agent whose child has its own user: what it was started with."""
    return Sandbox(
        capabilities=tuple(capabilities.name(number) for number in sorted(capabilities.numbers("CapPrm"))),
        no_new_privileges=capabilities.has_no_new_privileges(),
        seccomp=_CHILD_INHERITS,
        landlock=_CHILD_INHERITS,
        writable=None,
        dropped=frozenset(),
    )


def _user_error(what: str, todo: str) -> ConfigError:
    return ConfigError([LesseeError(what, where="exec.user", todo=todo)])


def needed_capabilities(project: Project) -> frozenset[Capability]:
    """The capabilities without which the agent could not do what the configuration says, whether it has them or not."""
    config = project.config
    needed = set[Capability]()
    if any(app.notify and _is_signaled(app.notify.target) for app in config.apps.values()):
        needed.add(Capability.KILL)
    if any(_is_foreign(owner) for owner in _owners(config)):
        # The directory and its files belong to another user, and are still replaced and removed by the agent.
        needed |= {Capability.CHOWN, Capability.FOWNER, Capability.DAC_OVERRIDE}
    if config.programs.user is not None and _program(config):
        needed |= {Capability.SETUID, Capability.SETGID, Capability.KILL}
    if config.status.listen is not None:
        port = int(config.status.listen.address.rpartition(":")[2])
        needed |= {Capability.NET_BIND_SERVICE} if port <= _LAST_PRIVILEGED_PORT else set()
    if not capabilities.numbers("CapEff") & _BYPASS:
        return frozenset(needed)
    with capabilities.suspended():
        if not all(_may(path, os.R_OK) for path in inputs(project)):
            needed.add(Capability.DAC_READ_SEARCH)
        if not all(_may(path, os.R_OK | os.W_OK | os.X_OK) for path in _own_directories(config)):
            needed |= {Capability.FOWNER, Capability.DAC_OVERRIDE}
    return frozenset(needed)


def inputs(project: Project) -> Iterator[Path]:
    """The files that the agent reads: its configuration, templates, credentials, CAs and certificates."""
    yield project.path
    yield from map(Path, project.stamps)
    config = project.config
    for block in logins_of(config):
        yield from _named_files(msgspec.to_builtins(block))
    for source in config.sources.values():
        yield from map(Path, source.credential_files)
        if source.directory is not None:
            yield from _files_below(Path(source.directory))
    for app in config.apps.values():
        if app.notify is not None:
            yield from _named_files(msgspec.to_builtins(app.notify.target))
    if config.status.listen is not None and config.status.listen.token_file is not None:
        yield Path(config.status.listen.token_file)
    yield from (Path(app.socket.token_file) for app in config.apps.values() if app.socket and app.socket.token_file)


def _files_below(directory: Path) -> Iterator[Path]:
    """The directory, and what is in it as far as its user may look: links of Kubernetes are followed."""
    yield directory
    with suppress(OSError):
        yield from islice(directory.rglob("*"), _MOST_INPUTS)


def _named_files(block: object) -> Iterator[Path]:
    """The values of all keys that name a file: `*_file`, and those of `header_files`."""
    if not isinstance(block, dict):
        return
    for key, value in block.items():
        if key == "header_files":
            yield from map(Path, value.values())
        elif isinstance(value, str) and key.endswith("_file"):
            yield Path(value)
        else:
            yield from _named_files(value)


def _is_signaled(target: object) -> bool:
    match target:
        case NameTarget() | CmdlineTarget() | PidFileTarget():
            return True
        case ContainerTarget(through_engine=through_engine):
            return not through_engine
        case _:
            return False


def _owners(config: Config) -> Iterator[tuple[int, int | None] | None]:
    for app in config.apps.values():
        yield app.owner
        yield from (file.owner for file in app.files)


def _is_foreign(owner: tuple[int, int | None] | None) -> bool:
    if owner is None:
        return False
    uid, gid = owner
    return uid != os.geteuid() or (gid is not None and gid not in {os.getegid(), *os.getgroups()})


def _own_directories(config: Config) -> Iterator[Path]:
    yield Path(config.state_dir)
    yield Path(config.status.socket).parent
    for app in config.apps.values():
        yield Path(app.directory)


def _may(path: Path, mode: int) -> bool:
    """Whether this process may access it, or the nearest directory that exists, in which it would be made."""
    try:
        if os.access(path, mode, effective_ids=True):
            return True
        if path.exists() or path == path.parent:
            return False
    except OSError:  # A directory above cannot be searched.
        return False
    return True if mode == os.R_OK else _may(path.parent, os.W_OK | os.X_OK)
