"""Finds the servers in the configuration of an MCP client: Claude, Cursor, VS Code, and others of their format."""

from collections.abc import Iterator

from lessee.core.errors import ConfigError, LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.mcp.policy.jsonc import Array, Document, Node, Object, String


class Server(ImmutableStruct, frozen=True):
    """A server. `path`: its path in the file, such as mcpServers.github."""

    name: str
    path: str
    object: Object


class LaunchCommand(ImmutableStruct, frozen=True):
    """The command, arguments and environment that a client starts a server with."""

    command: String
    args: tuple[String, ...]
    env: tuple[tuple[String, Node], ...]
    """Names with their values."""


def find_servers(document: Document, source: str) -> tuple[Server, ...]:
    """All servers of a file. Raises ConfigError if the file has no servers, or one that is not an object."""
    containers = list(_containers(document.root))
    if not containers:
        todo = "pass an mcp.json, claude_desktop_config.json, .claude.json, or VS Code's mcp.json or settings.json"
        raise ConfigError([LesseeError("the file has neither `mcpServers` nor `servers`", where=source, todo=todo)])
    servers = []
    for path, container in containers:
        if not isinstance(container, Object):
            raise _not_an_object(document, source, path, container)
        for member in container.members:
            server_path = f"{path}.{printable(member.key.value)}"
            if not isinstance(member.value, Object):
                raise _not_an_object(document, source, server_path, member.value)
            servers.append(Server(member.key.value, server_path, member.value))
    return tuple(servers)


def has_servers(document: Document) -> bool:
    """Whether a file has servers, or a place for them."""
    return any(True for _ in _containers(document.root))


def launch_command(server: Server) -> LaunchCommand | None:
    """The command that starts a server; None if a client cannot start it: it has a URL, or its keys are invalid."""
    command, args, env = (server.object.get(key) for key in ("command", "args", "env"))
    items = args.items if isinstance(args, Array) else ()
    members = env.members if isinstance(env, Object) else ()
    arguments = tuple(item for item in items if isinstance(item, String))
    if not isinstance(command, String) or not command.value:
        return None
    if len(arguments) < len(items) or not isinstance(args, Array | None) or not isinstance(env, Object | None):
        return None
    return LaunchCommand(command, arguments, tuple((member.key, member.value) for member in members))


def printable(name: str) -> str:
    """A name from the file, without characters that control a terminal."""
    return "".join(char if char.isprintable() else "?" for char in name)


def strings(node: Node, key: str = "") -> Iterator[tuple[str, String]]:
    """All strings of a node, each with its key. The items of a list have the key of the list."""
    match node:
        case String():
            yield key, node
        case Array(items=items):
            for item in items:
                yield from strings(item, key)
        case Object(members=members):
            for member in members:
                yield from strings(member.value, member.key.value)
        case _:
            pass


def _containers(root: Object) -> Iterator[tuple[str, Node]]:
    yield from _values(root, "", ("mcpServers", "servers"))
    nested = root.get("mcp")
    if isinstance(nested, Object):
        yield from _values(nested, "mcp.", ("servers", "mcpServers"))
    projects = root.get("projects")
    if isinstance(projects, Object):
        for member in projects.members:
            if isinstance(member.value, Object):
                # repr() escapes the name, so it does not have to be made printable.
                yield from _values(member.value, f"projects[{member.key.value!r}].", ("mcpServers",))


def _values(parent: Object, prefix: str, keys: tuple[str, ...]) -> Iterator[tuple[str, Node]]:
    for key in keys:
        if (value := parent.get(key)) is not None:
            yield f"{prefix}{key}", value


def _not_an_object(document: Document, source: str, path: str, node: Node) -> ConfigError:
    where = f"{source}:{document.line(node.start)}: {path}"
    return ConfigError([LesseeError("expected an object in braces", where=where)])
