"""Reads the state that the monitor of lessee 0.1.0 saved: format 1, with other names of the same fields."""

from typing import Any

import msgspec

_NAMES = {"log": "location", "place": "position", "rubbish": "invalid_lines"}


def upgrade(text: bytes) -> bytes:
    """The positions in the logs under today's names. Raises what msgspec raises for another text.

    Counts, alerts and learned clients of 0.1.0 have other rules: they start again.
    """
    saved = msgspec.json.decode(text, type=dict[str, Any])
    sources = msgspec.convert(saved.get("sources", {}), dict[str, dict[str, Any]])
    return msgspec.json.encode(
        {
            "format": 2,
            "is_final": saved.get("is_whole", True),
            "sources": {
                name: {_NAMES.get(key, key): value for key, value in source.items()} for name, source in sources.items()
            },
        }
    )
