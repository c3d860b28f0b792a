"""Which events of a service are acts, and what of them goes into the trail."""

from collections.abc import Mapping
from datetime import UTC, datetime

from lessee.audit_trail.policy.entries import Outcome, cut

ACTS: Mapping[str, Outcome] = {
    # What an agent does.
    "logged in": "done",
    "login failed": "failed",
    "token ended": "done",
    "read": "done",
    "issued": "done",
    "read a static role": "done",
    "revoked": "done",
    "revoked a token": "done",
    "lease ended": "done",
    "published": "done",
    "not published": "failed",
    "notified": "done",
    "not notified": "failed",
    "confirmed": "done",
    "not ready": "failed",
    "rolled back": "done",
    "not rolled back": "failed",
    "files hold what has ended": "done",
    "child started": "done",
    "versions confirmed": "done",
    # What a rotator does.
    "rotation begun": "begun",
    "rotation published": "done",
    "rotation confirmed": "done",
    "rotation failed": "failed",
    "rotation given up": "failed",
    "rotation keeps failing": "failed",
    "the old credential is published again, and kept": "done",
    "set back by hand: the new credential is retired": "done",
    "not waited for any longer": "done",
    "old credential retired": "done",
    "old credential removed": "done",
    "target taken out in the middle of a rotation": "done",
    "key of an interrupted try deleted": "done",
    "a key that a killed try left is revoked": "done",
    "sessions ended": "done",
    # What both do.
    "configuration taken up": "done",
    "configuration not taken up": "failed",
}
"""By the event that is logged."""


def subject_of(fields: Mapping[str, object]) -> dict[str, str | int]:
    """What an event tells, as an entry holds it."""
    said: dict[str, str | int] = {}
    for key, value in fields.items():
        if isinstance(value, int) and not isinstance(value, bool):
            said[key] = value
        elif value is not None:
            said[key] = cut(str(value))
    return said


def spelled(moment: float) -> str:
    """RFC 3339, in UTC, of seconds since 1970."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
