"""The result of a drill, and its forms."""

import json

import pytest

from lessee.config.grammar.backup import DrillObjectives
from lessee.ops.drill.policy.observations import Felt
from lessee.ops.drill.policy.report import MEANINGS, as_json, as_markdown, as_text, seconds_text, step_line
from lessee.ops.drill.policy.results import Result, Scene, SceneResult, Step, measure

FELT = Felt("simba", 1, 1, 50, 5, 0.1, 0.0, 0)
OBJECTIVES = DrillObjectives(rto=10.0, rpo=60.0)


def result(*scenes, not_played=(), archive="/a/b.age", substitutes=()):
    return Result(
        environment="production",
        where="a private server",
        archive=archive,
        archive_created="2026-11-25T11:00:00+00:00",
        started="2026-11-25T12:00:00Z",
        seconds=75.0,
        scenes=scenes,
        not_played=not_played,
        substitutes=substitutes,
    )


def restore(rto=5.0, **settings):
    settings = {"felt": (FELT,), "problems": (), **settings}
    steps = (Step(1.5, 2.0, "an empty | server starts", "lessee setup --init KEYS"), Step(3.5, 0.5, "the rest"))
    measures = (measure(OBJECTIVES, "rto", rto), measure(OBJECTIVES, "rpo", 30.0))
    return SceneResult(Scene.RESTORE, 6.0, steps, measures=measures, **settings)


def test_every_objective_has_a_meaning():
    assert set(MEANINGS) == set(DrillObjectives.__struct_fields__)


def test_a_measure_at_its_objective_is_met():
    assert measure(OBJECTIVES, "rto", 10.0004).met
    assert not measure(OBJECTIVES, "rto", 10.001).met
    assert result(restore(12.0)).missed == (measure(OBJECTIVES, "rto", 12.0),)


def test_the_text_has_the_apps_the_objectives_and_the_problems():
    missing = Felt("web", 0, 0, 0, 0, 0.0, 0.0, 2)
    text = as_text(
        result(
            restore(12.0, felt=(FELT, missing), problems=("the thief\x1b[2J",)),
            not_played=(("late", "no secret"),),
            substitutes=("pki: an authority",),
        )
    )
    assert "THE SERVER IS LOST, AND RESTORED FROM THE BACKUP (6.00 s)" in text
    assert "simba: 1 notifications, 1 loads of new files, 50 uses, 5 of them with a value older than Vault's" in text
    assert "web: 0 notifications" in text
    assert "2 times without readable files" in text
    assert "PROBLEM: the thief\\u001b[2J" in text
    assert "MISSED rto" in text
    assert "met    rpo" in text
    assert "not played: late: no secret" in text
    assert "note: pki: an authority" in text


def test_the_json_is_for_programs():
    found = json.loads(as_json(result(restore())))
    assert (found["format"], found["met"], found["complete"]) == (1, True, True)
    assert found["objectives"][0] == {"name": "rto", "seconds": 5.0, "objective": 10.0, "met": True}
    (scene,) = found["scenes"]
    assert scene["steps"][0]["command"] == "lessee setup --init KEYS"
    assert scene["apps"][0]["without_credential"] == 0.0
    assert not json.loads(as_json(result(restore(11.0))))["met"]
    assert not json.loads(as_json(result(restore(problems=("a",)))))["met"]
    assert not json.loads(as_json(result(restore(), not_played=(("a", "b"),))))["complete"]


def test_the_page_has_each_step_with_its_command_and_questions():
    text = as_markdown(result(restore(problems=("late",)), not_played=(("a", "b"),), substitutes=("note",)))
    assert "| 1.50 s | an empty \\| server starts<br>`lessee setup --init KEYS` | 2.00 s |" in text
    assert "| 3.50 s | the rest | 0.50 s |" in text
    assert "| `rto` | 5.00 s | 10.0 s | yes |" in text
    assert "**Problem**: late" in text
    assert "- a: b" in text
    assert "- note" in text
    assert "To discuss:" in text
    assert "**no**" in as_markdown(result(restore(11.0), archive=""))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.345, "0.34 s"), (12.34, "12.3 s"), (60, "1m"), (310, "5m 10s"), (93784, "1d 2h"), (90000, "1d 1h")],
)
def test_times_are_for_people(seconds, text):
    assert seconds_text(seconds) == text


def test_a_step_is_a_line():
    assert step_line("leak", Step(12.5, 0.25, "the thief is refused")) == (
        "  12.50 s  leak      the thief is refused (0.25 s)"
    )
