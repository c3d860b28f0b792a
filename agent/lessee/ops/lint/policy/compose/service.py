"""Parses one service of one Compose file."""

import shlex
from collections.abc import Iterator, Mapping
from posixpath import join, normpath

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from lessee.config.grammar.nodes import NULL, entries_of, kind_of, line_of
from lessee.core.immutable import ImmutableStruct
from lessee.ops.lint.policy.compose.model import (
    COLON,
    Dependency,
    EnvFile,
    Mount,
    Place,
    Service,
    Variable,
    Volume,
    Words,
)

_PATHS = (".", "/", "~", "$")
_SECRETS = "/run/secrets"
_STARTED = "service_started"
_TRUE = frozenset({"true", "yes", "on"})
RESET_TAG = "!reset"
REPLACING_TAGS = frozenset({RESET_TAG, "!override"})
"""The YAML tags that replace the value of an earlier file."""
_FIELDS = {
    "environment": "environment",
    "env_file": "env_files",
    "build": "build_args",
    "labels": "labels",
    "volumes": "mounts",
    "secrets": "secrets",
    "command": "command",
    "entrypoint": "entrypoint",
    "user": "user",
    "pid": "pid",
    "stop_signal": "stop_signal",
    "restart": "restart",
    "networks": "networks",
    "depends_on": "depends_on",
}
"""The field of Service for each key."""
# Keys whose null value clears that of an earlier file.
_CLEARED = ("command", "entrypoint")


class Origin(ImmutableStruct, frozen=True):
    """A file, and the directory that paths in it are relative to."""

    file: str
    folder: str


def service_of(origin: Origin, name: str, key: Node, node: Node) -> Service:
    """Parse a service from its key and value nodes."""
    file = origin.file
    nodes = {word: value for word, (_, value) in mapping(node).items()}
    keys = {word: value for word, value in nodes.items() if value.tag != RESET_TAG}
    return Service(
        name,
        _place(file, key),
        image=text(keys.get("image")),
        command=_words(file, keys.get("command")),
        entrypoint=_words(file, keys.get("entrypoint")),
        environment=dict(_variables(file, keys.get("environment"))),
        env_files=tuple(_env_files(origin, keys.get("env_file"))),
        build_args=dict(_variables(file, child(keys.get("build"), "args"))),
        labels=dict(_variables(file, keys.get("labels"))),
        mounts=tuple({mount.target: mount for mount in _mounts(origin, keys.get("volumes"))}.values()),
        secrets=tuple(dict(_secrets(file, keys.get("secrets"))).items()),
        user=text(keys.get("user")),
        pid=text(keys.get("pid")),
        stop_signal=text(keys.get("stop_signal")),
        restart=text(keys.get("restart")) or text(child(child(keys.get("deploy"), "restart_policy"), "condition")),
        networks=tuple(_names(keys.get("networks"))),
        depends_on=dict(_dependencies(file, keys.get("depends_on"))),
        is_built="build" in keys,
        has_healthcheck="healthcheck" in keys,
        replaced=frozenset(_replaced_fields(nodes)),
        reset=frozenset(_reset_names(keys)),
    )


def _replaced_fields(nodes: Mapping[str, Node]) -> Iterator[str]:
    for word in nodes.keys() & _FIELDS.keys():
        is_cleared = word in _CLEARED and kind_of(nodes[word]) == NULL
        if nodes[word].tag in REPLACING_TAGS or is_cleared:
            yield _FIELDS[word]
    arguments = child(nodes.get("build"), "args")
    if arguments is not None and arguments.tag in REPLACING_TAGS:
        yield _FIELDS["build"]


def _reset_names(keys: Mapping[str, Node]) -> Iterator[tuple[str, str]]:
    variables = {"environment": keys.get("environment"), "labels": keys.get("labels")}
    for field, node in {**variables, "build_args": child(keys.get("build"), "args")}.items():
        yield from ((field, name) for name, (_, value) in mapping(node).items() if value.tag == RESET_TAG)


