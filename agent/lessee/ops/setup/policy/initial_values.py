"""The sources of a secret's initial values."""

from typing import assert_never

from lessee.config.grammar.setup import GivenValue, NewValue
from lessee.core.immutable import ImmutableStruct

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_ENVIRONMENT = "{environment}"


class Generate(ImmutableStruct, frozen=True):
    """Random characters from an alphabet."""

    count: int
    alphabet: str


class Constant(ImmutableStruct, frozen=True):
    """The value in the configuration."""

    hidden = ("value",)

    value: str


class FromVariable(ImmutableStruct, frozen=True):
    """The value of an environment variable of the operator."""

    name: str


class FromFile(ImmutableStruct, frozen=True):
    """The content of a file, without a final newline."""

    path: str


class Prompt(ImmutableStruct, frozen=True):
    """A value that the operator types."""


Source = Generate | Constant | FromVariable | FromFile | Prompt


def source_of(spec: NewValue | GivenValue, environment: str) -> Source:
    """The configured source for one environment."""
    if isinstance(spec, NewValue) and spec.generate is not None:
        return Generate(spec.generate, spec.charset or ALPHABET)
    if isinstance(spec, NewValue) and spec.value is not None:
        return Constant(spec.value)
    if spec.env is not None:
        return FromVariable(spec.env.replace(_ENVIRONMENT, environment))
    if spec.file is not None:
        return FromFile(spec.file.replace(_ENVIRONMENT, environment))
    return Prompt()


def describe(source: Source) -> str:
    """The source in words, without the value."""
    match source:
        case Generate(count):
            return f"generated, {count} character{'s' * (count != 1)}"
        case Constant():
            return "from the configuration"
        case FromVariable(name):
            return f"from ${name}"
        case FromFile(path):
            return f"from {path}"
        case Prompt():
            return "typed at a prompt"
        case _:
            assert_never(source)
