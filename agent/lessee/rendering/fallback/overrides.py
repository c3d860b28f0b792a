"""Overrides the values of variables in an env file."""

from collections.abc import Callable, Iterable, Mapping

from lessee.core.errors import FormatError
from lessee.core.immutable import ImmutableStruct
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.fallback.masks import MARK, MISFIT
from lessee.rendering.formats import dotenv, dotenv_compose, dotenv_docker, dotenv_node, dotenv_vite
from lessee.rendering.formats.value_markers import MarkedText, Marker, mark_values
from lessee.rendering.formats.variables import Assignment, UnparsableError

_SCANS: Mapping[str, Callable[[str], Iterable[Assignment]]] = {
    "dotenv": dotenv.assignments,
    "dotenv-node": dotenv_node.GRAMMAR.scan,
    "dotenv-vite": dotenv_vite.GRAMMAR.scan,
    "dotenv-compose": dotenv_compose.GRAMMAR.scan,
    "dotenv-docker": dotenv_docker.GRAMMAR.scan,
}
FORMATS = tuple(_SCANS)
"""The formats whose variables can be overridden."""


class Overridden(ImmutableStruct, frozen=True):
    """A document, and the names of the overridden variables in it."""

    document: Document
    names: frozenset[str]


def override_variables(document: Document, format: str, values: Mapping[str, str]) -> Overridden:  # noqa: A002  # The configuration's word.
    """The file with these values, each in place of the variable's whole value in the template.

    Raises FormatError if another variable, or the text outside of variables, contains a secret.
    """
    marked = mark_values(document)
    parts: list[str | Placeholder] = []
    names = set()
    at = 0
    try:
        for assignment in _SCANS[format](marked.text):
            if assignment.name in values and assignment.raw is not None:
                parts += [
                    *_author_text(marked, at, assignment.begin),
                    Placeholder(values[assignment.name], f"${assignment.name}"),
                ]
                names.add(assignment.name)
                at = assignment.end
            elif found := _secrets(marked, marked.text[assignment.begin : assignment.end]):
                todo = "name it too, or the secrets with `fallback: {env: {PATH: {KEY: VARIABLE}}}`"
                name = "a variable" if marked.markers_in(assignment.name) else assignment.name
                what = f"`fallback` does not name {name}, which contains a secret"
                raise FormatError(what, where=found[0].where, todo=todo, rule=MISFIT)
    except UnparsableError as exc:
        raise FormatError(exc.what, where=marked.where(exc.at), rule=MISFIT) from None
    parts += _author_text(marked, at, len(marked.text))
    return Overridden(Document(document.name, tuple(parts)), frozenset(names))


def _author_text(marked: MarkedText, begin: int, end: int) -> list[str | Placeholder]:
    text = marked.text[begin:end]
    for marker in _secrets(marked, text):
        what = "a secret is here outside of the variables that `fallback` names"
        raise FormatError(what, where=marker.where, todo="name the variable, or write NAME={{ … }}", rule=MISFIT)
    return [piece if isinstance(piece, str) else piece.placeholder for piece in marked.split(text)]


def _secrets(marked: MarkedText, text: str) -> list[Marker]:
    return [marker for marker in marked.markers_in(text) if marker.placeholder.value == MARK]
