"""Gives each concurrent session of one configuration its own state: two clients may start the same MCP server."""

from contextlib import suppress
from itertools import count
from pathlib import Path

from lessee.config import SESSION
from lessee.core.errors import ConfigError, LesseeError
from lessee.host.project import Project, load
from lessee.publishing.state_store import StateLockedError, StateStore
from lessee.telemetry.logs import log

_END_TIMEOUT = 0.1
"""Seconds: as `run.LOCK_TIMEOUT`, but each session that runs costs the next ones as much."""


def acquire_state(
    project: Project, environ: dict[str, str], *, lock_timeout: float, respawns: bool
) -> tuple[Project, StateStore]:
    """The configuration and the state store of the first free session; sets its number in `environ`.

    A number becomes free when its session ends; the next session reuses the tokens and leases of a killed one. Where
    all sessions have the same `state_dir`, it waits up to `lock_timeout` seconds for the lock.
    Raises WriteError, and ConfigError where two sessions would share a directory or a socket.
    """
    is_given = SESSION in environ
    for number in count(2):
        with suppress(StateLockedError):
            return project, _open_state_store(project, _END_TIMEOUT)
        if is_given:
            break
        next_project = _load(project, environ | {SESSION: str(number)}, respawns=respawns)
        if next_project.config.state_dir == project.config.state_dir:
            break
        _require_distinct(project, next_project)
        log("info", "session already running", state_dir=project.config.state_dir)
        project, environ[SESSION] = next_project, str(number)
    try:
        return project, _open_state_store(project, lock_timeout)
    except StateLockedError as exc:
        todo = f"stop the other agent, or write `state_dir: …/${{{SESSION}:-1}}` to give each session its own state"
        raise StateLockedError(exc.what, where=exc.where, todo=todo) from None


def _open_state_store(project: Project, lock_timeout: float = 0.0) -> StateStore:
    return StateStore(Path(project.config.state_dir), allow_disk=project.config.allow_disk, lock_timeout=lock_timeout)


def _load(project: Project, environ: dict[str, str], *, respawns: bool) -> Project:
    [app] = project.config.apps
    return load(project.path, environ, only=app, prepare=False, for_child=True, respawns=respawns, refuses_apps=True)


def _require_distinct(project: Project, next_project: Project) -> None:
    [app], [other] = project.config.apps.values(), next_project.config.apps.values()
    shared = {
        f"apps.{app.name}.directory": app.directory == other.directory,
        "status.socket": project.config.status.socket == next_project.config.status.socket,
    }
    problems = [
        LesseeError(
            "another session uses the same path",
            where=where,
            todo=f"include `${{{SESSION}:-1}}` in it, as in `state_dir`",
        )
        for where, is_shared in shared.items()
        if is_shared
    ]
    if problems:
        raise ConfigError(problems)
