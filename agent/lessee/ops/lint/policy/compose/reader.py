"""Reads and merges Compose files into services."""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from posixpath import dirname, join, normpath
from typing import NamedTuple

from yaml.nodes import MappingNode, Node

from lessee.config.grammar.nodes import documents
from lessee.core.errors import ConfigError
from lessee.ops.lint.policy.compose.model import Service, Volume
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


class Root(NamedTuple):
    """A document of a Compose file. `env_files`: those that its `include` names, for its variables."""

    node: MappingNode
    origin: Origin
    env_files: tuple[str, ...] | None


class Definition(NamedTuple):
    """What one file says of a service."""

    origin: Origin
    name: str
    key: Node
    node: Node


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

    @property
    def files(self) -> tuple[str, ...]:
        """All files that it has read."""
        return tuple(self._roots)

    def services(self, paths: Iterable[str]) -> dict[str, Service]:
        """The services of all these files, merged in order as by `docker compose -f A -f B`."""
        services: dict[str, Service] = {}
        for root, origin, _ in self.roots(paths):
            self._take(root, origin, services)
        return services

    def roots(self, paths: Iterable[str]) -> Iterator[Root]:
        """The documents of all these files in the order of their merge, those that they include first."""
        files = list(paths)
        return self._read(files, _folder(files), None, set())

    def definitions(self, root: MappingNode, origin: Origin) -> Iterator[tuple[str, Definition]]:
        """What a document says of each service, by the service's name: that which it extends first."""
        for name in _services_in(root):
            yield from ((name, definition) for definition in self._chain(root, origin, name, frozenset()))

    def _read(
        self, files: Iterable[str], folder: str, env_files: tuple[str, ...] | None, seen: set[str]
    ) -> Iterator[Root]:
        """`folder`: the directory that paths in these files are relative to."""
        for file in files:
            if file in seen:
                continue
            seen.add(file)
            for root in self._documents(file):
                for theirs, below, own_env_files in _included(root, folder):
                    yield from self._read(theirs, below, own_env_files, seen)
                yield Root(root, Origin(file, folder), env_files)

    def root(self, file: str) -> MappingNode | None:
        """The root of a file with one document, if it was read."""
        roots = self._roots.get(file, [])
        return roots[0] if len(roots) == 1 else None

    def _take(self, root: MappingNode, origin: Origin, services: dict[str, Service]) -> None:
        for name, (key, node) in mapping(child(root, "volumes")).items():
            self.volumes[name] = volume_of(origin.file, name, key, node)
        services_node = child(root, "services")
        if services_node is not None and services_node.tag in REPLACING_TAGS:
            services.clear()
        for name, (_, node) in _services_in(root).items():
            service = self._service(root, origin, name)
            if node.tag in REPLACING_TAGS:
                services.pop(name, None)
            if node.tag != RESET_TAG:
                services[name] = service.over(services[name]) if name in services else service

    def _service(self, root: MappingNode, origin: Origin, name: str) -> Service:
        parts = [service_of(part.origin, *part[1:]) for part in self._chain(root, origin, name, frozenset())]
        return reduce(lambda base, own: own.over(base), parts)

    def _chain(
        self, root: MappingNode, origin: Origin, name: str, above: frozenset[tuple[str, str]]
    ) -> Iterator[Definition]:
        """A service with those that it extends, which come first. `above`: the services that extend it."""
        if name not in _services_in(root):
            return  # Compose itself reports the missing service.
        key, node = _services_in(root)[name]
        extends = child(node, "extends")
        base = text(child(extends, "service")) or text(extends)
        which = origin.file, name
        if base is not None and which not in above:
            other = text(child(extends, "file"))
            if other is None:
                yield from self._chain(root, origin, base, above | {which})
            else:
                file = normpath(join(origin.folder, other))
                for candidate in reversed(self._documents(file)):
                    if base in _services_in(candidate):
                        yield from self._chain(candidate, Origin(file, dirname(file)), base, above | {which})
                        break
        yield Definition(origin, name, key, node)

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


def _included(root: MappingNode, folder: str) -> Iterator[tuple[list[str], str, tuple[str, ...]]]:
    """Files that are included together, the directory that paths in them are relative to, and their env files."""
    for item in items(child(root, "include")):
        files = _paths(child(item, "path") or item, folder)
        project = text(child(item, "project_directory"))
        below = normpath(join(folder, project)) if project is not None else _folder(files)
        yield files, below, tuple(_paths(child(item, "env_file"), folder) or [join(below, ".env")])


def _paths(node: Node | None, folder: str) -> list[str]:
    """The paths in a list, or the only one."""
    names = [text(item) for item in items(node) or ([node] if node is not None else [])]
    return [normpath(join(folder, name)) for name in names if name is not None]


def _folder(files: list[str]) -> str:
    return dirname(files[0]) if files else ""
