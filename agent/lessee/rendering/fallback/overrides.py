"""Variables of an env file that get other values than its template has for them."""

from collections.abc import Callable, Iterable, Mapping

from lessee.core.errors import FormatError
from lessee.core.immutable import Record
from lessee.rendering.document import Document, Hole
from lessee.rendering.fallback.masks import MARK, MISFIT
from lessee.rendering.formats import dotenv, dotenv_compose, dotenv_docker, dotenv_node, dotenv_vite
from lessee.rendering.formats.value_markers import Marked, Slot, mark
from lessee.rendering.formats.variables import Assignment, UnreadableError

_SCANS: Mapping[str, Callable[[str], Iterable[Assignment]]] = {
    "dotenv": dotenv.assignments,
    "dotenv-node": dotenv_node.GRAMMAR.scan,
    "dotenv-vite": dotenv_vite.GRAMMAR.scan,
    "dotenv-compose": dotenv_compose.GRAMMAR.scan,
    "dotenv-docker": dotenv_docker.GRAMMAR.scan,
}
FORMATS = tuple(_SCANS)
"""The formats whose variables can be told apart."""


class Filled(Record, frozen=True):
    """A document, and which of the variables it sets."""

    document: Document
    names: frozenset[str]


def filled(document: Document, format: str, values: Mapping[str, str]) -> Filled:  # noqa: A002  # The word that users write.
    """The file with these values, each in the whole place of what its template has there.

    Raises FormatError where another variable, or anything else, holds a value of the template's own.
    """
    marked = mark(document)
    parts: list[str | Hole] = []
    names = set()
    at = 0
    try:
        for one in _SCANS[format](marked.text):
            if one.name in values and one.raw is not None:
                parts += [*_kept(marked, at, one.begin), Hole(values[one.name], f"${one.name}")]
                names.add(one.name)
                at = one.end
            elif found := _secrets(marked, marked.text[one.begin : one.end]):
                todo = "name it too, or what its template reads: `fallback: {env: {PATH: {KEY: VARIABLE}}}`"
                name = "a variable" if marked.slots_in(one.name) else one.name
                what = f"{name} holds a secret, and `fallback` does not name it"
                raise FormatError(what, where=found[0].where, todo=todo, rule=MISFIT)
    except UnreadableError as exc:
        raise FormatError(exc.what, where=marked.where(exc.at), rule=MISFIT) from None
    parts += _kept(marked, at, len(marked.text))
    return Filled(Document(document.name, tuple(parts)), frozenset(names))


def _kept(marked: Marked, begin: int, end: int) -> list[str | Hole]:
    text = marked.text[begin:end]
    for slot in _secrets(marked, text):
        what = "a secret stands here outside of any variable that `fallback` names"
        raise FormatError(what, where=slot.where, todo="name the variable, or write NAME={{ … }}", rule=MISFIT)
    return [piece if isinstance(piece, str) else piece.hole for piece in marked.pieces(text)]


def _secrets(marked: Marked, text: str) -> list[Slot]:
    return [slot for slot in marked.slots_in(text) if slot.hole.value == MARK]
