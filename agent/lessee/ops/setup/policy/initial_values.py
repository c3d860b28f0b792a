"""Where a secret's first value comes from."""

from typing import assert_never

from lessee.config.grammar.setup import GivenValue, NewValue
from lessee.core.immutable import ImmutableStruct

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_ENVIRONMENT = "{environment}"


class Generate(ImmutableStruct, frozen=True):
    """So many characters of these, by chance."""

    count: int
    alphabet: str


class Constant(ImmutableStruct, frozen=True):
    """What the configuration says."""

    hidden = ("value",)

    value: str


class FromVariable(ImmutableStruct, frozen=True):
    """What a variable of the operator's environment holds."""

    name: str


class FromFile(ImmutableStruct, frozen=True):
    """What a file holds, without the newline at its end."""

    path: str


class Prompt(ImmutableStruct, frozen=True):
    """What the operator types."""


Source = Generate | Constant | FromVariable | FromFile | Prompt


def source_of(said: NewValue | GivenValue, environment: str) -> Source:
    """The source that the configuration names, for one environment."""
    if isinstance(said, NewValue) and said.generate is not None:
        return Generate(said.generate, said.alphabet or ALPHABET)
    if isinstance(said, NewValue) and said.value is not None:
        return Constant(said.value)
    if said.env is not None:
        return FromVariable(said.env.replace(_ENVIRONMENT, environment))
    if said.file is not None:
        return FromFile(said.file.replace(_ENVIRONMENT, environment))
    return Prompt()


def describe(source: Source) -> str:
    """The source in words, without a value."""
    match source:
        case Generate(count):
            return f"new, {count} character{'s' * (count != 1)}"
        case Constant():
            return "as configured"
        case FromVariable(name):
            return f"from ${name}"
        case FromFile(path):
            return f"from {path}"
        case Prompt():
            return "asked for"
        case _:
            assert_never(source)
