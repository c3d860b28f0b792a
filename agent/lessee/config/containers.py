"""Checks that containers are named exactly enough, and finds those that have the named labels."""

from collections.abc import Iterable, Mapping

from lessee.config.grammar.app import LabeledContainer
from lessee.config.grammar.problems import Path, Problems

_PROJECT, _SERVICE = (f"com.docker.compose.{name}" for name in ("project", "service"))


def check_containers(containers: Iterable[LabeledContainer], at: Path, what_for: str, problems: Problems) -> None:
    """Report entries that name no container, or those of others too. `what_for`: what the containers get."""
    for index, container in enumerate(containers):
        if (container.project is None) is not (container.service is None):
            missing = "service" if container.service is None else "project"
            what = f"`{missing}` is missing, so that containers of others would {what_for}"
            problems.add_dependent((*at, index), what, todo=f"write `{missing}: NAME`")
        if container == LabeledContainer():
            todo = "write `project` and `service`, or `label: KEY=VALUE`"
            problems.add_dependent((*at, index), "it names no container", todo=todo)


def is_named(containers: Iterable[LabeledContainer], labels: Mapping[str, str]) -> bool:
    """Whether one of these entries is for a container with these labels."""
    return any(_matches(container, labels) for container in containers)


def _matches(container: LabeledContainer, labels: Mapping[str, str]) -> bool:
    wanted = {_PROJECT: container.project, _SERVICE: container.service}
    if container.label is not None:
        key, _, value = container.label.partition("=")
        wanted[key] = value
    named = {key: value for key, value in wanted.items() if value is not None}
    return bool(named) and all(labels.get(key) == value for key, value in named.items())
