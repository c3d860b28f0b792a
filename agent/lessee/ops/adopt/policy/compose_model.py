"""Joins what `docker compose config` resolves with the places of each value in the files."""

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from posixpath import join, normpath, relpath
from typing import Any, NamedTuple

from yaml.nodes import Node, ScalarNode

from lessee.core.errors import ConfigError, LesseeError
from lessee.core.immutable import replace
from lessee.ops.adopt.policy.model import Image, Origin, Project, Service, Source, Use
from lessee.ops.adopt.policy.shown import other_texts
from lessee.ops.adopt.policy.sources import Piece, Scope, Text, expand, lines_of, scalar, sources, sources_of_variable
from lessee.ops.adopt.policy.use_names import name_of_variable
from lessee.ops.lint.policy.compose.reader import ComposeReader, Definition
from lessee.ops.lint.policy.compose.service import child, items, mapping, text

Load = Callable[[str], Text | None]
"""The text of a file by its path, relative to the project's folder; None: it does not exist."""


class Place(NamedTuple):
    """The folder of a project, and the files that it has been read from."""

    folder: str
    files: tuple[str, ...]
    project_env: tuple[str, ...]


def project_of(resolved: Mapping[str, Any], place: Place, environ: Mapping[str, str], load: Load) -> Project:
    """The project that `docker compose config --format json` has resolved. Raises ConfigError."""
    inputs: dict[str, None] = {}

    def noted(name: str) -> Text | None:
        found = load(name)
        inputs.update({} if found is None else {found.file: None})
        return found

    reader = ComposeReader(lambda file: _text_of(file, noted))
    files = _Files(reader, place, environ, noted)
    services = resolved.get("services") or {}
    uses = [use for name, data in services.items() for use in files.uses(name, data, resolved)]
    awaited = frozenset(_awaited(services.values()))
    found = {
        name: replace(_service(name, data, resolved, place.folder), runs_once=name in awaited)
        for name, data in services.items()
    }
    read = tuple(dict.fromkeys([*place.files, *reader.files]))
    return Project(resolved.get("name", ""), place.folder, read, found, tuple(uses), place.project_env, tuple(inputs))


