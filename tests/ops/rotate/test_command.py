"""A custom rotator gets only the input that it needs, and none of its failures loses a credential."""

import json
import os
import sys
from pathlib import Path

import pytest

from lessee.core.errors import LesseeError
from lessee.ops.rotate.kinds.kind import SystemRefusedError, SystemUnavailableError
from lessee.ops.rotate.policy.journal import Step
from lessee.process.program_output import outputs_of
from support.environments.rotation_targets import FUTURE_VERSION, RotationTarget
from support.programs.sidecar import eventually

FIRST = "the-first-value"
HEAD = f"""#!{sys.executable}
import json, os, sys, time
given = json.load(sys.stdin)
step = given["step"]
"""
CREATE = """
if step == "create":
    print(json.dumps({"api_key": "key-of-" + given["id"]}))
"""


class LoggingProgram:
    """A program that appends its input to `log`, a line of JSON for each step."""

    calls = ()

    def __init__(self, folder, body, **settings):
        self.file, self.log = folder / "rotate-thing", folder / "log"
        self.write(body)
        self.target = {"kind": "command", "secret": "other/thing", "command": ["./rotate-thing", "word"], **settings}

    def write(self, body):
        log = f"print(json.dumps([given, dict(os.environ), sys.argv, os.getcwd()]), file=open({str(self.log)!r}, 'a'))"
        self.file.write_text(f"{HEAD}{log}\n{body}\n")
        self.file.chmod(0o700)

    def secrets(self):
        return {"other/thing": {"host": "thing.example", "api_key": FIRST}}

    @property
    def logged(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def own(bao, tmp_path):
    def make(body, **settings):
        target = RotationTarget(bao, tmp_path, LoggingProgram(tmp_path, body, **settings))
        target.confirm(version=FUTURE_VERSION)
        return target

    return make


def test_the_program_runs_once_for_each_step_with_the_step_s_input(own):
    target = own(CREATE)
    target.rotate()
    inputs = [given for given, *_ in target.system.logged]
    assert [given["step"] for given in inputs] == ["describe", "create", "verify", "revoke"]
    _, create, verify, revoke = inputs
    secret = {"host": "thing.example", "api_key": FIRST, "rotation_count": 0}
    new = {"api_key": f"key-of-{create['id']}"}
    assert (create["current"], create["pending"], create["secret"]) == (secret, {}, secret)
    assert verify["pending"] == secret | new
    assert (revoke["id"], revoke["current"], revoke["pending"]) == (create["id"], {"api_key": FIRST}, new)
    assert target.fields()["api_key"] == new["api_key"]


def test_its_arguments_and_environment_hold_no_value_and_nothing_of_lessee(own):
    target = own(CREATE)
    target.rotate()
    for _, environ, arguments, folder in target.system.logged:
        assert set(environ) <= {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LC_CTYPE"}
        assert arguments[1:] == ["word"]
        assert folder == str(target.folder)


def test_the_program_need_not_read_its_input(own):
    target = own("")
    target.system.file.write_text(
        """#!/bin/sh
case "$(head -c 50)" in
*create*) echo '{"api_key": "of-a-shell-script"}' ;;
*describe*) exit 64 ;;
esac
"""
    )
    target.put(target.secret_path, api_key=FIRST, more="x" * 500_000)
    target.rotate()
    assert target.fields()["api_key"] == "of-a-shell-script"


def test_after_a_kill_the_program_gets_the_same_id(own):
    target = own(CREATE)
    target.system.calls = ("lessee.ops.rotate.rotator_programs:Program.run",)
    target._calls = target.system.calls
    assert target.rotate_and_kill(1, after=True)
    assert target.journal.step is Step.CREATING
    target.rotate(finish_only=True)
    first, second = (given["id"] for given, *_ in target.system.logged if given["step"] == "create")
    assert first == second
    assert target.fields()["api_key"] == f"key-of-{first}"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("print('hello')", "expected JSON on stdout; write messages to stderr"),
        ("print('[]')", "expected an object with the new fields"),
        ("print('{}')", "expected an object with the new fields"),
        (
            "print(json.dumps({'api_key': None, 'b': [], 'c': ''}))",
            "expected a string, number or boolean for api_key, b, c",
        ),
        ("print('{\"api_key\": NaN}')", "expected JSON on stdout"),
        ("print(json.dumps({'rotation_count': 3}))", "lessee writes rotation_count and rotation_timestamp itself"),
        (f"print(json.dumps({{'api_key': {FIRST!r}}}))", "expected new values; the secret has these already"),
        ("sys.exit(77)", "refuses the step create"),
    ],
)
def test_an_invalid_answer_is_reported_and_the_old_credential_stays(own, body, text):
    target = own(f"if step == 'create':\n    {body}")
    with pytest.raises(SystemRefusedError, match=text) as caught:
        target.rotate()
    assert FIRST not in str(caught.value)
    assert target.fields()["api_key"] == FIRST
    assert target.journal.failures == 1


def test_the_new_fields_must_match_the_description(own):
    target = own(CREATE + "\nif step == 'describe': print(json.dumps({'fields': ['api_key', 'id']}))")
    with pytest.raises(SystemRefusedError, match="expected only the fields of `describe`: api_key, id"):
        target.rotate()


