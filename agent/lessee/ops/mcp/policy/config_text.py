"""lessee.yaml for servers of MCP: a new one, or apps added to one that is there, as they would be by hand."""

import re
from collections.abc import Iterable, Sequence

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from lessee.config import SESSION
from lessee.config.grammar.nodes import compose
from lessee.config.yaml_writer import Entry, Keys, Plain, write
from lessee.config.yaml_writer import Node as Written
from lessee.core.errors import ConfigError, LesseeError
from lessee.core.immutable import ImmutableStruct

VARIABLE = "LESSEE_SERVER"
"""Tells one server's lessee from another's, where the file is new."""
_SESSION = f"${{{SESSION}:-1}}"


class App(ImmutableStruct, frozen=True):
    """An app to add."""

    name: str
    directory: str
    environ: str
    restart: bool = False
    """Whether its server is started anew when a secret changes."""

    def keys(self) -> Keys:
        """As it stands in the file; each session has a directory of its own below `directory`."""
        place = Plain(f"{self.directory}/{_SESSION}")
        notify: Entry = ("notify", Keys((("child", True), ("action", "restart")), flow=True))
        return Keys((("directory", place), ("environ", self.environ), *([notify] if self.restart else [])))


class Vault(ImmutableStruct, frozen=True):
    """How a new file says to reach it."""

    address: str
    token_file: str
    namespace: str | None = None
    ca_file: str | None = None


def new(vault: Vault, environment: str | None, state: str, apps: Sequence[App]) -> str:
    """The text of a new file. `state` is a folder for all servers' states."""
    reach: list[tuple[str, Written]] = [("address", vault.address)]
    reach += [("namespace", vault.namespace)] if vault.namespace is not None else []
    reach += [("ca_file", vault.ca_file)] if vault.ca_file is not None else []
    reach.append(("auth", Keys((("method", "token"), ("token_file", vault.token_file)), flow=True)))
    inside: tuple[str, Written] = ("secrets", Keys((("prefix", ""),), flow=True))
    return write(
        Keys(
            (
                "What MCP servers are started with. `lessee mcp wrap` adds to it; the rest is yours to change.",
                ("vault", Keys(tuple(reach))),
                inside if environment is None else ("environment", environment),
                ("state", Plain(f"{state}/${{{VARIABLE}:-none}}/{_SESSION}")),
                ("apps", Keys(tuple((app.name, app.keys()) for app in apps))),
            )
        )
    )


def variable(text: str, source: str) -> str:
    """The one in `state` that keeps the servers apart. Raises ConfigError where there is none."""
    found = [name for name in _references(text, source) if name != SESSION]
    if not found:
        what = "its servers would have one `state`, and each needs its own"
        todo = f"write it as in `state: /run/lessee/${{{VARIABLE}:-none}}/{_SESSION}`, or name another --config"
        raise ConfigError([LesseeError(what, where=source, todo=todo)])
    return found[0]


def refuse_one_session(text: str, source: str) -> None:
    """Raises ConfigError where two clients could not start one server, since one agent has its `state` to the end."""
    if SESSION not in _references(text, source):
        what = "two clients that start the same server would have one `state`"
        todo = f"add `/{_SESSION}` to `state`, name another --config, or leave --respawn out"
        raise ConfigError([LesseeError(what, where=source, todo=todo)])


def added(text: str, source: str, apps: Iterable[App]) -> str:
    """The text with more apps. Raises ConfigError where they cannot be added line by line."""
    root = compose(text, source)
    node = _value(root, "apps")
    some = tuple(apps)
    if root.flow_style or isinstance(node, SequenceNode) or (isinstance(node, MappingNode) and node.flow_style):
        todo = "write each on lines of its own"
        raise ConfigError([LesseeError("its apps stand in braces", where=source, todo=todo)])
    indent, at = "", len(text)
    head = "" if text.endswith("\n") else "\n"
    if node is None:
        head += "apps:\n"
        indent = "  "
    else:
        indent = "  "
        line = _last_line(node)
        if isinstance(node, MappingNode):
            indent = " " * node.value[0][0].start_mark.column
        lines = text.splitlines(keepends=True)
        at = len("".join(lines[: line + 1]))
        head = "" if text[:at].endswith("\n") else "\n"
    block = write(Keys(tuple((app.name, app.keys()) for app in some)))
    return text[:at] + head + "".join(f"{indent}{line}\n" for line in block.splitlines()) + text[at:]


def _references(text: str, source: str) -> list[str]:
    """The variables in `state`."""
    state = _value(compose(text, source), "state")
    return _REFERENCE.findall(state.value) if isinstance(state, ScalarNode) else []


def _value(mapping: MappingNode, key: str) -> Node | None:
    return next((value for name, value in mapping.value if isinstance(name, ScalarNode) and name.value == key), None)


def _last_line(node: Node) -> int:
    """From 0, in which the node's last word stands."""
    if isinstance(node, MappingNode) and not node.flow_style and node.value:
        return _last_line(node.value[-1][1])
    if isinstance(node, SequenceNode) and not node.flow_style and node.value:
        return _last_line(node.value[-1])
    # A block of text ends where the next line begins.
    return int(node.end_mark.line) - (node.end_mark.column == 0 and node.end_mark.line > node.start_mark.line)


_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)")
