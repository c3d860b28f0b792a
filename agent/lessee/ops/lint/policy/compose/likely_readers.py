"""Chooses the service that runs an app, where the Compose file leaves only one."""

import re

from lessee.config import App, CmdlineTarget, NameTarget
from lessee.ops.lint.policy.compose.model import Service
from lessee.ops.lint.policy.compose.stack import Stack
from lessee.ops.lint.policy.signals import names_in


def likely_reader(stack: Stack, app: App) -> Service | None:
    """The service that the app's name, process or variables identify, or the only one; None if several could be it."""
    known = tuple(stack.readers(app))
    candidates = tuple(stack.possible_readers(app))
    for choose in (_runs_process, _sets_variables, _is_built, _is_any):
        if known:
            break
        known = tuple(service for service in candidates if choose(stack, app, service))
    return known[0] if len(known) == 1 else None


def _runs_process(_: Stack, app: App, service: Service) -> bool:
    match app.notify and app.notify.target:
        case NameTarget(name):
            return name in names_in(service.words)
        case CmdlineTarget(pattern):
            return bool(service.words) and re.search(pattern, " ".join(service.words)) is not None
        case _:
            return False


def _sets_variables(stack: Stack, app: App, service: Service) -> bool:
    return not stack.variables.get(app.name, frozenset()).isdisjoint(service.environment)


def _is_built(_stack: Stack, _app: App, service: Service) -> bool:
    """A project builds its own apps, and takes stores and proxies from a registry."""
    return service.is_built


def _is_any(_stack: Stack, _app: App, _service: Service) -> bool:
    return True
