"""From the text of Compose files to their services."""

from collections.abc import Callable, Iterable, Iterator
from posixpath import dirname, join, normpath

from yaml.nodes import MappingNode, Node

from lessee.config.grammar.nodes import documents
from lessee.core.errors import ConfigError
from lessee.ops.lint.policy.compose.model import Place, Service
from lessee.ops.lint.policy.compose.service import ALONE, RESET, Origin, child, items, mapping, service_of, text
from lessee.ops.lint.policy.findings import Finding, split_place


class ComposeReader:
    """Reads Compose files, and those that they extend and include; tells of what it cannot read."""

    def __init__(self, load: Callable[[str], str]) -> None:
        """`load` gives the text of a file by its path, or raises ConfigError."""
        self.findings: list[Finding] = []
        self._load = load
        self._roots: dict[str, list[MappingNode]] = {}

    def services(self, paths: Iterable[str]) -> dict[str, Service]:
        """Those of all these files; later ones win, as those of `docker compose -f A -f B` do."""
        services: dict[str, Service] = {}
        files = list(paths)
        self._read(files, _folder(files), services, set())
        return services

    def _read(self, files: Iterable[str], folder: str, services: dict[str, Service], seen: set[str]) -> None:
        """`folder`: where the paths in these files begin."""
        for file in files:
            if file in seen:
                continue
            seen.add(file)
            for root in self._documents(file):
                for theirs, below in _included(root, folder):
                    self._read(theirs, below, services, seen)
                self._take(root, file, folder, services)

    def _take(self, root: MappingNode, file: str, folder: str, services: dict[str, Service]) -> None:
        said = child(root, "services")
        if said is not None and said.tag in ALONE:
            services.clear()
        for name, (_, node) in _services_in(root).items():
            service = self._service(root, (file, name), folder, frozenset())
            if node.tag in ALONE:
                services.pop(name, None)
            if node.tag != RESET:
                services[name] = service.over(services[name]) if name in services else service

    def _service(
        self, root: MappingNode, which: tuple[str, str], folder: str, above: frozenset[tuple[str, str]]
    ) -> Service:
        """`which`: its file and name. `above`: those that extend it."""
        file, name = which
        if name not in _services_in(root):
            return Service(name, Place(file, 0))  # Compose itself says so.
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
                self._roots[file] = documents(self._load(file).removeprefix("\ufeff"), file)
            except ConfigError as exc:
                [problem] = exc.problems
                _, line = split_place(problem.where)
                self.findings.append(Finding("compose-unreadable", "error", problem.what, "", file, line))
        return self._roots[file]


def _services_in(root: MappingNode) -> "dict[str, tuple[Node, Node]]":
    said = child(root, "services")
    return mapping(said) if said is None or said.tag != RESET else {}


def _included(root: MappingNode, folder: str) -> Iterator[tuple[list[str], str]]:
    """Files that are included together, and where the paths in them begin."""
    for one in items(child(root, "include")):
        said = child(one, "path") or one
        names = [name for file in items(said) or [said] if (name := text(file)) is not None]
        files = [normpath(join(folder, name)) for name in names]
        project = text(child(one, "project_directory"))
        yield files, normpath(join(folder, project)) if project is not None else _folder(files)


def _folder(files: list[str]) -> str:
    return dirname(files[0]) if files else ""
