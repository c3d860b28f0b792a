"""The result of a template: the author's text, with the values still separate."""

from lessee.core.immutable import ImmutableStruct


class Placeholder(ImmutableStruct, frozen=True):
    """A value, and its place in the author's text.

    `value` is any JSON value, or bytes, which only the format `text` can write. `origin` names the value without
    revealing it, such as `database/postgres: password`. `structure` marks a value that is already in the file's own
    grammar (`{{ secret("a") | json }}` in a JSON file). The format `yaml` has its own layout: it uses `yaml`, JSON
    with the same meaning, or `unindented`, the value without layout.
    """

    hidden = ("value", "yaml", "unindented")

    value: object
    origin: str
    structure: bool = False
    yaml: str | None = None
    unindented: str | None = None


class Document(ImmutableStruct, frozen=True):
    """A rendered file before its values are written: text, placeholder, text, placeholder, … in order."""

    name: str
    """The template's name, which errors use."""
    parts: tuple[str | Placeholder, ...]
