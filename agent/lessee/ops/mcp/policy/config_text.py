"""Writes lessee.yaml for MCP servers: a new file, or apps that are added to an existing one."""

import re
from collections.abc import Iterable, Sequence
from typing import Protocol

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from lessee.config import SESSION
from lessee.config.grammar.nodes import compose
from lessee.config.yaml_writer import Entry, Expandable, Keys, write
from lessee.config.yaml_writer import Node as WriterNode
from lessee.core.errors import ConfigError, LesseeError
from lessee.core.immutable import ImmutableStruct

VARIABLE = "LESSEE_SERVER"
"""The variable by which a new file separates the agents of its servers."""
_SESSION = f"${{{SESSION}:-1}}"


class App(ImmutableStruct, frozen=True):
    """An app to add. Each session has its own directory below `directory`."""

    name: str
    directory: str
    env_template: str
    restart: bool = False
    """Whether its server restarts when a secret changes."""

    def keys(self) -> Keys:
        """Its keys in the file."""
        directory = Expandable(f"{self.directory}/{_SESSION}")
        notify: Entry = ("notify", Keys((("child", True), ("action", "restart")), flow=True))
        keys = (("directory", directory), ("env_template", self.env_template))
        return Keys((*keys, *([notify] if self.restart else [])))


class VaultAccess(ImmutableStruct, frozen=True):
    """How a new file reaches Vault."""

    address: str
    token_file: str
    namespace: str | None = None
    ca_file: str | None = None


def new_config(vault: VaultAccess, environment: str | None, state_dir: str, apps: Sequence[App]) -> str:
    """The text of a new file. `state_dir`: the parent directory of the servers' states."""
    vault_keys: list[tuple[str, WriterNode]] = [("address", vault.address)]
    vault_keys += [("namespace", vault.namespace)] if vault.namespace is not None else []
    vault_keys += [("ca_file", vault.ca_file)] if vault.ca_file is not None else []
    vault_keys.append(("auth", Keys((("method", "token"), ("token_file", vault.token_file)), flow=True)))
    no_prefix: tuple[str, WriterNode] = ("secrets", Keys((("prefix", ""),), flow=True))
    return write(
        Keys(
            (
                "The MCP servers that `lessee exec` starts. `lessee mcp wrap` adds to `apps`; you may change the rest.",
                ("vault", Keys(tuple(vault_keys))),
                no_prefix if environment is None else ("environment", environment),
                ("state_dir", Expandable(f"{state_dir}/${{{VARIABLE}:-none}}/{_SESSION}")),
                ("apps", Keys(tuple((app.name, app.keys()) for app in apps))),
            )
        )
    )


def server_variable(text: str, source: str) -> str:
    """The variable in `state_dir` that separates the servers. Raises ConfigError if there is no such variable."""
    names = [name for name in _references(text, source) if name != SESSION]
    if not names:
        what = "all servers would share one `state_dir`, and each needs its own"
        todo = f"write `state_dir: /run/lessee/${{{VARIABLE}:-none}}/{_SESSION}`, or pass another --config"
        raise ConfigError([LesseeError(what, where=source, todo=todo)])
    return names[0]


def check_sessions(text: str, source: str) -> None:
    """Raises ConfigError if two clients cannot start the same server, because `state_dir` does not name the session."""
    if SESSION not in _references(text, source):
        what = "two clients that start the same server would share one `state_dir`"
        todo = f"add `/{_SESSION}` to `state_dir`, pass another --config, or omit --respawn"
        raise ConfigError([LesseeError(what, where=source, todo=todo)])


class NewApp(Protocol):
    """An app that can be added to a file: its name, and its keys there."""

    @property
    def name(self) -> str: ...

    def keys(self) -> Keys: ...


def add_apps(text: str, source: str, apps: Iterable[NewApp]) -> str:
    """The text with more apps. Raises ConfigError if no lines can be inserted."""
    root = compose(text, source)
    node = _value(root, "apps")
    if root.flow_style or isinstance(node, SequenceNode) or (isinstance(node, MappingNode) and node.flow_style):
        todo = "write each app on its own lines"
        raise ConfigError([LesseeError("`apps` is written in braces or brackets", where=source, todo=todo)])
    indent, at = "  ", len(text)
    head = "" if text.endswith("\n") else "\n"
    if node is None:
        head += "apps:\n"
    else:
        line = _last_line(node)
        if isinstance(node, MappingNode):
            indent = " " * node.value[0][0].start_mark.column
        lines = text.splitlines(keepends=True)
        at = len("".join(lines[: line + 1]))
        head = "" if text[:at].endswith("\n") else "\n"
    block = write(Keys(tuple((app.name, app.keys()) for app in apps)))
    return text[:at] + head + "".join(f"{indent}{line}\n" for line in block.splitlines()) + text[at:]


def _references(text: str, source: str) -> list[str]:
    """The variables in `state_dir`."""
    state_dir = _value(compose(text, source), "state_dir")
    return _REFERENCE.findall(state_dir.value) if isinstance(state_dir, ScalarNode) else []


def _value(mapping: MappingNode, key: str) -> Node | None:
    return next((value for name, value in mapping.value if isinstance(name, ScalarNode) and name.value == key), None)


def _last_line(node: Node) -> int:
    """The last line of a node, from 0."""
    if isinstance(node, MappingNode) and not node.flow_style and node.value:
        return _last_line(node.value[-1][1])
    if isinstance(node, SequenceNode) and not node.flow_style and node.value:
        return _last_line(node.value[-1])
    # A block scalar ends at the start of the next line.
    return int(node.end_mark.line) - (node.end_mark.column == 0 and node.end_mark.line > node.start_mark.line)


_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)")
