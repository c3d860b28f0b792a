"""What a template gives: the author's text and the values in it, still apart."""

from lessee.core.record import Record


class Hole(Record, frozen=True):
    """A place in the author's text where a value belongs.

    `value` is any JSON value. `origin` names where it came from without telling it, such as
    `database/postgres: password`. `structure` marks a value that is already text of the file's own
    grammar (`{{ secret("a") | json }}` in a JSON file).
    """

    hidden = ("value",)

    value: object
    origin: str
    structure: bool = False


class Document(Record, frozen=True):
    """One rendered file before its values are written into it: text, hole, text, hole, … in order."""

    name: str
    """What errors call the file: the template's name."""
    parts: tuple[str | Hole, ...]