def mapping(node: Node | None) -> dict[str, tuple[Node, Node]]:
    """The nodes of a mapping's keys and values; empty for any other node."""
    return entries_of(node).nodes if isinstance(node, MappingNode) else {}


def child(node: Node | None, key: str) -> Node | None:
    """The value of a key, if it exists."""
    entry = mapping(node).get(key)
    return entry[1] if entry is not None else None


def items(node: Node | None) -> list[Node]:
    """The nodes of a list; empty for any other node."""
    return node.value if isinstance(node, SequenceNode) else []


def text(node: Node | None) -> str | None:
    """The text of a scalar; None for null and any other node."""
    return str(node.value) if isinstance(node, ScalarNode) and kind_of(node) != NULL else None


def _place(file: str, node: Node) -> Place:
    return Place(file, line_of(node))


def _words(file: str, node: Node | None) -> Words | None:
    if node is None or kind_of(node) == NULL:
        return None
    command = text(node)
    words = (
        _split(command) if command is not None else [word for item in items(node) if (word := text(item)) is not None]
    )
    return Words(tuple(word.replace("$$", "$") for word in words), _place(file, node))


def _split(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def _variables(file: str, node: Node | None) -> Iterator[tuple[str, Variable]]:
    for name, (key, content) in mapping(node).items():
        if content.tag != RESET_TAG:
            yield name, Variable(text(content), _place(file, key))
    for item in items(node):
        name, equals, value = (text(item) or "").partition("=")
        yield name, Variable(value if equals else None, _place(file, item))


def _env_files(origin: Origin, node: Node | None) -> Iterator[EnvFile]:
    for item in items(node) or ([node] if node is not None else []):
        path = text(child(item, "path")) or text(item)
        if path is not None:
            yield EnvFile(normpath(join(origin.folder, path)), _place(origin.file, item))


def _mounts(origin: Origin, node: Node | None) -> Iterator[Mount]:
    for item in items(node):
        short = text(item)
        if short is not None:
            source, target, *mode = (*COLON.split(short), "")
            if target:
                yield _mount(origin, item, source, target, read_only="ro" in ",".join(mode).split(","))
        elif (target := text(child(item, "target"))) is not None and text(child(item, "type")) in {"volume", "bind"}:
            read_only = (text(child(item, "read_only")) or "").lower() in _TRUE
            below = text(child(child(item, "volume"), "subpath")) or ""
            yield _mount(origin, item, text(child(item, "source")) or "", target, read_only=read_only, below=below)


def _mount(origin: Origin, node: Node, source: str, target: str, *, read_only: bool, below: str = "") -> Mount:
    is_path = source.startswith(_PATHS)
    folder = normpath(join(origin.folder, source)) if is_path else f"/{below.strip('/')}"
    return Mount("" if is_path else source, folder, normpath(target), read_only, _place(origin.file, node))


def volume_of(file: str, name: str, key: Node, node: Node) -> Volume:
    """Parse a named volume from its key and value nodes."""
    external = child(node, "external")
    is_external = external is not None and text(external) != "false"
    options = {word: text(value) or "" for word, (_, value) in mapping(child(node, "driver_opts")).items()}
    return Volume(name, _place(file, key), is_external, options)


def _names(node: Node | None) -> Iterator[str]:
    yield from mapping(node)
    yield from (name for item in items(node) if (name := text(item)) is not None)


def _dependencies(file: str, node: Node | None) -> Iterator[tuple[str, Dependency]]:
    for name, (key, value) in mapping(node).items():
        yield name, Dependency(text(child(value, "condition")) or _STARTED, _place(file, key))
    for item in items(node):
        yield text(item) or "", Dependency(_STARTED, _place(file, item))


def _secrets(file: str, node: Node | None) -> Iterator[tuple[str, Place]]:
    for item in items(node):
        name = text(item) or text(child(item, "target")) or text(child(item, "source"))
        if name is not None:
            yield join(_SECRETS, name), _place(file, item)
