"""Reads files of variables as their programs do: each variable's literal, its place, and what parsers make of it."""

from collections.abc import Iterator

from lessee.core.errors import FormatError
from lessee.core.immutable import ImmutableStruct
from lessee.rendering.formats import (
    dotenv,
    dotenv_compose,
    dotenv_docker,
    dotenv_node,
    dotenv_vite,
    sh_assignments,
    systemd,
)
from lessee.rendering.formats.sh_script import AmbiguousError
from lessee.rendering.formats.variables import Assignment, Grammar, Reading, UnparsableError

FORMATS = ("dotenv", "dotenv-compose", "dotenv-node", "dotenv-vite", "dotenv-docker", "sh", "systemd")
"""The formats of files of variables."""


class Literal(ImmutableStruct, frozen=True):
    """A variable of a file. text[at:begin] is its name and separator, text[begin:end] its literal with quotes."""

    hidden = ("atoms",)

    name: str
    at: int
    begin: int
    end: int
    atoms: tuple[str, ...]
    """Its value split into literals, at even indexes, and references to other variables, at odd indexes."""

    @property
    def value(self) -> str | None:
        """The value, if it has no references."""
        return self.atoms[0] if len(self.atoms) == 1 else None


def literals(text: str, format: str) -> tuple[Literal, ...]:  # noqa: A002  # The configuration's word.
    """The variables that a file of one of FORMATS sets, in order.

    Raises FormatError, `where` the line, for a file that the format's parser rejects.
    """
    try:
        return tuple(Literal(one.name, one.at, one.begin, one.end, atoms) for one, atoms in _literals(text, format))
    except (AmbiguousError, UnparsableError) as exc:
        raise FormatError(exc.what, where=str(text.count("\n", 0, exc.at) + 1)) from None
    except RecursionError:
        raise FormatError("the text is nested too deeply", where="1") from None


def readings(text: str, format: str) -> tuple[tuple[Reading, ...], ...]:  # noqa: A002  # As above.
    """What each parser of the format reads. Raises FormatError as `literals`."""
    grammar = _GRAMMARS.get(format)
    if grammar is None:
        return (tuple((one.name, one.atoms) for one in literals(text, format)),)
    try:
        return tuple(tuple(reader(text)) for reader in grammar.readers)
    except UnparsableError as exc:
        raise FormatError(exc.what, where=str(text.count("\n", 0, exc.at) + 1)) from None


_GRAMMARS = {
    "dotenv-compose": dotenv_compose.GRAMMAR,
    "dotenv-node": dotenv_node.GRAMMAR,
    "dotenv-vite": dotenv_vite.GRAMMAR,
    "dotenv-docker": dotenv_docker.GRAMMAR,
}


def _literals(text: str, format: str) -> Iterator[tuple[Assignment, tuple[str, ...]]]:  # noqa: A002  # As above.
    match format:
        case "dotenv":
            yield from dotenv.literals(text)
        case "sh":
            yield from sh_assignments.literals(text)
        case "systemd":
            yield from systemd.literals(text)
        case _:
            yield from _of_grammar(text, _GRAMMARS[format], format)


def _of_grammar(text: str, grammar: Grammar, format: str) -> Iterator[tuple[Assignment, tuple[str, ...]]]:  # noqa: A002
    for one in grammar.scan(text):
        if one.raw is not None and one.name:
            yield (
                one,
                tuple(
                    dotenv_compose.atoms(one.raw, one.at) if format == "dotenv-compose" else _split(one.raw, grammar)
                ),
            )


def _split(raw: str, grammar: Grammar) -> Iterator[str]:
    """A raw value split at its references. A dollar that begins none is escaped by a backslash, for Vite alone."""
    rest = raw
    for reference in grammar.references(raw):
        before, _, rest = rest.partition(reference)
        yield from (_unescaped(before, grammar), reference)
    yield _unescaped(rest, grammar)


def _unescaped(literal: str, grammar: Grammar) -> str:
    return literal.replace(r"\$", "$") if grammar.escape("$") != "$" else literal
