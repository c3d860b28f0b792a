"""Env files for tests of readers: all hostile values in one file, and values between random text."""

import random

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.formats import write
from support.inputs.hostile_values import VALUES

_HARMLESS = "harm7less"
PIECES = (
    *("'", '"', "`", "$", "${", "}", "${HOME}", "$HOME", ":-", "#", " #", "\n", "\r\n", "\\", " ", "=", "\t", "\r"),
    *("A=", "B='", 'C="', "\nD=", "E: ", "'\n", '"\n', "export ", "x", "y", "\\n", "\\$", "[", "é", "\u2028", "\ufeff"),
)


def document(*parts):
    """Marked text: strings are the author's text, a value in a list is a secret's."""
    return Document(
        "app.env.j2",
        tuple(part if isinstance(part, str) else Placeholder(part[0], "database/postgres: password") for part in parts),
    )


def written(name, *parts):
    """The rendered file; None if the format cannot represent it."""
    try:
        return write(document(*parts), name)
    except FormatError:
        return None


def refused(name):
    """The hostile values that a format cannot represent."""
    return {value for value in VALUES if written(name, "A=", [value], "\n") is None}


def every_value(name, *forms):
    """A file with all hostile values, each in every form of `NAME=…` that can represent it, and the expected variables.

    A form is the text around the value, as written and as parsed.
    """
    [file] = every_value_by(name, None, *forms)
    return file


def every_value_by(name, count, *forms):
    """The same in files of `count` variables, for readers whose time grows with the square of a file."""
    parts, wanted, number = [], {}, 0
    for before, meant_before, after, meant_after in forms:
        for value in VALUES:
            if written(name, f"A={before}", [value], f"{after}\n") is not None:
                key, number = f"V{number}", number + 1
                parts += [f"{key}={before}", [value], f"{after}\n"]
                wanted[key] = f"{meant_before}{value}{meant_after}"
            if len(wanted) == count:
                yield write(document(*parts), name), wanted
                parts, wanted = [], {}
    if parts:
        yield write(document(*parts), name), wanted


def junk(count, pieces=PIECES, seed=20):
    """Random text, the same in each run."""
    draw = random.Random(seed)  # noqa: S311  # The same in each run.
    return ["".join(draw.choices(pieces, k=draw.randint(1, 14))) for _ in range(count)]


def amid_junk(name, count, pieces=PIECES):
    """Files with a value between random text: the file, the same file with a harmless word, and the value."""
    draw = random.Random(21)  # noqa: S311  # As above.
    for before, after in zip(junk(count, pieces, 22), junk(count, pieces, 23), strict=True):
        value = draw.choice(VALUES)
        text = written(name, before, [value], after)
        if text is not None:
            harmless = f"{before}{_HARMLESS}{after}"
            yield text, harmless + "\n" * (text.endswith("\n") and not harmless.endswith("\n")), value


def as_if(found, value):
    """The expected reading, from that of the file with the harmless word."""
    return found and {key.replace(_HARMLESS, value): text.replace(_HARMLESS, value) for key, text in found.items()}
