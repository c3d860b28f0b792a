"""What a template gives: the author's text and the values in it, still apart."""

from lessee.core.immutable import Record


class Hole(Record, frozen=True):
    """A place in the author's text where a value belongs.

    `value` is any JSON value, or bytes, which plain text alone can hold. `origin` names where it came from
    without telling it, such as `database/postgres: password`. `structure` marks a value that is already
    text of the file's own grammar (`{{ secret("a") | json }}` in a JSON file). A YAML file lays out for
    itself: it takes `yaml`, JSON that means what the value does, or `unindented`, the value without layout.
    """

    hidden = ("value", "yaml", "unindented")

    value: object
    origin: str
    structure: bool = False
    yaml: str | None = None
    unindented: str | None = None


class Document(Record, frozen=True):
    """One rendered file before its values are written into it: text, hole, text, hole, … in order."""

    name: str
    """What errors call the file: the template's name."""
    parts: tuple[str | Hole, ...]
