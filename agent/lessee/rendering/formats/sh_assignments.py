"""Finds the assignments of a shell script, each with its value split at what the shell expands."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from lessee.rendering.formats.sh_commands import assigning_words
from lessee.rendering.formats.sh_script import Segment
from lessee.rendering.formats.sh_words import read
from lessee.rendering.formats.variables import Assignment

_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_IN_DOUBLE = re.compile(r"\\([\\\"$`\n])")
_TILDE = re.compile(r"(?:^|:)~")


def literals(text: str) -> Iterator[tuple[Assignment, tuple[str, ...]]]:
    """The assignments in order. Raises AmbiguousError where shells may differ, or RecursionError."""
    script = read(text)
    starts = [segment.at for segment in script.segments]
    for word in sorted(assigning_words(script), key=lambda word: word.at):
        if found := _NAME.match(word.text):
            begin = word.at + found.end()
            first, end = bisect_left(starts, word.at), bisect_left(starts, word.end)
            atoms = _atoms(script.segments[first:end])
            yield Assignment(found[1], text[begin : word.end], word.at, begin, word.end), tuple(atoms)


def _atoms(segments: Sequence[Segment]) -> list[str]:
    """Literals at even indexes, and at odd ones what the shell expands."""
    atoms = [""]
    is_first = True
    for segment in segments[1:]:  # The first one is the name.
        text = segment.text[1:] if is_first else segment.text
        literal = _literal(segment, text, is_first=is_first)
        is_first = False
        if literal is None:
            atoms += [text, ""]
        else:
            atoms[-1] += literal
    return atoms


def _literal(segment: Segment, text: str, *, is_first: bool) -> str | None:
    """What a segment means; None if the shell expands it. The first one of a word begins with the `=`."""
    match segment.kind:
        case "bare" if not _TILDE.search(text if is_first else f"x{text}"):
            return _ESCAPED.sub(lambda found: found[1].strip("\n"), text)
        case "single":
            return text[1:-1]
        case "double":
            return _IN_DOUBLE.sub(lambda found: found[1].strip("\n"), text)
        case "code" if text == '"':
            return ""
        case _:
            return None
