"""Some log events are recorded as actions, with their fields as the subject."""

from lessee.audit_trail.policy.actions import RECORDED_EVENTS, rfc3339, subject_of


def test_a_subject_contains_only_numbers_and_texts():
    fields = {"app": "web", "generation": 7, "code": None, "pending": True, "after": 1.5}
    assert subject_of(fields) == {"app": "web", "generation": 7, "pending": "True", "after": "1.5"}


def test_a_timestamp_is_written_in_utc():
    assert rfc3339(0.25) == "1970-01-01T00:00:00.250Z"


def test_an_outage_is_not_an_action():
    assert "vault unavailable" not in RECORDED_EVENTS
    assert RECORDED_EVENTS["generation not published"] == "failed"
    assert RECORDED_EVENTS["token rejected"] == "failed"
