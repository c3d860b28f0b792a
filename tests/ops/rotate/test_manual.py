"""A person is told what to do, what he types is tried before anybody gets it, and the old one stays until then."""

import time
from contextlib import ExitStack

import pytest

from lessee.core.errors import ConfigError, LesseeError
from lessee.core.redaction import Redactor
from lessee.host.openbao import ROOT_TOKEN
from lessee.host.project import read
from lessee.ops.rotate.kinds.kind import SystemRefusedError, SystemUnavailableError
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Step
from lessee.ops.rotate.targets import Project, Terminal, open_rotation
from lessee.vault.admin import admin_client
from support.environments.rotation_targets import Rotated
from support.servers.api_key_provider import Keyring

FIRST, SECOND = "typed-in-long-ago", "typed-in-just-now"


class ByHand:
    calls = ()

    def __init__(self, **settings):
        self.target = {"kind": "manual", "secret": "keys/brave", "keys": ["api_key"], **settings}

    def secrets(self):
        return {"keys/brave": {"api_key": FIRST, "note": "of a person"}}


@pytest.fixture
def asked():
    """What the person was asked and told."""
    return []


@pytest.fixture
def at_terminal(bao, asked):
    """Rotate with somebody there who types these."""

    def rotate(rotated, *typed, **settings):
        environ = {"VAULT_TOKEN": ROOT_TOKEN, "VAULT_ADDR": bao.address, "PATH": "/usr/bin:/bin"}
        answers = iter(typed)

        def ask(text):
            asked.append(text)
            if (answer := next(answers, None)) is None:
                raise EOFError
            return answer

        config = rotated.folder / "lessee.yaml"
        person = Terminal(ask=ask, say=asked.append)
        project = Project(read(config, environ, blocks=("rotation",)), config, environ, Redactor(), person)
        with ExitStack() as stack:
            client = stack.enter_context(admin_client(project.config.vault, environ, time.monotonic))
            return stack.enter_context(open_rotation(project, "target", client)).run(force=True, **settings)

    return rotate


@pytest.fixture
def manual(bao, tmp_path):
    return lambda **settings: Rotated(bao, tmp_path, ByHand(**settings))


def test_the_person_is_told_what_to_do_and_what_is_typed_is_published(manual, at_terminal, asked):
    rotated = manual(instructions="Get a key at https://brave.example/keys.")
    assert at_terminal(rotated, SECOND) is Outcome.ROTATED
    assert rotated.fields()["api_key"] == SECOND
    assert rotated.fields()["note"] == "of a person"
    assert asked == [
        "Get a key at https://brave.example/keys.",
        "target: new api_key: ",
        "target: the old value is still valid in the system; take it out of use there by hand.",
    ]


def test_what_nothing_can_try_is_taken_and_that_is_told(manual, at_terminal, caplog):
    at_terminal(manual(), SECOND)
    assert "taken as it was typed: nothing says how to try it" in caplog.messages


def test_where_nobody_is_there_nothing_begins(manual):
    rotated = manual()
    with pytest.raises(SystemRefusedError, match="it waits for a person; run `lessee rotate target` at a terminal"):
        rotated.rotate()
    assert rotated.journal.step is Step.IDLE
    assert rotated.fields()["api_key"] == FIRST


@pytest.mark.parametrize(("typed", "told"), [("", "nothing was typed for api_key"), (FIRST, "stands in the secret")])
def test_nothing_and_the_same_again_are_no_new_value(manual, at_terminal, typed, told):
    rotated = manual()
    with pytest.raises(SystemRefusedError, match=told) as caught:
        at_terminal(rotated, typed)
    assert FIRST not in str(caught.value)
    assert at_terminal(rotated, SECOND) is Outcome.ROTATED


def test_whoever_ends_the_input_can_begin_again(manual, at_terminal):
    rotated = manual()
    with pytest.raises(SystemRefusedError, match="nothing was typed; begin again"):
        at_terminal(rotated)
    assert at_terminal(rotated, SECOND) is Outcome.ROTATED


def test_a_program_tries_it_with_the_whole_secret_on_its_stdin(manual, at_terminal, tmp_path):
    check = tmp_path / "check"
    check.write_text(f'#!/bin/sh\ncat > "{tmp_path}/given"\n')
    check.chmod(0o700)
    at_terminal(manual(prove=["./check"]), SECOND)
    assert f'"api_key": "{SECOND}"' in (tmp_path / "given").read_text()
    assert '"note": "of a person"' in (tmp_path / "given").read_text()


def test_what_the_program_refuses_is_not_published_and_can_be_typed_again(manual, at_terminal, tmp_path, caplog):
    check = tmp_path / "check"
    check.write_text(f"#!/bin/sh\ngrep -q {SECOND} && exit 0\necho wrong: mistyped-by-him >&2\nexit 1\n")
    check.chmod(0o700)
    rotated = manual(prove=["./check"])
    with pytest.raises(SystemRefusedError, match="is not let in"):
        at_terminal(rotated, "mistyped-by-him")
    assert rotated.fields()["api_key"] == FIRST
    assert rotated.journal.step is Step.IDLE
    [line] = [one.fields["line"] for one in caplog.records if "line" in one.fields]
    assert line == "wrong: ***"
    assert at_terminal(rotated, SECOND) is Outcome.ROTATED


def test_where_the_program_is_not_there_what_was_typed_is_kept_for_the_next_time(manual, at_terminal, tmp_path):
    rotated = manual(prove=["./check"])
    with pytest.raises(SystemUnavailableError, match="was not started: No such file"):
        at_terminal(rotated, SECOND)
    (tmp_path / "check").symlink_to("/bin/true")
    rotated.rotate(finish_only=True)
    assert rotated.fields()["api_key"] == SECOND


def test_a_recipe_tries_it_of_which_only_prove_is_used(manual, at_terminal, tmp_path):
    ring = Keyring()
    try:
        create = "create: {url: https://api.example, take: {api_key: $.k}, headers: {A: '{admin.x}'}}"
        prove = f"prove: {{url: {ring.url}/me, headers: {{Authorization: 'Bearer {{key.api_key}}'}}}}"
        (tmp_path / "own.yaml").write_text(f"{create}\n{prove}\n")
        rotated = manual(recipe="./own.yaml")
        with pytest.raises(SystemRefusedError, match="is not let in"):
            at_terminal(rotated, SECOND)
        _, key = ring.make("by hand")
        assert at_terminal(rotated, key) is Outcome.ROTATED
    finally:
        ring.close()
    assert rotated.fields()["api_key"] == key


def test_two_ways_to_try_it_are_one_too_many(manual):
    with pytest.raises(LesseeError, match="`recipe` says already how it is proved"):
        manual(recipe="./own.yaml", prove=["./check"]).rotate()


def test_a_recipe_that_is_not_there_is_told_with_its_path(manual, tmp_path):
    with pytest.raises(ConfigError, match=f"{tmp_path}/own.yaml: the recipe is not to be read: No such file"):
        manual(recipe="./own.yaml").rotate()
    with pytest.raises(
        ConfigError, match=r"no recipe 'nobody'; there are example, openai, openrouter; one of your own"
    ):
        manual(recipe="nobody").rotate()
