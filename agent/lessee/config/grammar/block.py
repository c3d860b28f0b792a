"""The base class of every block of lessee.yaml, and the forms that the values of its keys may take."""

from collections.abc import Iterator
from typing import Annotated, ClassVar

from msgspec import Meta, Struct, inspect

from lessee.config.grammar import scalars
from lessee.config.grammar.scalars import Scalar, choice

Form = Scalar | inspect.StructType | inspect.VarTupleType | inspect.DictType
"""One form that a value may take."""

Command = Annotated[tuple[scalars.Text, ...], Meta(min_length=1)]
"""A program and its arguments; no shell interprets them."""


class Block(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A mapping with a fixed set of keys. An optional key without a value counts as absent."""

    one_of: ClassVar[tuple[str, ...]] = ()
    """The file must set exactly one of these keys."""


def describe(description: str) -> Meta:
    """The description of a key, which editors display from the JSON Schema."""
    return Meta(description=description)


def forms(kind: inspect.Type) -> tuple[Form, ...]:
    """The forms that a value of this type may take: one per kind of YAML node, or several blocks that a tag selects."""
    return tuple(_forms(kind))


def one_of(kind: inspect.StructType) -> tuple[str, ...]:
    """The keys of a block of which the file must set exactly one; empty if the block has no such rule."""
    assert issubclass(kind.cls, Block)
    return kind.cls.one_of


def _forms(kind: inspect.Type) -> Iterator[Form]:
    match kind:
        case inspect.Metadata(extra={"scalar": Scalar() as scalar}):
            yield scalar
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
            pass  # An optional key may also be empty.
        case _:
            raise TypeError(f"the grammar has no form for {kind}")
