"""Refuses services whose names adopt cannot use, before anything is planned with them."""

from collections.abc import Iterable, Iterator

from lessee.core.errors import ConfigError, LesseeError
from lessee.ops.adopt.policy.config_text import ROTATOR
from lessee.ops.adopt.policy.model import AppPlan, Project
from lessee.ops.adopt.policy.override_text import AGENT, HOLDER
from lessee.ops.adopt.policy.rotator_text import SERVICE

_OWN = frozenset({HOLDER, AGENT, SERVICE})


def check_service_names(project: Project, apps: Iterable[AppPlan]) -> None:
    """Raises ConfigError with each service of the project, or each app of the plan, whose name cannot be used."""
    problems = [*_of_services(project), *_of_apps(app.service for app in apps)]
    if problems:
        raise ConfigError(problems)


def _of_services(project: Project) -> Iterator[LesseeError]:
    for name in project.services:
        if name in _OWN:
            yield _problem(name, "a service of `lessee adopt` has this name")
        elif name.startswith("-"):
            yield _problem(name, "programs take this name for an option")


def _of_apps(names: Iterable[str]) -> Iterator[LesseeError]:
    """Their names are in paths, and those of policies and AppRoles, which Vault compares in lower case."""
    known = {ROTATOR: "the rotator's"}
    for name in names:
        if name in {".", ".."}:
            yield _problem(name, "this name has a meaning in paths")
        elif name.lower() in known:
            yield _problem(name, f"its policy and AppRole would be {known[name.lower()]}")
        known.setdefault(name.lower(), f"those of {name}")


def _problem(name: str, what: str) -> LesseeError:
    return LesseeError(what, where=f"services.{name}", todo="rename the service")
