"""Reads archives that lessee 0.1.0 saved: format 1, with other names in the manifest and its records."""

from typing import Any

import msgspec


def upgrade_manifest(text: bytes) -> bytes:
    """The manifest under today's names. Raises what msgspec raises for one that is malformed."""
    manifest = msgspec.json.decode(text, type=dict[str, Any])
    if "sealed_by" in manifest:
        manifest["authenticated_by"] = manifest.pop("sealed_by")
    return msgspec.json.encode(manifest)


def upgrade_object(text: bytes) -> bytes:
    """The record of a server object under today's names. Raises what msgspec raises for one that is malformed."""
    record = msgspec.json.decode(text, type=dict[str, Any])
    if record.get("kind") == "kept":
        record["kind"] = "reference"
    return msgspec.json.encode(record)
