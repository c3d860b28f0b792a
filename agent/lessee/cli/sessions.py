"""Gives each of several agents by one configuration a state of its own: two clients may start one MCP server."""

from contextlib import suppress
from itertools import count
from pathlib import Path

from lessee.config import SESSION
from lessee.core.errors import ConfigError, LesseeError
from lessee.host.project import Project, load
from lessee.publishing.state_store import StateLockedError, StateStore
from lessee.telemetry.logs import log


def begin(project: Project, environ: dict[str, str], *, patience: float, respawns: bool) -> tuple[Project, StateStore]:
    """The configuration of the first session whose state nobody holds, and that state; `environ` is as it is then.

    A number is taken again when its session is over, and with it the tokens and leases of one that was killed. A state
    that is the same for all is waited for, `patience` seconds. Raises WriteError, and ConfigError where a session
    would have what another has.
    """
    is_given = SESSION in environ
    for number in count(2):
        with suppress(StateLockedError):
            return project, _ledger(project)
        if is_given:
            break
        following = _load(project, environ | {SESSION: str(number)}, respawns=respawns)
        if following.config.state_dir == project.config.state_dir:
            break
        _refuse_shared(project, following)
        log("info", "another session goes on", held=project.config.state_dir)
        project, environ[SESSION] = following, str(number)
    try:
        return project, _ledger(project, patience)
    except StateLockedError as exc:
        todo = f"end that one, or write `state: …/${{{SESSION}:-1}}`, so that each session has its own"
        raise StateLockedError(exc.what, where=exc.where, todo=todo) from None


def _ledger(project: Project, patience: float = 0.0) -> StateStore:
    return StateStore(Path(project.config.state_dir), allow_disk=project.config.allow_disk, patience=patience)


def _load(project: Project, environ: dict[str, str], *, respawns: bool) -> Project:
    [app] = project.config.apps
    return load(project.path, environ, only=app, prepare=False, for_child=True, respawns=respawns)


def _refuse_shared(project: Project, following: Project) -> None:
    [app], [its] = project.config.apps.values(), following.config.apps.values()
    shared = {
        f"apps.{app.name}.directory": app.directory == its.directory,
        "status.socket": project.config.status.socket == following.config.status.socket,
    }
    problems = [
        LesseeError("another session has it", where=where, todo=f"write `${{{SESSION}:-1}}` into it, as into `state`")
        for where, is_so in shared.items()
        if is_so
    ]
    if problems:
        raise ConfigError(problems)
