"""What a server's answer to a client of MCP says of the key that came with it."""

LET_IN = frozenset({*range(200, 300), 405, 406})
"""405 and 406 are of one that had read the key, and does not take this kind of request."""
REFUSED = frozenset({401, 403})
UNWELL = frozenset({429, *range(500, 600)})
"""It, or a proxy before it, is in trouble: that says nothing of the key."""

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-03-26",
        "capabilities": {},
        "clientInfo": {"name": "lessee-validate", "version": "1"},
    },
}
"""The first request of every client: https://modelcontextprotocol.io/specification/2025-03-26/basic/lifecycle."""


def credential(header: str, key: str) -> str:
    """The header's value: in Authorization a bearer token."""
    return f"Bearer {key}" if header.lower() == "authorization" else key
