"""The log events that the audit trail records as actions, and what it records of them."""

from collections.abc import Mapping
from datetime import UTC, datetime

from lessee.audit_trail.policy.entries import Outcome, truncate

RECORDED_EVENTS: Mapping[str, Outcome] = {
    # Of an agent.
    "logged in": "done",
    "login failed": "failed",
    "token expired": "done",
    "token rejected": "failed",
    "secret read": "done",
    "lease issued": "done",
    "static role read": "done",
    "lease revoked": "done",
    "token revoked": "done",
    "lease expired": "done",
    "generation published": "done",
    "generation not published": "failed",
    "app notified": "done",
    "app not notified": "failed",
    "app ready": "done",
    "app not ready": "failed",
    "app rolled back": "done",
    "app not rolled back": "failed",
    "files contain expired secrets": "done",
    "child started": "done",
    "versions reported": "done",
    # Of a rotator.
    "rotation started": "started",
    "credential rotated": "done",
    "rotation confirmed": "done",
    "rotation failed": "failed",
    "rotation abandoned": "failed",
    "rotation failed repeatedly": "failed",
    "old credential restored manually": "done",
    "consumer not confirmed in time": "done",
    "old credential disabled": "done",
    "old credential retained": "done",
    "old credential revoked": "done",
    "old credential deleted": "done",
    "target removed during rotation": "done",
    "key of an interrupted attempt deleted": "done",
    "key of an interrupted attempt revoked": "done",
    "sessions terminated": "done",
    # Of `lessee issue`.
    "secret_id issued": "done",
    "secret_id not issued": "failed",
    "secret_id refused": "failed",
    # Of several.
    "configuration reloaded": "done",
    "configuration not reloaded": "failed",
}
"""The outcome of each recorded event."""


def subject_of(fields: Mapping[str, object]) -> dict[str, str | int]:
    """The fields of an event as the subject of an action."""
    subject: dict[str, str | int] = {}
    for key, value in fields.items():
        if isinstance(value, int) and not isinstance(value, bool):
            subject[key] = value
        elif value is not None:
            subject[key] = truncate(str(value))
    return subject


def rfc3339(timestamp: float) -> str:
    """A timestamp in seconds since 1970, in UTC as RFC 3339."""
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
