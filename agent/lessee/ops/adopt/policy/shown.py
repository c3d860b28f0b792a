"""Finds the moved values that `docker inspect` shows of a service in any case: in its labels, its name of the host."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lessee.core.immutable import replace
from lessee.ops.adopt.policy.model import AppPlan, ManualStep, Project

_NAMED = frozenset({"environment", "labels", "command", "entrypoint", "secrets", "configs", "env_file"})
"""The parts of a service whose texts are uses."""
_WORD = re.compile(r"[\w-]+")
_NAMED_BELOW = frozenset({"build.args", "healthcheck.test"})


def other_texts(data: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The texts of a resolved service that are no uses, by their paths: `hostname`, `logging.options.tag`."""
    return tuple(_texts({name: value for name, value in data.items() if name not in _NAMED}, ""))


def words(project: Project) -> frozenset[str]:
    """Words that are also names in the project, such as `postgres`: a value that is one of them shows nothing."""
    names = [project.name, project.folder]
    names += [text for name, one in project.services.items() for text in (name, one.image.reference)]
    return frozenset(word for name in names for word in _WORD.findall(name))


def shown(project: Project, apps: Iterable[AppPlan], values: Mapping[str, str]) -> tuple[tuple[str, str, str], ...]:
    """Service, path and what names the value, for each value that stays in the project as a service gets it."""
    moved = {(one.service, one.name) for app in apps for one in app.rendered}
    texts = [(name, path, text) for name, service in project.services.items() for path, text in service.other]
    texts += [(use.service, use.name, use.value) for use in project.uses if (use.service, use.name) not in moved]
    return tuple(
        (service, path, name) for service, path, text in texts for name, value in values.items() if value in text
    )


def shown_steps(project: Project, values: Mapping[str, str]) -> tuple[ManualStep, ...]:
    """A step for each of them that is no use: a use has one of its own."""
    found = shown(replace(project, uses=()), (), values)
    what = "has the value of"
    return tuple(
        ManualStep(service, f"{path} of service {service} {what} {name}", "write another value there")
        for service, path, name in found
    )


def _texts(data: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(data, Mapping):
        for key, value in data.items():
            inner = f"{path}.{key}" if path else str(key)
            if inner not in _NAMED_BELOW:
                yield from _texts(value, inner)
                yield from [(inner, str(key))] * bool(path)
    elif isinstance(data, list):
        for at, value in enumerate(data):
            yield from _texts(value, f"{path}[{at}]")
    elif data is not None:
        yield path, str(data)