@pytest.mark.parametrize("answer", ['{"field": ["x"]}', '{"fields": "x"}', "[]"])
def test_an_invalid_description_is_reported_before_the_rotation_starts(own, answer):
    target = own(f"print({answer!r})")
    with pytest.raises(LesseeError, match="to the step describe is invalid; expected"):
        target.rotate()
    assert target.journal.step is Step.IDLE


def test_a_missing_program_is_reported_with_its_name(own):
    target = own(CREATE)
    target.system.file.unlink()
    with pytest.raises(
        LesseeError, match=r"\./rotate-thing was not started: No such file or directory; correct `command`"
    ):
        target.rotate()


@pytest.mark.parametrize("step", ["create", "verify", "revoke"])
def test_a_failed_step_is_retried_and_loses_nothing(own, step):
    target = own(f"if step == {step!r}: sys.exit(1)\n{CREATE}")
    with pytest.raises(SystemUnavailableError, match=rf"{step}: \./rotate-thing exited with 1; lessee retries it"):
        target.rotate()
    target.system.write(CREATE)
    target.rotate(finish_only=True)
    ids = {given["id"] for given, *_ in target.system.logged if given["step"] == "create"}
    assert len(ids) == 1
    assert target.fields()["api_key"] == f"key-of-{ids.pop()}"
    assert target.journal.step is Step.IDLE


def test_a_rejected_new_credential_is_revoked_and_the_old_one_stays(own):
    target = own(f"if step == 'verify': sys.exit(77)\n{CREATE}")
    with pytest.raises(SystemRefusedError, match="the system rejects the new credential"):
        target.rotate()
    revoked = target.system.logged[-1][0]
    assert (revoked["step"], revoked["current"]) == ("revoke", {"api_key": f"key-of-{revoked['id']}"})
    assert revoked["pending"] == {"api_key": FIRST}
    assert target.fields()["api_key"] == FIRST
    assert (target.journal.step, target.journal.failures) == (Step.IDLE, 1)


@pytest.mark.thorough
def test_a_program_that_does_not_exit_is_killed_with_its_children(own, tmp_path):
    body = f"""
if step == "create":
    import subprocess
    child = subprocess.Popen(["sleep", "600"])
    open({str(tmp_path / "child")!r}, "w").write(str(child.pid))
    child.wait()
"""
    target = own(body, timeout="5s")  # Until then it must have started its child.
    with pytest.raises(SystemUnavailableError, match=r"create: \./rotate-thing was killed after 5 s"):
        target.rotate()
    child = Path("/proc") / (tmp_path / "child").read_text()
    eventually(lambda: not child.exists() or ") Z " in (child / "stat").read_text(), "the end of the child")


def test_a_program_with_an_endless_answer_is_killed(own):
    target = own("if step == 'create':\n    while True: print('x' * 1000)")
    with pytest.raises(SystemUnavailableError, match="was killed because its answer is longer than 1 MiB"):
        target.rotate()


def test_its_stderr_is_kept_in_memory_without_values_and_not_logged(own, caplog):
    caplog.set_level("DEBUG", logger="lessee")
    target = own(
        f"print('at', step, given['current'], given['pending'], 'key-of-' + given['id'], file=sys.stderr)\n{CREATE}"
    )
    target.rotate()
    exits = [record.fields for record in caplog.records if record.getMessage() == "rotator exited"]
    assert [(fields["step"], fields["lines"]) for fields in exits] == [
        *(("describe", 1), ("create", 1), ("verify", 1), ("revoke", 1)),
    ]
    outputs = outputs_of(exits[0]["target"])[-4:]
    assert {output.program for output in outputs} == {"describe", "create", "verify", "revoke"}
    assert all(line.startswith("at ") for output in outputs for line in output.lines)
    logged = "\n".join(str(record.fields) for record in caplog.records)
    assert "key-of-" not in logged
    text = logged + str([output.lines for output in outputs])
    assert FIRST not in text
    for given, *_ in target.system.logged[1:2]:
        assert f"key-of-{given['id']}" not in text


def test_incomplete_lines_of_stderr_are_not_kept(own, caplog):
    caplog.set_level("INFO", logger="lessee")
    target = own(f"sys.stderr.write('whole\\n' + 'x' * 70000 + {FIRST!r})\n{CREATE}")
    target.rotate()
    (name,) = {record.fields["target"] for record in caplog.records if record.getMessage() == "rotator exited"}
    assert {output.lines for output in outputs_of(name)[-4:]} == {("whole",)}


def test_the_example_returns_the_same_key_for_the_same_id(tmp_path):
    from lessee.ops.rotate.rotator_programs import Program  # noqa: PLC0415
    from support.systems.command import EXAMPLE  # noqa: PLC0415

    keys = tmp_path / "keys"
    keys.write_text("{}")
    program = Program([str(EXAMPLE)], tmp_path, os.environ)
    given = {"step": "create", "id": "a1", "current": {}, "pending": {}, "secret": {"keys_file": str(keys)}}
    first, second, other = (program.run(given | {"id": id_}, 20) for id_ in ("a1", "a1", "b2"))
    assert first.answer == second.answer != other.answer