def _awaited(services: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The services that others wait for until they have ended."""
    for data in services:
        for name, dependency in (data.get("depends_on") or {}).items():
            if (dependency or {}).get("condition") == "service_completed_successfully":
                yield name


def _text_of(file: str, load: Load) -> str:
    found = load(file)
    if found is None:
        raise ConfigError([LesseeError("the file cannot be read", where=file, todo="see that it exists")])
    return found.text


class _Part(NamedTuple):
    """What one file says of a service or of the project, and the variables of that file."""

    definition: Definition
    scope: Scope


class _Files:
    """The project's files: they know the places of all values."""

    def __init__(self, reader: ComposeReader, place: Place, environ: Mapping[str, str], load: Load) -> None:
        self._load = load
        self.parts: dict[str, list[_Part]] = {}
        self._mappings: dict[int, Mapping[str, tuple[Node, Node]]] = {}
        self._top: dict[tuple[str, str], list[tuple[Node, str, Scope]]] = {}
        own = self._env(place.project_env)
        for root in reader.roots(place.files):
            scope = Scope(environ, self._env(root.env_files or ()) + own)
            for name, definition in reader.definitions(root.node, root.origin):
                self.parts.setdefault(name, []).append(_Part(definition, scope))
            for kind in ("secrets", "configs"):
                for name, (_, node) in mapping(child(root.node, kind)).items():
                    self._top.setdefault((kind, name), []).append((node, root.origin.file, scope))
        for problem in reader.findings:
            where = f"{problem.file}:{problem.line}"
            raise ConfigError([LesseeError(problem.message, where=where, todo="correct the file, or leave it out")])

    def uses(self, service: str, data: Mapping[str, Any], resolved: Mapping[str, Any]) -> Iterator[Use]:
        """All values of a service, with their places."""
        for name, value in (data.get("environment") or {}).items():
            if value is not None:
                found = tuple(dict.fromkeys(self._of_variable(service, name)))
                yield Use(service, name_of_variable(name), str(value), found)
        for path in _MAPPINGS:
            for name, value in (_at(data, path) or {}).items():
                found = tuple(dict.fromkeys(self._of_entry(service, path, name)))
                yield Use(service, f"{path}.{name}", str(value), found)
        for path in _COMMANDS:
            words = [str(word) for word in _at(data, path) or ()]
            for at, word in enumerate(words):
                yield Use(service, f"{path}[{at}]", word, self._of_word(service, path, words, at))
        for kind in ("secrets", "configs"):
            for item in data.get(kind) or ():
                yield from self._of_file(service, kind, item["source"], (resolved.get(kind) or {}))

    def _of_variable(self, service: str, name: str) -> Iterator[Source]:
        for file, scope in self._env_files(service):
            own = Scope(scope.environ, (*scope.files, (Origin.ENV_FILE, file)))
            for line in lines_of(name, file):
                yield from sources(line, Origin.ENV_FILE, own)
        yield from self._of_entry(service, "environment", name)

    def _env_files(self, service: str) -> Iterator[tuple[Text, Scope]]:
        for (origin, _, _, node), scope in self.parts.get(service, ()):
            listed = child(node, "env_file")
            for item in items(listed) or ([listed] if listed is not None else []):
                name = text(child(item, "path")) or text(item)
                file = self._load(normpath(join(origin.folder, expand(name, scope)))) if name else None
                if file is not None:
                    yield file, scope

    def _of_entry(self, service: str, path: str, name: str) -> Iterator[Source]:
        """The places of an entry of a mapping, which may be written as a list of `NAME=value`."""
        for (origin, _, _, node), scope in self.parts.get(service, ()):
            file = self._load(origin.file)
            assert file is not None
            entries = _node_at(node, path)
            for item in items(entries):
                if isinstance(item, ScalarNode):
                    key, equals, _ = item.value.partition("=")
                    if equals and expand(key, scope) == name:
                        yield from sources(scalar(item, name, file, skip=len(key) + 1), Origin.COMPOSE, scope)
                    elif key == name and not equals:
                        yield from sources_of_variable(name, scope)
            _, value = self._entries(entries).get(name, (None, None))
            if isinstance(value, ScalarNode):
                if text(value) is None:
                    yield from sources_of_variable(name, scope)
                else:
                    yield from sources(scalar(value, name, file), Origin.COMPOSE, scope)

    def _entries(self, node: Node | None) -> Mapping[str, tuple[Node, Node]]:
        """The entries of a mapping, read once: a service may have thousands, each of which is looked up."""
        if id(node) not in self._mappings:
            self._mappings[id(node)] = mapping(node)
        return self._mappings[id(node)]

    def _of_word(self, service: str, path: str, words: Sequence[str], at: int) -> tuple[Source, ...]:
        """The places of a word of a command; of all its words where the text does not tell them apart."""
        found: tuple[Source, ...] = ()
        for (origin, _, _, node), scope in self.parts.get(service, ()):
            file = self._load(origin.file)
            assert file is not None
            written = _node_at(node, path)
            listed = [item for item in items(written) if isinstance(item, ScalarNode)]
            if len(listed) == len(words):
                found = sources(scalar(listed[at], f"{path}[{at}]", file), Origin.COMPOSE, scope)
            elif isinstance(written, ScalarNode) and text(written) is not None and (path != _TEST or at == 1):
                whole = scalar(written, f"{path}[{at}]", file)
                found = sources(_word(whole, path, len(words), at), Origin.COMPOSE, scope)
        return found

    def _of_file(self, service: str, kind: str, name: str, all_of_kind: Mapping[str, Any]) -> Iterator[Use]:
        """A secret or a config of Compose's own, which is a file, a variable, or a text."""
        data = all_of_kind.get(name) or {}
        place = f"{kind}.{name}"
        for node, origin, scope in self._top.get((kind, name), ())[-1:]:
            file = text(child(node, "file"))
            content = child(node, "content")
            variable = text(child(node, "environment"))
            if data.get("file") and file is not None:
                found = self._load(data["file"])
                if found is not None:
                    # The end of a file with one line is not a part of its secret, which others have without it.
                    line = found.text.rstrip("\r\n")
                    value = found.text if "\n" in line else line
                    whole = found.span(0, len(value))
                    found_in = (Source(Origin.SECRET_FILE, name, whole, value),)
                    yield Use(service, place, value, found_in, end=found.text[len(value) :])
            elif variable is not None:
                value = expand(f"${{{variable}}}", scope)
                yield Use(service, place, value, sources_of_variable(variable, scope))
            elif isinstance(content, ScalarNode):
                text_of_file = self._load(origin)
                assert text_of_file is not None
                piece = scalar(content, name, text_of_file)
                yield Use(service, place, str(data.get("content", "")), sources(piece, Origin.COMPOSE, scope))

    def _env(self, names: Iterable[str]) -> tuple[tuple[Origin, Text], ...]:
        found = (self._load(name) for name in names)
        return tuple((Origin.PROJECT_ENV, file) for file in found if file is not None)


def _word(whole: Piece, path: str, count: int, at: int) -> Piece:
    """A word of a command that is written as one text."""
    if path == _TEST:  # Its first word, CMD-SHELL, is Compose's.
        return whole
    try:
        written = shlex.split(whole.raw)
    except ValueError:
        return whole
    return whole.part(written[at]) if len(written) == count else whole


def _at(data: Any, path: str) -> Any:
    for key in path.split("."):
        data = (data or {}).get(key)
    return data


def _node_at(node: Node | None, path: str) -> Node | None:
    for key in path.split("."):
        node = child(node, key)
    return node


def _service(name: str, data: Mapping[str, Any], resolved: Mapping[str, Any], folder: str) -> Service:
    build = data.get("build")
    healthcheck = data.get("healthcheck") or {}
    deploy = data.get("deploy") or {}
    policy = (deploy.get("restart_policy") or {}).get("condition")
    return Service(
        name,
        Image(data.get("image") or f"{resolved.get('name', '')}-{name}"),
        entrypoint=_words(data.get("entrypoint")),
        command=_words(data.get("command")),
        user=data.get("user"),
        restart=data.get("restart") or _CONDITIONS.get(policy or "", policy),
        networks=tuple(data.get("networks") or ()),
        network_mode=data.get("network_mode"),
        pid=data.get("pid"),
        replicas=int(data.get("scale") or deploy.get("replicas") or 1),
        stop_grace_period=data.get("stop_grace_period"),
        stop_signal=data.get("stop_signal"),
        healthcheck=("NONE",) if healthcheck.get("disable") else _words(healthcheck.get("test")) or (),
        secrets=tuple((item["source"], _target(item)) for item in data.get("secrets") or ()),
        depends_on=tuple(data.get("depends_on") or ()),
        build_context=_relative((build or {}).get("context"), folder) if build else None,
        dockerfile=(build or {}).get("dockerfile") or "Dockerfile",
        build_target=(build or {}).get("target") or "",
        other=other_texts(data),
    )


def _target(secret: Mapping[str, Any]) -> str:
    return join("/run/secrets", secret.get("target") or secret["source"])


def _words(value: Any) -> tuple[str, ...] | None:
    return None if value is None else tuple(map(str, value))


def _relative(path: str | None, folder: str) -> str:
    """The folder of a build below the project's, or its address where it is a repository."""
    if path is None or not path.startswith("/"):
        return path or ""
    return relpath(path, folder)


_CONDITIONS = {"any": "always", "none": "no"}
"""The restart policies of Swarm, in the words of Docker."""
_MAPPINGS = ("labels", "build.args")
_TEST = "healthcheck.test"
_COMMANDS = ("command", "entrypoint", _TEST)
_QUOTED = re.compile(r"[\"'`]|\bnear\b")
_NAMED = re.compile(r'\b(service|network|volume|secret|config|profile) "([\w.-]+)"')
"""A name in the words of Compose, which is no value."""
_LONGEST = 300


def safe_reason(stderr: str) -> str:
    """The first error of Compose, up to where it quotes a part of a file, which may be a secret."""
    lines = [line for line in stderr.splitlines() if line.strip() and "level=warning" not in line]
    line = _NAMED.sub(r"\1 \2", lines[0]) if lines else ""
    return (_QUOTED.split(line)[0].strip().rstrip(":") or "it gives no reason")[:_LONGEST]
