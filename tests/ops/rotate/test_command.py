"""A rotator of one's own is given what it needs and no more, and nothing it does loses a credential."""

import json
import os
import sys
from pathlib import Path

import pytest

from lessee.core.errors import LesseeError
from lessee.ops.rotate.kinds.kind import SystemRefusedError, SystemUnavailableError
from lessee.ops.rotate.policy.journal import Step
from support.environments.rotation_targets import AHEAD, Rotated
from support.programs.sidecar import eventually

FIRST = "the-first-value-of-all"
HEAD = f"""#!{sys.executable}
import json, os, sys, time
asked = json.load(sys.stdin)
step = asked["step"]
"""
FINE = """
if step == "create":
    print(json.dumps({"api_key": "made-for-" + asked["id"]}))
"""


class Own:
    """A program of the test's own; what it notes is a line of JSON in `noted`."""

    calls = ()

    def __init__(self, folder, body, **settings):
        self.file, self.noted = folder / "rotate-thing", folder / "noted"
        self.write(body)
        self.target = {"kind": "command", "secret": "other/thing", "command": ["./rotate-thing", "word"], **settings}

    def write(self, body):
        note = (
            f"print(json.dumps([asked, dict(os.environ), sys.argv, os.getcwd()]), file=open({str(self.noted)!r}, 'a'))"
        )
        self.file.write_text(f"{HEAD}{note}\n{body}\n")
        self.file.chmod(0o700)

    def secrets(self):
        return {"other/thing": {"host": "thing.example", "api_key": FIRST}}

    @property
    def said(self):
        return [json.loads(line) for line in self.noted.read_text().splitlines()]


@pytest.fixture
def own(bao, tmp_path):
    def make(body, **settings):
        new = Rotated(bao, tmp_path, Own(tmp_path, body, **settings))
        new.confirm(version=AHEAD)
        return new

    return make


def test_it_is_started_once_a_step_with_what_the_step_needs(own):
    rotated = own(FINE)
    rotated.rotate()
    asked = [one for one, *_ in rotated.system.said]
    assert [one["step"] for one in asked] == ["describe", "create", "prove", "retire"]
    _, create, prove, retire = asked
    whole = {"host": "thing.example", "api_key": FIRST, "rotation_count": 0}
    made = {"api_key": f"made-for-{create['id']}"}
    assert (create["current"], create["pending"], create["secret"]) == (whole, {}, whole)
    assert prove["pending"] == whole | made
    assert (retire["id"], retire["current"], retire["pending"]) == (create["id"], {"api_key": FIRST}, made)
    assert rotated.fields()["api_key"] == made["api_key"]


def test_no_value_stands_in_its_words_or_its_environment_nor_what_is_lessees_own(own):
    rotated = own(FINE)
    rotated.rotate()
    for _, environ, words, folder in rotated.system.said:
        assert set(environ) <= {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LC_CTYPE"}
        assert words[1:] == ["word"]
        assert folder == str(rotated.folder)


def test_it_may_leave_its_input_unread(own):
    rotated = own("")
    rotated.system.file.write_text(
        """#!/bin/sh
case "$(head -c 50)" in
*create*) echo '{"api_key": "of-a-shell-script"}' ;;
*describe*) exit 64 ;;
esac
"""
    )
    rotated.put(rotated.secret_path, api_key=FIRST, more="x" * 500_000)
    rotated.rotate()
    assert rotated.fields()["api_key"] == "of-a-shell-script"


def test_after_a_kill_it_is_asked_with_the_same_id(own):
    rotated = own(FINE)
    rotated.system.calls = ("lessee.ops.rotate.rotator_programs:Program.run",)
    rotated._calls = rotated.system.calls
    assert rotated.killed(1, after=True)
    assert rotated.journal.step is Step.CREATING
    rotated.rotate(finish_only=True)
    first, second = (one["id"] for one, *_ in rotated.system.said if one["step"] == "create")
    assert first == second
    assert rotated.fields()["api_key"] == f"made-for-{first}"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("print('hello')", "no JSON; what is for people goes to stderr"),
        ("print('[]')", "an object of the new fields"),
        ("print('{}')", "an object of the new fields"),
        ("print(json.dumps({'api_key': None, 'b': [], 'c': ''}))", "is wanted for api_key, b, c"),
        ("print('{\"api_key\": NaN}')", "no JSON"),
        ("print(json.dumps({'rotation_count': 3}))", "rotation_count and rotation_timestamp are lessee's own"),
        (f"print(json.dumps({{'api_key': {FIRST!r}}}))", "a new value is wanted"),
        ("sys.exit(77)", "refuses to create"),
    ],
)
def test_an_answer_that_is_no_use_is_told_and_the_old_one_stays(own, body, told):
    rotated = own(f"if step == 'create':\n    {body}")
    with pytest.raises(SystemRefusedError, match=told) as caught:
        rotated.rotate()
    assert FIRST not in str(caught.value)
    assert rotated.fields()["api_key"] == FIRST
    assert rotated.journal.failures == 1


