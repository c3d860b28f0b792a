"""What one file says of one service."""

import re
import shlex
from collections.abc import Iterator, Mapping
from posixpath import join, normpath

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from lessee.config.grammar.nodes import NULL, entries_of, kind_of, line_of
from lessee.core.immutable import ImmutableStruct
from lessee.ops.lint.policy.compose.model import EnvFile, Mount, Place, Service, Variable, Words

# Not those in `${…}`, where one stands before a default.
_COLON = re.compile(r":(?![^{]*\})")
_PATHS = (".", "/", "~", "$")
_SECRETS = "/run/secrets"
_TRUE = frozenset({"true", "yes", "on"})
RESET = "!reset"
ALONE = frozenset({RESET, "!override"})
"""What leaves nothing of what an earlier file says."""
_FIELDS = {
    "environment": "environment",
    "env_file": "env_files",
    "build": "build_args",
    "volumes": "mounts",
    "secrets": "secrets",
    "command": "command",
    "entrypoint": "entrypoint",
    "pid": "pid",
    "stop_signal": "stop_signal",
    "restart": "restart",
}
"""Where what a key says is kept."""
# Where null is more than what is not said.
_CLEARED = ("command", "entrypoint")


class Origin(ImmutableStruct, frozen=True):
    """A file, and the folder in which the paths in it begin."""

    file: str
    folder: str


def service_of(origin: Origin, name: str, key: Node, node: Node) -> Service:
    """`key` and `node` are those of the service in this file."""
    file = origin.file
    nodes = {word: value for word, (_, value) in mapping(node).items()}
    said = {word: value for word, value in nodes.items() if value.tag != RESET}
    return Service(
        name,
        _place(file, key),
        image=text(said.get("image")),
        command=_words(file, said.get("command")),
        entrypoint=_words(file, said.get("entrypoint")),
        environment=dict(_variables(file, said.get("environment"))),
        env_files=tuple(_env_files(origin, said.get("env_file"))),
        build_args=dict(_variables(file, child(said.get("build"), "args"))),
        mounts=tuple({mount.target: mount for mount in _mounts(origin, said.get("volumes"))}.values()),
        secrets=tuple(dict(_secrets(file, said.get("secrets"))).items()),
        pid=text(said.get("pid")),
        stop_signal=text(said.get("stop_signal")),
        restart=text(said.get("restart")),
        alone=frozenset(_alone(nodes)),
        gone=frozenset(_gone(said)),
    )


def _alone(nodes: Mapping[str, Node]) -> Iterator[str]:
    for word in nodes.keys() & _FIELDS.keys():
        is_cleared = word in _CLEARED and kind_of(nodes[word]) == NULL
        if nodes[word].tag in ALONE or is_cleared:
            yield _FIELDS[word]
    arguments = child(nodes.get("build"), "args")
    if arguments is not None and arguments.tag in ALONE:
        yield _FIELDS["build"]


def _gone(said: Mapping[str, Node]) -> Iterator[tuple[str, str]]:
    variables = ("environment", said.get("environment")), ("build_args", child(said.get("build"), "args"))
    for field, node in variables:
        yield from ((field, name) for name, (_, value) in mapping(node).items() if value.tag == RESET)


def mapping(node: Node | None) -> dict[str, tuple[Node, Node]]:
    """The nodes of keys and values; none, where it is no mapping."""
    return entries_of(node).nodes if isinstance(node, MappingNode) else {}


def child(node: Node | None, key: str) -> Node | None:
    """The value of a key, where it is there."""
    entry = mapping(node).get(key)
    return entry[1] if entry is not None else None


def items(node: Node | None) -> list[Node]:
    """Those of a list; none, where it is no list."""
    return node.value if isinstance(node, SequenceNode) else []


def text(node: Node | None) -> str | None:
    """What a scalar says; None where it says nothing, or is none."""
    return str(node.value) if isinstance(node, ScalarNode) and kind_of(node) != NULL else None


def _place(file: str, node: Node) -> Place:
    return Place(file, line_of(node))


def _words(file: str, node: Node | None) -> Words | None:
    if node is None or kind_of(node) == NULL:
        return None
    said = text(node)
    words = _split(said) if said is not None else [word for item in items(node) if (word := text(item)) is not None]
    return Words(tuple(word.replace("$$", "$") for word in words), _place(file, node))


def _split(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def _variables(file: str, node: Node | None) -> Iterator[tuple[str, Variable]]:
    for name, (key, value) in mapping(node).items():
        if value.tag != RESET:
            yield name, Variable(text(value), _place(file, key))
    for item in items(node):
        name, equals, said = (text(item) or "").partition("=")
        yield name, Variable(said if equals else None, _place(file, item))


def _env_files(origin: Origin, node: Node | None) -> Iterator[EnvFile]:
    for item in items(node) or ([node] if node is not None else []):
        path = text(child(item, "path")) or text(item)
        if path is not None:
            yield EnvFile(normpath(join(origin.folder, path)), _place(origin.file, item))


def _mounts(origin: Origin, node: Node | None) -> Iterator[Mount]:
    for item in items(node):
        said = text(item)
        if said is not None:
            source, target, *mode = (*_COLON.split(said), "")
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


def _secrets(file: str, node: Node | None) -> Iterator[tuple[str, Place]]:
    for item in items(node):
        name = text(item) or text(child(item, "target")) or text(child(item, "source"))
        if name is not None:
            yield join(_SECRETS, name), _place(file, item)
