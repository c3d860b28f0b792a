"""Reads the rotation journals that lessee 0.1.0 wrote to Vault: format 1, with other names of the same fields."""

from collections.abc import Mapping
from typing import Any

_NAMES = {
    "holder": "lock_owner",
    "held_until": "locked_until",
    "announced": "consumers_known",
    "before": "existing",
    "keep_until": "delete_at",
    "propagations": "propagation_times",
}


def upgrade(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields under today's names, without a format. An open rotation continues at its step."""
    journal = {_NAMES.get(name, name): value for name, value in fields.items()}
    if journal.get("step") == "keeping":
        journal["step"] = "retaining"
    return journal
