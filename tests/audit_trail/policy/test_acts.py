"""Of what a service logs, acts go into the trail, with what they are about."""

from lessee.audit_trail.policy.acts import ACTS, spelled, subject_of


def test_a_subject_holds_numbers_and_texts_alone():
    fields = {"app": "web", "generation": 7, "code": None, "owed": True, "after": 1.5}
    assert subject_of(fields) == {"app": "web", "generation": 7, "owed": "True", "after": "1.5"}


def test_a_moment_is_spelled_in_utc():
    assert spelled(0.25) == "1970-01-01T00:00:00.250Z"


def test_what_is_only_weather_is_no_act():
    assert "vault is away" not in ACTS
    assert ACTS["not published"] == "failed"