def test_what_it_says_it_gives_is_what_it_must_give(own):
    rotated = own(FINE + "\nif step == 'describe': print(json.dumps({'fields': ['api_key', 'id']}))")
    with pytest.raises(SystemRefusedError, match="by `describe` it has api_key, id and nothing else"):
        rotated.rotate()


@pytest.mark.parametrize("answer", ['{"field": ["x"]}', '{"fields": "x"}', "[]"])
def test_a_description_that_is_none_is_told_before_anything_begins(own, answer):
    rotated = own(f"print({answer!r})")
    with pytest.raises(LesseeError, match="to describe is not as expected; it is"):
        rotated.rotate()
    assert rotated.journal.step is Step.IDLE


def test_a_program_that_is_not_there_is_told_by_its_name(own):
    rotated = own(FINE)
    rotated.system.file.unlink()
    with pytest.raises(
        LesseeError, match=r"\./rotate-thing was not started: No such file or directory; mend `command:`"
    ):
        rotated.rotate()


@pytest.mark.parametrize("step", ["create", "prove", "retire"])
def test_a_step_that_fails_is_tried_again_and_loses_nothing(own, step):
    rotated = own(f"if step == {step!r}: sys.exit(1)\n{FINE}")
    with pytest.raises(SystemUnavailableError, match=rf"{step}: \./rotate-thing ended with 1; it is tried again"):
        rotated.rotate()
    rotated.system.write(FINE)
    rotated.rotate(finish_only=True)
    made = {one["id"] for one, *_ in rotated.system.said if one["step"] == "create"}
    assert len(made) == 1
    assert rotated.fields()["api_key"] == f"made-for-{made.pop()}"
    assert rotated.journal.step is Step.IDLE


def test_a_new_one_that_is_refused_is_retired_and_the_old_one_stays(own):
    rotated = own(f"if step == 'prove': sys.exit(77)\n{FINE}")
    with pytest.raises(SystemRefusedError, match="the new credential is not let in"):
        rotated.rotate()
    retired = rotated.system.said[-1][0]
    assert (retired["step"], retired["current"]) == ("retire", {"api_key": f"made-for-{retired['id']}"})
    assert retired["pending"] == {"api_key": FIRST}
    assert rotated.fields()["api_key"] == FIRST
    assert (rotated.journal.step, rotated.journal.failures) == (Step.IDLE, 1)


def test_one_that_does_not_end_is_killed_with_what_it_started(own, tmp_path):
    body = f"""
if step == "create":
    import subprocess
    child = subprocess.Popen(["sleep", "600"])
    open({str(tmp_path / "child")!r}, "w").write(str(child.pid))
    child.wait()
"""
    rotated = own(body, timeout="5s")  # It must have started the other by then.
    with pytest.raises(SystemUnavailableError, match=r"create: \./rotate-thing was killed after 5 s"):
        rotated.rotate()
    child = Path("/proc") / (tmp_path / "child").read_text()
    eventually(lambda: not child.exists() or ") Z " in (child / "stat").read_text(), "the end of the child")


def test_one_that_answers_without_end_is_killed(own):
    rotated = own("if step == 'create':\n    while True: print('x' * 1000)")
    with pytest.raises(SystemUnavailableError, match="was killed because it answered more than 1 MiB"):
        rotated.rotate()


def test_what_it_says_on_stderr_is_logged_without_the_values(own, caplog):
    caplog.set_level("DEBUG", logger="lessee")
    rotated = own(
        f"print('at', step, asked['current'], asked['pending'], 'made-for-' + asked['id'], file=sys.stderr)\n{FINE}"
    )
    rotated.rotate()
    lines = [(one.fields["step"], one.fields["line"]) for one in caplog.records if "line" in one.fields]
    assert [step for step, _ in lines] == ["describe", "create", "prove", "retire"]
    assert all("at" in line for _, line in lines)
    text = "\n".join(str(one.fields) for one in caplog.records)
    assert FIRST not in text
    for one, *_ in rotated.system.said[1:2]:
        assert f"made-for-{one['id']}" not in text


def test_no_line_of_stderr_is_given_away_by_half(own, caplog):
    rotated = own(f"sys.stderr.write('whole\\n' + 'x' * 70000 + {FIRST!r})\n{FINE}")
    rotated.rotate()
    assert {one.fields["line"] for one in caplog.records if "line" in one.fields} <= {"whole"}


def test_the_example_gives_the_same_key_for_the_same_id(tmp_path):
    from lessee.ops.rotate.rotator_programs import Program  # noqa: PLC0415
    from support.systems.command import EXAMPLE  # noqa: PLC0415

    keys = tmp_path / "keys"
    keys.write_text("{}")
    program = Program([str(EXAMPLE)], tmp_path, os.environ)
    asked = {"step": "create", "id": "a1", "current": {}, "pending": {}, "secret": {"keys_file": str(keys)}}
    first, second, other = (program.run(asked | {"id": one}, 20) for one in ("a1", "a1", "b2"))
    assert first.answer == second.answer != other.answer
