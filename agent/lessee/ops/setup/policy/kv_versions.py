"""Reads and writes KV v2 metadata, and fingerprints the data of versions."""

import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from lessee.ops.setup.policy.migration import Settings, Version

_DURATION = re.compile(r"([0-9.]+)(h|ms|m|s)")
_HUGE = 1 << 1023  # An integer of this size or more is never stored as a double.
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def settings_of(metadata: Mapping[str, Any]) -> Settings:
    """The settings in a secret's metadata."""
    return Settings(
        max_versions=int(metadata.get("max_versions") or 0),
        cas_required=metadata.get("cas_required") is True,
        delete_version_after=_seconds(str(metadata.get("delete_version_after") or "")),
        custom_metadata=metadata.get("custom_metadata") or {},
    )


def version_of(metadata: Mapping[str, Any]) -> Version:
    """A version from its metadata, without its data."""
    deletes_at = str(metadata.get("deletion_time") or "")
    return Version(
        deletes_at=datetime.fromisoformat(deletes_at).timestamp() if deletes_at else None,
        destroyed=metadata.get("destroyed") is True,
    )


def metadata_body(settings: Settings) -> dict[str, Any]:
    """The request body that writes these settings."""
    return {
        "max_versions": settings.max_versions,
        "cas_required": settings.cas_required,
        "delete_version_after": f"{settings.delete_version_after:.0f}s",
        "custom_metadata": settings.custom_metadata,
    }


def fingerprint(key: bytes, data: Mapping[str, Any]) -> bytes:
    """Compares data without revealing it. `key` is random and used for one run, so old fingerprints reveal nothing."""
    return hmac.digest(key, msgspec.json.encode(_as_stored(data), order="deterministic"), "sha256")


def is_lossless(value: object) -> bool:
    """Whether KV v2 returns all numbers in it unchanged. It stores them as doubles; KV v1 stores all digits."""
    match value:
        case dict():
            return all(map(is_lossless, value.values()))
        case list():
            return all(map(is_lossless, value))
        case int():
            return isinstance(_as_stored(value), bool | float)
        case _:
            return True


def _as_stored(value: object) -> object:
    """As KV v2 stores it, where it can: 1, 1.0 and 1e0 become the same number."""
    match value:
        case dict():
            return {key: _as_stored(item) for key, item in value.items()}
        case list():
            return [_as_stored(item) for item in value]
        case int() | float() if not isinstance(value, bool) and abs(value) < _HUGE and float(value) == value:
            return float(value) + 0.0  # Drops the sign of a negative zero.
        case _:
            return value


def _seconds(text: str) -> float:
    """Seconds from a duration as Go writes it, such as 1h0m0s."""
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))
