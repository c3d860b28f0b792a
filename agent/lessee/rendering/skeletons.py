"""Recognizes templates that differ only in the paths that they read: they share one skeleton and its code.

A thousand files often have the same text, each with the path of another secret. To parse and compile a template takes
half a millisecond, and its code two kilobytes. To find the paths in a known text takes microseconds.
"""

import re
from collections.abc import Iterator, Sequence

from jinja2 import nodes

from lessee.core.errors import TemplateError
from lessee.core.path_scope import PathScope
from lessee.core.paths import Need
from lessee.rendering.references import FUNCTIONS, in_order, references_in
from lessee.rendering.template_code import GeneratedCode

MAX_CHARACTERS = 50_000
"""Characters of a template with a skeleton. The limits of all templates are above it, so a skeleton needs no other."""

# A path of these characters can neither end a string literal nor escape anything in it.
_PATH = re.compile(r"""(?:(?<=secret\(["'])|(?<=dynamic\(["']))([A-Za-z0-9_./-]+)""")
_MARK = "lessee-path"


class Skeleton:
    """The code of templates that differ only in their paths, and what they read."""

    __slots__ = ("_calls", "_others", "_scope", "code")

    def __init__(
        self, code: GeneratedCode, calls: Sequence[nodes.Call], references: frozenset[Need], scope: PathScope
    ) -> None:
        """`references`: those of the marked text, of which `calls` are the ones with a mark."""
        self.code = code
        marked = {need for call in calls for need in references_in([call], "", scope)}
        self._others = references.difference(marked)
        # Without the rest of the tree, which the code has replaced.
        self._calls = [nodes.Call(call.node, call.args, call.kwargs, None, None, lineno=0) for call in calls]
        self._scope = scope

    def needs(self, paths: Sequence[str]) -> tuple[Need, ...] | None:
        """What a template with these paths reads; None if it has an error."""
        found = set(self._others)
        for call, path in zip(self._calls, paths, strict=True):
            call.args = [nodes.Const(path), *call.args[1:]]
            for need in references_in([call], "", self._scope):
                if isinstance(need, TemplateError):
                    return None
                found.add(need)
        return in_order(found)


def split_paths(text: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The pieces of the text around what seem to be paths, and these paths. None for a text without a skeleton."""
    if len(text) > MAX_CHARACTERS or _MARK in text:
        return None
    pieces = _PATH.split(text)
    return tuple(pieces[::2]), tuple(pieces[1::2])


def marks_of(pieces: Sequence[str]) -> tuple[str, ...]:
    """What the skeleton with these pieces has in place of its paths: each is a valid path too."""
    return tuple(f"{_MARK}/{index}" for index in range(len(pieces) - 1))


def marked_text(pieces: Sequence[str]) -> str:
    """The pieces with the marks between them."""
    return "".join(part for pair in zip(pieces, (*marks_of(pieces), ""), strict=True) for part in pair)


def marked_calls(found: Sequence[nodes.Node], marks: Sequence[str]) -> list[nodes.Call] | None:
    """The calls with the marks in their order; None if a mark is anything but the whole first argument of a function.

    Other paths in place of the marks then give the same tree with these paths: no token before a string literal
    depends on it, and the tokens after it only depend on where it ends.
    """
    # A call of vault() may have the path of a secret among its parameters.
    if any(isinstance(node, nodes.Name) and node.name == "vault" for node in found):
        return None
    calls = list(_calls(found))
    inside = {id(call.args[0]) for call in calls}
    if any(_has_mark(node) and id(node) not in inside for node in found):
        return None
    by_mark = {call.args[0].value: call for call in calls if isinstance(call.args[0], nodes.Const)}
    return [by_mark[mark] for mark in marks] if by_mark.keys() == set(marks) and len(calls) == len(marks) else None


def _calls(found: Sequence[nodes.Node]) -> Iterator[nodes.Call]:
    for node in found:
        match node:
            case nodes.Call(node=nodes.Name(name=name), args=[nodes.Const() as argument, *_]):
                if name in FUNCTIONS and _has_mark(argument):
                    yield node
            case _:
                pass


def _has_mark(node: nodes.Node) -> bool:
    match node:
        case nodes.Const(value=str(text)) | nodes.TemplateData(data=str(text)):
            return _MARK in text
        case _:
            return False
