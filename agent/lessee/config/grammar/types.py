"""A type of the grammar as its reader and its schema see it: the few forms that a value may take."""

from collections.abc import Iterator

from msgspec import inspect

from lessee.config.grammar.block import Block
from lessee.config.grammar.scalars import Word, choice

Form = Word | inspect.StructType | inspect.VarTupleType | inspect.DictType


def forms(kind: inspect.Type) -> tuple[Form, ...]:
    """What may stand where `kind` is wanted: one form a kind of node, or blocks that a key tells apart."""
    return tuple(_forms(kind))


def one_of(kind: inspect.StructType) -> tuple[str, ...]:
    """The keys of a block of which exactly one must be there, if it has such."""
    assert issubclass(kind.cls, Block)
    return kind.cls.one_of


def _forms(kind: inspect.Type) -> Iterator[Form]:
    match kind:
        case inspect.Metadata(extra={"word": Word() as word}):
            yield word
        case inspect.Metadata(extra={"later": load}):
            yield from _forms(load())
        case inspect.Metadata(type=inner):
            yield from _forms(inner)
        case inspect.UnionType(types=kinds):
            for inner in kinds:
                yield from _forms(inner)
        case inspect.LiteralType(values=names):
            yield choice(*map(str, names))
        case inspect.StructType() | inspect.VarTupleType() | inspect.DictType():
            yield kind
        case inspect.NoneType():
            pass  # Every key that may be absent may be empty too.
        case _:
            raise TypeError(f"the grammar has no form for {kind}")
