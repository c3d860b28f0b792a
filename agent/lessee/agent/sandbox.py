"""Confines an agent to what its configuration needs, once it is loaded and before the first thread starts."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

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
)
from lessee.config.grammar.app import OnExpiry
from lessee.config.grammar.vault import AppRole
from lessee.core.errors import ConfigError, LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.host.project import Project
from lessee.process import capabilities, landlock, system_calls
from lessee.process.capabilities import Capability
from lessee.process.protected_fork import renew

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
    writable: tuple[Path, ...] | None
    """The directories beneath which it may write; None: wherever its user may."""

    dropped: frozenset[int] = frozenset()

    def as_status(self) -> dict[str, object]:
        """For the status: each part with `on`, or why it is off."""
        return {
            "capabilities": list(self.capabilities),
            "no_new_privileges": self.no_new_privileges,
            "seccomp": self.seccomp or "on",
            "landlock": self.landlock or "on",
        }

    def lacks(self, project: Project) -> str:
        """What a new configuration needs and this process has dropped; empty if there is nothing."""
        missing = sorted(self.dropped & needed_capabilities(project))
        if missing:
            return f"it needs {', '.join(f'CAP_{capabilities.name(one)}' for one in missing)}"
        if self.writable is None:
            return ""
        if program := _program(project.config):
            return f"{program} starts a program, which may write anywhere"
        allowed = [str(path) for path in self.writable]
        outside = (path for path in written(project.config) if not _is_beneath(str(path), allowed))
        return next((f"it writes to {path}" for path in outside), "")


def describe(status: Mapping[str, Any]) -> str:
    """A line about what `as_status` has returned, for a person."""
    names = ", ".join(f"CAP_{name}" for name in status["capabilities"]) or "no capabilities"
    privileges = "" if status["no_new_privileges"] else ", may gain privileges"
    parts = (f"{part} {'on' if status[part] == 'on' else f'off ({status[part]})'}" for part in ("seccomp", "landlock"))
    return "  ".join(("sandbox", f"{names}{privileges}", *parts))


def confine(project: Project) -> Sandbox:
    """Confine the calling thread, and all that it starts from now on. Never raises: a kernel may lack each part."""
    had = capabilities.numbers("CapPrm")
    kept = capabilities.keep_only(needed_capabilities(project))
    is_bound = capabilities.forbid_new_privileges()
    writable, landlocked = None, "the kernel has no no_new_privs"
    if is_bound:
        writable, landlocked = _restrict_writes(project.config)
    return Sandbox(
        capabilities=tuple(capabilities.name(number) for number in sorted(kept)),
        no_new_privileges=is_bound,
        seccomp=system_calls.deny() if is_bound else "the kernel has no no_new_privs",
        landlock=landlocked,
        writable=writable,
        dropped=had - kept,
    )


def _restrict_writes(config: Config) -> tuple[tuple[Path, ...] | None, str]:
    if program := _program(config):
        return None, f"{program} starts a program, which would inherit it"
    # An app that a reload adds has its directory next to the others, and where one is removed, so is its directory.
    directories = tuple(sorted({_existing(path.parent) for path in written(config)}))
    reason = landlock.restrict_writes(directories)
    return (None if reason else directories), reason


def written(config: Config) -> Iterator[Path]:
    """What the agent writes: files and directories."""
    yield Path(config.state_dir)
    yield Path(config.status.socket)
    if config.audit_trail is not None:
        yield Path(config.audit_trail.directory)
        yield Path(config.audit_trail.key_file)
    for app in config.apps.values():
        yield Path(app.directory)
        if isinstance(app.fallback, LastKnownGoodFallback):
            yield Path(app.fallback.file)
        auth = app.vault.auth
        if isinstance(auth, AppRole) and auth.remove_secret_id_file_after_reading and auth.secret_id_file is not None:
            yield Path(auth.secret_id_file)


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


def _existing(path: Path) -> Path:
    """The nearest directory that exists, without links."""
    while not path.is_dir() and path != path.parent:
        path = path.parent
    try:
        return path.resolve()
    except OSError:  # Another user changes it at this moment.
        return _existing(path.parent)


def _is_beneath(path: str, directories: Iterable[str]) -> bool:
    try:
        real = os.path.realpath(path)
    except OSError:
        # Another user changes it at this moment: no new process helps, and the publisher follows no foreign link.
        return True
    return any(real.startswith(f"{directory.rstrip('/')}/") for directory in directories)


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
    for block in (config.vault, *(app.vault for app in config.apps.values())):
        yield from _named_files(msgspec.to_builtins(block))
    for app in config.apps.values():
        if app.notify is not None:
            yield from _named_files(msgspec.to_builtins(app.notify.target))
    if config.status.listen is not None and config.status.listen.token_file is not None:
        yield Path(config.status.listen.token_file)


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
