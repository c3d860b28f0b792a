"""Rewrites the client's file with wrapped servers; everything else keeps its position, comments and format."""

import json
from collections.abc import Iterable, Sequence

from lessee.core.immutable import ImmutableStruct
from lessee.ops.mcp.policy.jsonc import Array, Document, Member, Object
from lessee.ops.mcp.policy.plan import WrappedServer
from lessee.ops.mcp.policy.servers import launch_command


class LaunchOptions(ImmutableStruct, frozen=True):
    """How a client starts lessee: its command, and the options of `exec` before `--app`."""

    command: tuple[str, ...]
    options: tuple[str, ...]
    variable: str
    """The variable with the app's name, by which lessee.yaml separates the state of its servers."""
    isolated_command: tuple[str, ...] = ()
    """The command for a server whose environment has PYTHONPATH or the like, which must not affect lessee."""

    def command_for(self, names: Iterable[str]) -> tuple[str, ...]:
        """The command, given the names of the server's variables."""
        has_python = any(name.startswith("PYTHON") for name in names)
        return self.isolated_command if has_python and self.isolated_command else self.command


def rewrite(document: Document, wrapped: Iterable[WrappedServer], launch: LaunchOptions) -> str:
    """The new text of the file."""
    edits = [edit for server in wrapped for edit in _server_edits(document.text, server, launch)]
    parts, at = [], 0
    for begin, end, new in sorted(edits):
        # Edits of two removed members may both include the space between them.
        parts += [document.text[at:begin], new]
        at = max(at, end)
    return "".join(parts) + document.text[at:]


_Edit = tuple[int, int, str]


def _server_edits(text: str, wrapped: WrappedServer, launch: LaunchOptions) -> Iterable[_Edit]:
    server = wrapped.server.object
    old = launch_command(wrapped.server)
    assert old is not None
    command = launch.command_for(name.value for name, _ in old.env)
    args = [*command[1:], "exec", *launch.options, "--app", wrapped.app, "--", *wrapped.program.argv]
    yield old.command.start, old.command.end, _quote(command[0])
    added: list[str] = []
    match server.get("args"):
        case Array() as array:
            yield array.start, array.end, _array(text, array, args)
        case _:
            added.append(f'"args": [{", ".join(map(_quote, args))}]')
    env = server.get("env")
    variable = f"{_quote(launch.variable)}: {_quote(wrapped.app)}"
    if isinstance(env, Object):
        yield from _environment_edits(text, env, wrapped.removed, variable)
    else:
        added.append(f'"env": {{{variable}}}')
    if added:
        [key] = [member.key for member in server.members if member.value is old.command]
        indent = _indent(text, key.start)
        separator = f",{_line_end(text)}{indent}" if indent is not None else ", "
        yield old.command.end, old.command.end, "".join(separator + member for member in added)


def _array(text: str, array: Array, args: Sequence[str]) -> str:
    old = text[array.start : array.end]
    indent = _indent(text, array.items[0].start) if array.items else None
    if indent is None:
        return f"[{', '.join(map(_quote, args))}]"
    last = old.rpartition("\n")[2]
    end = _line_end(text)
    closing = f"{end}{last}" if not last.strip(" \t]") else f"{end}{indent}]"
    return f"[{end}" + f",{end}".join(indent + _quote(arg) for arg in args) + closing


def _environment_edits(text: str, env: Object, removed_names: frozenset[str], variable: str) -> Iterable[_Edit]:
    members = env.members
    removed = [member for member in members if member.key.value in removed_names]
    if not removed:
        if members:
            at = members[0].key.start
            indent = _indent(text, at)
            yield at, at, f"{variable}, " if indent is None else f"{variable},{_line_end(text)}{indent}"
        else:
            yield env.start, env.end, f"{{{variable}}}"
        return
    # The variable replaces the first removed member, so at least one member remains.
    yield removed[0].key.start, removed[0].value.end, variable
    for member in removed[1:]:
        yield _removal(text, member)
    remaining = [member for member in members if member is removed[0] or member not in removed]
    last = remaining[-1]
    if last is not members[-1] and members[-1].comma is None:
        assert last.comma is not None
        yield last.comma, last.comma + 1, ""


def _removal(text: str, member: Member) -> _Edit:
    """The edit that removes a member, with its line if nothing else is on it."""
    begin, end = member.key.start, member.value.end if member.comma is None else member.comma + 1
    before, after = begin, end
    while text[before - 1] in " \t":
        before -= 1
    while text[after] in " \t\r":
        after += 1
    if text[before - 1] != "\n":
        return before, end, ""
    return (before, after + 1, "") if text[after] == "\n" else (begin, after, "")


def _indent(text: str, at: int) -> str | None:
    """The indentation before this offset; None if there is other text on the line before it."""
    begin = text.rfind("\n", 0, at) + 1
    return text[begin:at] if begin and not text[begin:at].strip(" \t") else None


def _line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=any("\ud800" <= char <= "\udfff" for char in text))
