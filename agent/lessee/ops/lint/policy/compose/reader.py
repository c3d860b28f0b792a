"""Reads and merges Compose files into services."""

import re
from collections.abc import Callable, Iterable, Iterator
from posixpath import dirname, join, normpath

from yaml.nodes import MappingNode, Node

from lessee.config.grammar.nodes import documents
from lessee.core.errors import ConfigError
from lessee.ops.lint.policy.compose.model import Place, Service, Volume
from lessee.ops.lint.policy.compose.service import (
    REPLACING_TAGS,
    RESET_TAG,
    Origin,
    child,
    items,
    mapping,
    service_of,
    text,
    volume_of,
)
from lessee.ops.lint.policy.findings import Finding, split_location

_INTERPOLATED = re.compile(r"(?<!\$)\$\{?([A-Za-z_][A-Za-z0-9_]*)")


class ComposeReader:
    """Reads Compose files, and those that they extend and include; records those that it cannot read."""

    def __init__(self, load: Callable[[str], str]) -> None:
        """`load` returns the text of a file by its path, or raises ConfigError."""
        self.findings: list[Finding] = []
        self.volumes: dict[str, Volume] = {}
        """The named volumes of the files that were read."""
        self.interpolated: set[str] = set()
        """The variables that the files read as `${NAME}`."""
        self._load = load
        self._roots: dict[str, list[MappingNode]] = {}

    def services(self, paths: Iterable[str]) -> dict[str, Service]:
        """The services of all these files, merged in order as by `docker compose -f A -f B`."""
        services: dict[str, Service] = {}
        files = list(paths)
        self._read(files, _folder(files), services, set())
        return services

    def _read(self, files: Iterable[str], folder: str, services: dict[str, Service], seen: set[str]) -> None:
        """`folder`: the directory that paths in these files are relative to."""
        for file in files:
            if file in seen:
                continue
            seen.add(file)
            for root in self._documents(file):
                for theirs, below in _included(root, folder):
                    self._read(theirs, below, services, seen)
                self._take(root, file, folder, services)

    def root(self, file: str) -> MappingNode | None:
        """The root of a file with one document, if it was read."""
        roots = self._roots.get(file, [])
        return roots[0] if len(roots) == 1 else None

    def _take(self, root: MappingNode, file: str, folder: str, services: dict[str, Service]) -> None:
        for name, (key, node) in mapping(child(root, "volumes")).items():
            self.volumes[name] = volume_of(file, name, key, node)
        services_node = child(root, "services")
        if services_node is not None and services_node.tag in REPLACING_TAGS:
            services.clear()
        for name, (_, node) in _services_in(root).items():
            service = self._service(root, (file, name), folder, frozenset())
            if node.tag in REPLACING_TAGS:
                services.pop(name, None)
            if node.tag != RESET_TAG:
                services[name] = service.over(services[name]) if name in services else service

    def _service(
        self, root: MappingNode, which: tuple[str, str], folder: str, above: frozenset[tuple[str, str]]
    ) -> Service:
        """`which`: the service's file and name. `above`: the services that extend it."""
        file, name = which
        if name not in _services_in(root):
            return Service(name, Place(file, 0))  # Compose itself reports the missing service.
        key, node = _services_in(root)[name]
        service = service_of(Origin(file, folder), name, key, node)
        extends = child(node, "extends")
        base = text(child(extends, "service")) or text(extends)
        if base is None or which in above:
            return service
        above |= {which}
        other = text(child(extends, "file"))
        if other is None:
            return service.over(self._service(root, (file, base), folder, above))
        other = normpath(join(folder, other))
        for candidate in reversed(self._documents(other)):
            if base in _services_in(candidate):
                return service.over(self._service(candidate, (other, base), dirname(other), above))
        return service

    def _documents(self, file: str) -> list[MappingNode]:
        if file not in self._roots:
            self._roots[file] = []
            try:
                read = self._load(file)
                self._roots[file] = documents(read.removeprefix("\ufeff"), file)
                self.interpolated.update(_INTERPOLATED.findall(read))
            except ConfigError as exc:
                [problem] = exc.problems
                _, line = split_location(problem.where)
                self.findings.append(Finding("compose-unreadable", "error", problem.what, "", file, line))
        return self._roots[file]


def _services_in(root: MappingNode) -> "dict[str, tuple[Node, Node]]":
    node = child(root, "services")
    return mapping(node) if node is None or node.tag != RESET_TAG else {}


def _included(root: MappingNode, folder: str) -> Iterator[tuple[list[str], str]]:
    """Files that are included together, and the directory that paths in them are relative to."""
    for item in items(child(root, "include")):
        node = child(item, "path") or item
        names = [name for file in items(node) or [node] if (name := text(file)) is not None]
        files = [normpath(join(folder, name)) for name in names]
        project = text(child(item, "project_directory"))
        yield files, normpath(join(folder, project)) if project is not None else _folder(files)


def _folder(files: list[str]) -> str:
    return dirname(files[0]) if files else ""
