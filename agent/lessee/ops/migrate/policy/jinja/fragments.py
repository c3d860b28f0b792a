"""The text of a Jinja template, put together so that it writes exactly the white space that is meant.

Jinja cuts the blanks before a block at a line's start (lstrip_blocks) and turns every line's end into a newline.
"""

import re
from collections.abc import Sequence

from lessee.core.immutable import Record


class Text(Record, frozen=True):
    """Text as it is to be written. `before` and `after`: white space that stood there and is not to be written."""

    text: str
    before: str = ""
    after: str = ""


class Tag(Record, frozen=True):
    """`{% text %}`, or with another kind `{{ text }}` and `{# text #}`."""

    text: str
    kind: str = "%"


class Gap(Record, frozen=True):
    """An action that leaves nothing here: white space on its two sides is not one piece."""


Piece = Text | Tag | Gap


def write(pieces: Sequence[Piece]) -> str:
    """The template. White space that is cut is kept for the reader, with a `-`, where Jinja cuts no more than that."""
    tags = [piece for piece in pieces if isinstance(piece, Tag)]
    texts = [_merged(run) for run in _runs(pieces)]
    out = ""
    for at, text in enumerate(texts):
        leads = at > 0 and _fits(text.before, text.text[:1])
        trails = at < len(tags) and not (leads and not text.text) and _fits(text.after, text.text[-1:])
        out += (text.before if leads else "") + _escaped(text.text, brace=at < len(tags) and not trails)
        if trails:
            out += text.after
        if at < len(tags):
            left = "-" if trails else "+" if tags[at].kind != "{" and _is_indent(out) else ""
            right = "-" if _fits(texts[at + 1].before, texts[at + 1].text[:1]) else ""
            out += _tag(tags[at], left, right)
    return out


def comment(text: str) -> Tag:
    """A comment; what would end it is taken apart."""
    return Tag(" ".join(text.replace("#}", "# }").split()), "#")


_SPECIAL = re.compile(r"\{+[{%#]|\{*\r+")
_ENDS = {"%": "%", "{": "}", "#": "#"}


def _runs(pieces: Sequence[Piece]) -> list[list[Text | Gap]]:
    """What stands before, between and behind the tags."""
    runs: list[list[Text | Gap]] = [[]]
    for piece in pieces:
        if isinstance(piece, Tag):
            runs.append([])
        else:
            runs[-1].append(piece)
    return runs


def _merged(run: Sequence[Text | Gap]) -> Text:
    """One text; white space that was cut beside a gap is gone for good."""
    first, last = (run[0], run[-1]) if run else (Gap(), Gap())
    text = "".join(piece.text for piece in run if isinstance(piece, Text))
    before = first.before if isinstance(first, Text) else ""
    return Text(text, before, last.after if isinstance(last, Text) else "")


def _fits(cut: str, neighbour: str) -> bool:
    """Whether Jinja's `-` would cut this white space and no more, whose neighbour is what stays."""
    return bool(cut) and not neighbour.isspace()


def _is_indent(out: str) -> bool:
    """Whether Jinja would take the blanks at the end for an indent, and cut them."""
    line = out[out.rfind("\n") + 1 :]
    return bool(line) and line.isspace()


def _escaped(text: str, *, brace: bool) -> str:
    """`brace`: a tag follows, whose brace a last one would join."""
    escaped = _SPECIAL.sub(lambda found: _written(found[0]), text)
    if brace and text.endswith("{") and escaped.endswith("{"):
        return escaped[:-1] + _written("{")
    return escaped


def _written(marks: str) -> str:
    shown = marks.replace("\r", "\\r")
    return f'{{{{ "{shown}" }}}}'


def _tag(tag: Tag, left: str, right: str) -> str:
    end = _ENDS[tag.kind]
    return f"{{{tag.kind}{left} {tag.text} {right}{end}}}"
