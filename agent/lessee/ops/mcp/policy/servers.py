"""Where an MCP client's configuration has its servers: Claude's, Cursor's, VS Code's, and those like them."""

from collections.abc import Iterator

from lessee.core.errors import ConfigError, LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.mcp.policy.jsonc import Array, Document, Node, Object, Text


class Server(ImmutableStruct, frozen=True):
    """One of them. `place` is what a reader can find it by."""

    name: str
    place: str
    object: Object


class Words(ImmutableStruct, frozen=True):
    """What a client starts a server with."""

    command: Text
    args: tuple[Text, ...]
    env: tuple[tuple[Text, Node], ...]
    """Names with their values."""


def servers(document: Document, source: str) -> tuple[Server, ...]:
    """All of them. Raises ConfigError where the file is none of those, or has servers that are no objects."""
    found = list(_containers(document.root))
    if not found:
        todo = "name an mcp.json, claude_desktop_config.json, .claude.json, or VS Code's mcp.json or settings.json"
        raise ConfigError([LesseeError("there is neither `mcpServers` nor `servers` in it", where=source, todo=todo)])
    several = []
    for place, container in found:
        if not isinstance(container, Object):
            raise _no_object(document, source, place, container)
        for member in container.members:
            its = f"{place}.{printable(member.key.value)}"
            if not isinstance(member.value, Object):
                raise _no_object(document, source, its, member.value)
            several.append(Server(member.key.value, its, member.value))
    return tuple(several)


def words(server: Server) -> Words | None:
    """None where no client would start it: it is reached by HTTP, or is not as the formats have it."""
    command, args, env = (server.object.get(key) for key in ("command", "args", "env"))
    items = args.items if isinstance(args, Array) else ()
    members = env.members if isinstance(env, Object) else ()
    texts = tuple(item for item in items if isinstance(item, Text))
    if not isinstance(command, Text) or not command.value:
        return None
    if len(texts) < len(items) or not isinstance(args, Array | None) or not isinstance(env, Object | None):
        return None
    return Words(command, texts, tuple((member.key, member.value) for member in members))


def printable(name: str) -> str:
    """A name out of the file, which no terminal takes for more."""
    return "".join(char if char.isprintable() else "?" for char in name)


def texts(node: Node, key: str = "") -> Iterator[tuple[str, Text]]:
    """All strings below a node, each with the key that it, or the list that it is in, stands under."""
    match node:
        case Text():
            yield key, node
        case Array(items=items):
            for item in items:
                yield from texts(item, key)
        case Object(members=members):
            for member in members:
                yield from texts(member.value, member.key.value)
        case _:
            pass


def _containers(root: Object) -> Iterator[tuple[str, Node]]:
    yield from _of(root, "", ("mcpServers", "servers"))
    inner = root.get("mcp")
    if isinstance(inner, Object):
        yield from _of(inner, "mcp.", ("servers", "mcpServers"))
    projects = root.get("projects")
    if isinstance(projects, Object):
        for member in projects.members:
            if isinstance(member.value, Object):
                # Its name comes as repr() has it.
                yield from _of(member.value, f"projects[{member.key.value!r}].", ("mcpServers",))


def _of(parent: Object, place: str, keys: tuple[str, ...]) -> Iterator[tuple[str, Node]]:
    for key in keys:
        if (found := parent.get(key)) is not None:
            yield f"{place}{key}", found


def _no_object(document: Document, source: str, place: str, node: Node) -> ConfigError:
    where = f"{source}:{document.line(node.start)}: {place}"
    return ConfigError([LesseeError("expected an object in braces", where=where)])
