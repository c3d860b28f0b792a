"""The file's text with its servers wrapped; what does not change keeps its place, its comments and its form."""

import json
from collections.abc import Iterable, Sequence

from lessee.core.immutable import Record
from lessee.ops.mcp.policy.jsonc import Array, Document, Member, Object
from lessee.ops.mcp.policy.plan import Wrapped
from lessee.ops.mcp.policy.servers import words


class Start(Record, frozen=True):
    """How lessee is started: its own words, and those of `exec` up to `--app`."""

    lessee: tuple[str, ...]
    options: tuple[str, ...]
    variable: str
    """Holds the app's name: it keeps the states of several servers apart."""
    alone: tuple[str, ...] = ()
    """Its own words where the server has a PYTHONPATH or the like, which is not meant for lessee."""

    def own(self, names: Iterable[str]) -> tuple[str, ...]:
        """Lessee's words, given the names of the server's variables."""
        return self.alone if any(name.startswith("PYTHON") for name in names) and self.alone else self.lessee


def edited(document: Document, wrapped: Iterable[Wrapped], start: Start) -> str:
    """The new text of the file."""
    edits = [edit for one in wrapped for edit in _of(document.text, one, start)]
    pieces, at = [], 0
    for begin, end, new in sorted(edits):
        # The blanks between two members that go are told of twice.
        pieces += [document.text[at:begin], new]
        at = max(at, end)
    return "".join(pieces) + document.text[at:]


_Edit = tuple[int, int, str]


def _of(text: str, one: Wrapped, start: Start) -> Iterable[_Edit]:
    whole = one.server.object
    found = words(one.server)
    assert found is not None
    own = start.own(name.value for name, _ in found.env)
    args = [*own[1:], "exec", *start.options, "--app", one.app, "--", *one.program.words]
    yield found.command.start, found.command.end, _quoted(own[0])
    behind: list[str] = []
    match whole.get("args"):
        case Array() as array:
            yield array.start, array.end, _array(text, array, args)
        case _:
            behind.append(f'"args": [{", ".join(map(_quoted, args))}]')
    env = whole.get("env")
    variable = f"{_quoted(start.variable)}: {_quoted(one.app)}"
    if isinstance(env, Object):
        yield from _environment(text, env, one.removed, variable)
    else:
        behind.append(f'"env": {{{variable}}}')
    if behind:
        [key] = [member.key for member in whole.members if member.value is found.command]
        indent = _indent(text, key.start)
        glue = f",{_line_end(text)}{indent}" if indent is not None else ", "
        yield found.command.end, found.command.end, "".join(glue + part for part in behind)


def _array(text: str, array: Array, args: Sequence[str]) -> str:
    old = text[array.start : array.end]
    indent = _indent(text, array.items[0].start) if array.items else None
    if indent is None:
        return f"[{', '.join(map(_quoted, args))}]"
    last = old.rpartition("\n")[2]
    end = _line_end(text)
    closing = f"{end}{last}" if not last.strip(" \t]") else f"{end}{indent}]"
    return f"[{end}" + f",{end}".join(indent + _quoted(arg) for arg in args) + closing


def _environment(text: str, env: Object, removed: frozenset[str], variable: str) -> Iterable[_Edit]:
    members = env.members
    going = [member for member in members if member.key.value in removed]
    if not going:
        if members:
            at = members[0].key.start
            indent = _indent(text, at)
            yield at, at, f"{variable}, " if indent is None else f"{variable},{_line_end(text)}{indent}"
        else:
            yield env.start, env.end, f"{{{variable}}}"
        return
    # The first takes the variable in, in its own place and form; so there is always one that stays.
    yield going[0].key.start, going[0].value.end, variable
    for member in going[1:]:
        yield _line_of(text, member)
    staying = [member for member in members if member is going[0] or member not in going]
    last = staying[-1]
    if last is not members[-1] and members[-1].comma is None:
        assert last.comma is not None
        yield last.comma, last.comma + 1, ""


def _line_of(text: str, member: Member) -> _Edit:
    """All of a member: with its line, where it has one of its own."""
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
    """Of the line that begins here; None where something else stands before it."""
    begin = text.rfind("\n", 0, at) + 1
    return text[begin:at] if begin and not text[begin:at].strip(" \t") else None


def _line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=any("\ud800" <= char <= "\udfff" for char in text))
