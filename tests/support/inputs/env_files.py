"""Env files that try their readers: every hostile value in one file, and values amid an author's junk."""

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
    """Text as it is; a value in a list is a hole."""
    return Document(
        "app.env.j2",
        tuple(part if isinstance(part, str) else Placeholder(part[0], "database/postgres: password") for part in parts),
    )


def written(name, *parts):
    """The file; None where the format cannot hold it."""
    try:
        return write(document(*parts), name)
    except FormatError:
        return None


def refused(name):
    """The hostile values that a format cannot hold."""
    return {value for value in VALUES if written(name, "A=", [value], "\n") is None}


def every_value(name, *forms):
    """One file with all hostile values, each in every form of `NAME=…` that can hold it, and what it must mean.

    A form is the text around the value, as written and as parsed.
    """
    parts, wanted = [], {}
    for before, meant_before, after, meant_after in forms:
        for value in VALUES:
            if written(name, f"A={before}", [value], f"{after}\n") is not None:
                key = f"V{len(wanted)}"
                parts += [f"{key}={before}", [value], f"{after}\n"]
                wanted[key] = f"{meant_before}{value}{meant_after}"
    return write(document(*parts), name), wanted


def junk(count, pieces=PIECES, seed=20):
    """What an author would never write; the same in each run."""
    draw = random.Random(seed)  # noqa: S311  # The same in each run.
    return ["".join(draw.choices(pieces, k=draw.randint(1, 14))) for _ in range(count)]


def amid_junk(name, count, pieces=PIECES):
    """Files with a value amid junk, where the format holds it: as written, with a harmless word instead, the value."""
    draw = random.Random(21)  # noqa: S311  # As above.
    for before, after in zip(junk(count, pieces, 22), junk(count, pieces, 23), strict=True):
        value = draw.choice(VALUES)
        text = written(name, before, [value], after)
        if text is not None:
            harmless = f"{before}{_HARMLESS}{after}"
            yield text, harmless + "\n" * (text.endswith("\n") and not harmless.endswith("\n")), value


def as_if(found, value):
    """What was read of a harmless word, had it been the value."""
    return found and {key.replace(_HARMLESS, value): text.replace(_HARMLESS, value) for key, text in found.items()}
