"""The environment of a child as a dotenv template."""

import re
from collections.abc import Sequence

from lessee.ops.migrate.policy.jinja.fragments import Piece, Tag, Text, write

_UNQUOTED = re.compile(r"[\w.:/@%+,-]*")


def line(name: str, pieces: Sequence[Piece]) -> str:
    """`NAME=…`, which lessee reads as python-dotenv does."""
    texts = [piece.text for piece in pieces if isinstance(piece, Text)]
    holes = all(piece.kind == "{" for piece in pieces if isinstance(piece, Tag))
    if holes and all(_UNQUOTED.fullmatch(text) for text in texts):
        return f"{name}={write(pieces)}\n"
    quoted = [Text(_escaped(piece.text)) if isinstance(piece, Text) else piece for piece in pieces]
    return write([Text(f'{name}="'), *quoted, Text('"\n')])


def _escaped(text: str) -> str:
    """Inside double quotes. A variable without a name is its default: so `$` is written where `${` would begin one."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r").replace("${", "${:-$}{")
