"""From the text of Compose files to their services."""

from collections.abc import Callable, Iterable, Iterator
from posixpath import dirname, join, normpath

from yaml.nodes import MappingNode, Node

from lessee.core.checking.compose.model import Place, Service
from lessee.core.checking.compose.service import child, items, mapping, service_of, text
from lessee.core.checking.findings import Finding, split_place
from lessee.core.config.grammar.nodes import compose
from lessee.core.errors import ConfigError


class Reading:
    """Reads Compose files, and those that they extend and include; tells of what it cannot read."""

    def __init__(self, load: Callable[[str], str]) -> None:
        """`load` gives the text of a file by its path, or raises ConfigError."""
        self.findings: list[Finding] = []
        self._load = load
        self._roots: dict[str, MappingNode | None] = {}

    def services(self, paths: Iterable[str]) -> dict[str, Service]:
        """Those of all these files; later ones win, as those of `docker compose -f A -f B` do."""
        services: dict[str, Service] = {}
        waiting = list(paths)
        seen: set[str] = set()
        while waiting:
            path = waiting.pop(0)
            if path in seen:
                continue
            seen.add(path)
            for name in self._services_in(path):
                service = self._service(path, name, frozenset())
                services[name] = service.over(services[name]) if name in services else service
            waiting += self._included(path)
        return services

    def _services_in(self, path: str) -> "dict[str, tuple[Node, Node]]":
        return mapping(child(self._root(path), "services"))

    def _included(self, path: str) -> Iterator[str]:
        for one in items(child(self._root(path), "include")):
            said = child(one, "path") or one
            for file in items(said) or [said]:
                if (name := text(file)) is not None:
                    yield _beside(path, name)

    def _service(self, path: str, name: str, below: frozenset[tuple[str, str]]) -> Service:
        """`below`: those that extend it."""
        if name not in self._services_in(path):
            return Service(name, Place(path, 0))  # Compose itself says so.
        key, node = self._services_in(path)[name]
        service = service_of(path, name, key, node)
        extends = child(node, "extends")
        base = text(child(extends, "service")) or text(extends)
        if base is None or (path, name) in below:
            return service
        file = text(child(extends, "file"))
        of = _beside(path, file) if file is not None else path
        return service.over(self._service(of, base, below | {(path, name)}))

    def _root(self, path: str) -> MappingNode | None:
        if path not in self._roots:
            self._roots[path] = None
            try:
                self._roots[path] = compose(self._load(path), path)
            except ConfigError as exc:
                [problem] = exc.problems
                _, line = split_place(problem.where)
                self.findings.append(Finding("compose-unreadable", "error", problem.what, "", path, line))
        return self._roots[path]


def _beside(path: str, other: str) -> str:
    return normpath(join(dirname(path), other))
