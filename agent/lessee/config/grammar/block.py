"""What every block of lessee.yaml is: a mapping whose keys are known, with a sentence on each."""

from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from lessee.config.grammar import scalars as w


def says(description: str) -> Meta:
    """What a key means, for the reader of the schema."""
    return Meta(description=description)


class Block(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A mapping of the file. A key without a value is as good as none, unless it must be there."""

    one_of: ClassVar[tuple[str, ...]] = ()
    """Keys of which exactly one must be there."""


Command = Annotated[tuple[w.Text, ...], Meta(min_length=1)]
"""A program and its arguments; no shell reads it."""
