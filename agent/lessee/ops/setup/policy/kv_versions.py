"""What KV v2 says of a secret's versions, as values."""

import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from lessee.ops.setup.policy.migration import Settings, Version

_DURATION = re.compile(r"([0-9.]+)(h|ms|m|s)")
_HUGE = 1 << 1023  # No whole number from here on is taken for a double.
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def settings_of(metadata: Mapping[str, Any]) -> Settings:
    """From a secret's metadata."""
    return Settings(
        max_versions=int(metadata.get("max_versions") or 0),
        cas_required=metadata.get("cas_required") is True,
        delete_after=_seconds(str(metadata.get("delete_version_after") or "")),
        custom_metadata=metadata.get("custom_metadata") or {},
    )


def version_of(metadata: Mapping[str, Any]) -> Version:
    """From the metadata of one version, without what is in it."""
    ends = str(metadata.get("deletion_time") or "")
    return Version(
        ends=datetime.fromisoformat(ends).timestamp() if ends else None,
        destroyed=metadata.get("destroyed") is True,
    )


def metadata_from(settings: Settings) -> dict[str, Any]:
    """What is written to make them so."""
    return {
        "max_versions": settings.max_versions,
        "cas_required": settings.cas_required,
        "delete_version_after": f"{settings.delete_after:.0f}s",
        "custom_metadata": settings.custom_metadata,
    }


def fingerprint(key: bytes, data: Mapping[str, Any]) -> bytes:
    """Tells values apart without showing them. `key` is made for one run: later, no fingerprint says anything."""
    return hmac.digest(key, msgspec.json.encode(_kept(data), order="deterministic"), "sha256")


def is_exact(value: object) -> bool:
    """Whether KV v2 gives all numbers in it back as they are: it keeps doubles alone, and version 1 any digits."""
    match value:
        case dict():
            return all(map(is_exact, value.values()))
        case list():
            return all(map(is_exact, value))
        case int():
            return isinstance(_kept(value), bool | float)
        case _:
            return True


def _kept(value: object) -> object:
    """As KV v2 keeps it, where it can: of 1, 1.0 and 1e0 it makes one number."""
    match value:
        case dict():
            return {key: _kept(one) for key, one in value.items()}
        case list():
            return [_kept(one) for one in value]
        case int() | float() if not isinstance(value, bool) and abs(value) < _HUGE and float(value) == value:
            return float(value) + 0.0  # Of a zero without its sign.
        case _:
            return value


def _seconds(text: str) -> float:
    """Of a duration in Go's spelling, such as 1h0m0s."""
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))
