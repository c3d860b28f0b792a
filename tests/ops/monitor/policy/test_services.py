"""What a monitor tells of those whom it asks how they are."""

from lessee.ops.monitor.policy.facts import Answer, Heard, Held, Rotated
from lessee.ops.monitor.policy.services import view

AT, SPELLED = 1_790_000_000.0, "2026-09-21T14:13:20.000+00:00"


def test_of_each_it_tells_how_asking_went_and_of_rotators_each_target():
    agent = Answer(AT, None, Heard((Held("database/creds/simba", AT, None, "held"),)))
    rotator = Answer(AT, "refused", Heard((), (Rotated("db", AT, 2, "away", 7.5), Rotated("s3", None, 0, "", 0.0))))
    said = view({"rotator": rotator, "agent": agent, "never": Answer(AT, "no such file", None)})
    assert said["services"] == [
        {"name": "agent", "asked_at": SPELLED, "error": None, "leases": 1, "targets": 0},
        {"name": "never", "asked_at": SPELLED, "error": "no such file", "leases": None, "targets": None},
        {"name": "rotator", "asked_at": SPELLED, "error": "refused", "leases": 0, "targets": 2},
    ]
    assert said["rotation"] == [
        {"service": "rotator", "target": "db", "next": SPELLED, "failures": 2, "error": "away", "open_for": 7.5},
        {"service": "rotator", "target": "s3", "next": None, "failures": 0, "error": None, "open_for": None},
    ]
    assert view({}) == {"services": [], "rotation": []}
