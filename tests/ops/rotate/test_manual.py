"""A user gets instructions and enters a value, which is verified before it is published."""

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from lessee.config.grammar import rotation as grammar
from lessee.core.errors import ConfigError, LesseeError, UsageError
from lessee.core.immutable import replace
from lessee.core.redaction import Redactor
from lessee.host.openbao import ROOT_TOKEN
from lessee.host.project import read
from lessee.ops.rotate import recipes, targets
from lessee.ops.rotate.kinds import kind_of
from lessee.ops.rotate.kinds.kind import Case, KindContext, SystemRefusedError, SystemUnavailableError
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Journal, Step
from lessee.ops.rotate.ports import BusyError
from lessee.ops.rotate.targets import Project, Terminal, open_rotation
from lessee.ops.validate.policy.providers import PROVIDERS
from lessee.process.program_output import outputs_of
from lessee.vault.admin import admin_client
from support.environments.rotation_targets import FUTURE_VERSION, RotationTarget
from support.servers.api_key_provider import Keyring
from support.servers.https_provider import Provider

FIRST, SECOND = "entered-first", "entered-second"


class ManualSystem:
    calls = ()

    def __init__(self, **settings):
        self.target = {"kind": "manual", "secret": "keys/brave", "keys": ["api_key"], **settings}

    def secrets(self):
        return {"keys/brave": {"api_key": FIRST, "note": "by a user"}}


@pytest.fixture
def printed():
    """The prompts and messages at the terminal."""
    return []


@pytest.fixture
def at_terminal(bao, printed):
    """Rotates at a terminal with these inputs, or what these functions return when the user is asked."""

    def rotate(target, *inputs, **settings):
        environ = {"VAULT_TOKEN": ROOT_TOKEN, "VAULT_ADDR": bao.address, "PATH": "/usr/bin:/bin"}
        answers = iter(inputs)

        def ask(text):
            printed.append(text)
            if (answer := next(answers, None)) is None:
                raise EOFError
            return answer() if callable(answer) else answer

        config = target.folder / "lessee.yaml"
        terminal = Terminal(ask=ask, say=printed.append)
        project = Project(read(config, environ, blocks=("rotation",)), config, environ, Redactor(), terminal)
        with ExitStack() as stack:
            client = stack.enter_context(admin_client(project.config.vault, environ, time.monotonic))
            return stack.enter_context(open_rotation(project, "target", client)).run(force=True, **settings)

    return rotate


@pytest.fixture
def manual(bao, tmp_path):
    return lambda **settings: RotationTarget(bao, tmp_path, ManualSystem(**settings))


def test_the_instructions_are_printed_and_the_entered_value_is_published(manual, at_terminal, printed):
    target = manual(instructions="Get a key at https://brave.example/keys.")
    assert at_terminal(target, SECOND) is Outcome.ROTATED
    assert target.fields()["api_key"] == SECOND
    assert target.fields()["note"] == "by a user"
    assert printed == [
        "Get a key at https://brave.example/keys.",
        "target: new api_key: ",
        "target: old credential still valid; revoke it in the system.",
    ]


def test_a_value_that_cannot_be_verified_is_published_with_a_warning(manual, at_terminal, caplog):
    at_terminal(manual(), SECOND)
    assert "credential not verified" in caplog.messages


def test_without_a_terminal_no_rotation_starts(manual):
    target = manual()
    with pytest.raises(UsageError, match="a user must enter the new value; run `lessee rotate target --e"):
        target.rotate()
    assert target.journal == Journal()
    assert target.fields()["api_key"] == FIRST


@pytest.mark.parametrize(
    ("entered", "text"),
    [("", "no value was entered for api_key"), (FIRST, "the secret has the entered value already")],
)
def test_an_empty_or_unchanged_value_is_rejected(manual, at_terminal, entered, text):
    target = manual()
    for _ in range(4):
        with pytest.raises(UsageError, match=text) as caught:
            at_terminal(target, entered)
        assert FIRST not in str(caught.value)
        assert target.journal == Journal()
    assert at_terminal(target, SECOND) is Outcome.ROTATED


def test_the_end_of_the_input_starts_no_rotation(manual, at_terminal):
    target = manual()
    with pytest.raises(UsageError, match="no value was entered; run it again"):
        at_terminal(target)
    assert target.journal == Journal()
    assert at_terminal(target, SECOND) is Outcome.ROTATED


def test_the_time_that_a_user_takes_to_type_is_no_part_of_the_rotation(manual, at_terminal, monkeypatch):
    target = manual(confirmation_timeout="1h")  # No more than that is recorded.
    target.confirm(version=FUTURE_VERSION)
    monkeypatch.setattr(targets, "time", target.clock())

    def type_slowly():
        target.clock_offset += 3600.0
        return SECOND

    assert at_terminal(target, type_slowly) is Outcome.ROTATED
    assert target.journal.rotated_at - target.journal.started_at < 1800.0
    (propagation,) = target.journal.propagation_times
    assert propagation < 1800.0


def test_a_value_is_not_lost_silently_where_another_operator_was_faster(manual, at_terminal):
    target = manual()

    def type_late():
        at_terminal(target, "of-another-operator")
        return SECOND

    with pytest.raises(BusyError, match="it was changed while the new value was entered, which is not published; run"):
        at_terminal(target, type_late)
    assert target.fields()["api_key"] == "of-another-operator"
    assert target.journal.failures == 0


def test_after_an_outage_of_vault_the_user_is_not_asked_again(printed):
    config = grammar.Manual(secret="keys/brave", keys=("api_key",))
    context = KindContext(name="t", admin={}, folder=Path(), environ={}, vault=None, ask=lambda _: SECOND)
    kind = kind_of(config, replace(context, say=printed.append))
    for _ in range(2):
        assert kind.create(Case(id="1", secret={"api_key": FIRST})).fields == {"api_key": SECOND}
    assert len(printed) == 1


def test_nothing_is_said_to_be_revoked_that_the_user_has_to_revoke(manual, at_terminal, caplog):
    caplog.set_level("INFO", logger="lessee")
    at_terminal(manual(), SECOND)
    assert "old credential still valid" in caplog.messages
    assert "old credential revoked" not in caplog.messages


def test_the_verify_program_gets_the_whole_secret_on_its_stdin(manual, at_terminal, tmp_path):
    check = tmp_path / "check"
    check.write_text(f'#!/bin/sh\ncat > "{tmp_path}/input"\n')
    check.chmod(0o700)
    at_terminal(manual(verify=["./check"]), SECOND)
    assert f'"api_key": "{SECOND}"' in (tmp_path / "input").read_text()
    assert '"note": "by a user"' in (tmp_path / "input").read_text()


def test_a_rejected_value_is_not_published_and_another_can_be_entered(manual, at_terminal, tmp_path, caplog):
    check = tmp_path / "check"
    check.write_text(f"#!/bin/sh\ngrep -q {SECOND} && exit 0\necho wrong: mistyped-value >&2\nexit 1\n")
    check.chmod(0o700)
    target = manual(verify=["./check"])
    with pytest.raises(SystemRefusedError, match="the system rejects the new credential"):
        at_terminal(target, "mistyped-value")
    assert target.fields()["api_key"] == FIRST
    assert target.journal.step is Step.IDLE
    (exited,) = (record.fields for record in caplog.records if record.getMessage() == "verify exited")
    assert (exited["status"], exited["lines"]) == (1, 1)
    *_, output = outputs_of(exited["target"])
    assert (output.program, output.lines) == ("verify", ("wrong: ***",))
    assert at_terminal(target, SECOND) is Outcome.ROTATED


def test_the_entered_value_is_kept_while_the_verify_program_is_missing(manual, at_terminal, tmp_path):
    target = manual(verify=["./check"])
    with pytest.raises(SystemUnavailableError, match="was not started: No such file"):
        at_terminal(target, SECOND)
    (tmp_path / "check").symlink_to("/bin/true")
    target.rotate(finish_only=True)
    assert target.fields()["api_key"] == SECOND


def test_a_recipe_verifies_the_value_with_its_verify_request_only(manual, at_terminal, tmp_path):
    ring = Keyring()
    try:
        create = "create: {url: https://api.example, fields: {api_key: $.k}, headers: {A: '{admin.x}'}}"
        verify = f"verify: {{url: {ring.url}/me, headers: {{Authorization: 'Bearer {{key.api_key}}'}}}}"
        (tmp_path / "own.yaml").write_text(f"{create}\n{verify}\n")
        target = manual(recipe="./own.yaml")
        with pytest.raises(SystemRefusedError, match="the system rejects the new credential"):
            at_terminal(target, SECOND)
        _, key = ring.create("created manually")
        assert at_terminal(target, key) is Outcome.ROTATED
    finally:
        ring.close()
    assert target.fields()["api_key"] == key


def test_recipe_and_verify_together_are_rejected(manual):
    with pytest.raises(LesseeError, match="`recipe` is set too, and both verify the new credential"):
        manual(recipe="./own.yaml", verify=["./check"]).rotate()


def test_a_missing_recipe_is_reported_with_its_path(manual, tmp_path):
    with pytest.raises(ConfigError, match=f"{tmp_path}/own.yaml: cannot read the recipe: No such file"):
        manual(recipe="./own.yaml").rotate()
    names = "anthropic, brave, example, github, huggingface, mistral, openai, openai-project, openrouter"
    with pytest.raises(ConfigError, match=f"unknown recipe 'other'; lessee has {names}; name your own recipe by"):
        manual(recipe="other").rotate()


@pytest.mark.parametrize(
    ("name", "recipe"),
    [("brave", "brave"), ("brave-search", "brave"), ("openai", "openai-project"), ("brave2", None)],
)
def test_a_warning_names_the_recipe_that_would_verify_the_value(manual, at_terminal, caplog, name, recipe):
    target = manual(secret=f"keys/{name}")
    target.put(f"keys/{name}", api_key=FIRST)
    at_terminal(target, SECOND)
    warnings = [record.fields for record in caplog.records if record.getMessage() == "credential not verified"]
    todo = f"add `recipe: {recipe}` to test it with a request to the provider" if recipe else None
    assert {warning.get("todo") for warning in warnings} == {todo}


@pytest.mark.parametrize("name", sorted(PROVIDERS.keys() - {"openai"}))
def test_a_recipe_sends_the_request_by_which_validate_checks_the_key(name):
    recipe, provider = recipes.load(name, Path(), whole=False), PROVIDERS[name]
    headers = {key: value.replace("{key.api_key}", "KEY") for key, value in recipe.verify.headers.items()}
    assert recipe.verify.url == provider.url
    assert {"Accept": "application/json", **headers} == provider.headers("KEY")
    assert set(recipe.verify.rejected_status) == provider.rejected_status


def test_a_recipe_of_lessee_verifies_a_key_of_any_name(manual, at_terminal, tmp_path):
    provider = Provider("X-Subscription-Token", SECOND)
    try:
        text = (Path(recipes.__file__).parent / "brave.yaml").read_text()
        (tmp_path / "own.yaml").write_text(text.replace("https://api.search.brave.com", provider.url))
        target = manual(recipe="./own.yaml", keys=["token"])
        with pytest.raises(SystemRefusedError, match="the system rejects the new credential"):
            at_terminal(target, "mistyped")
        assert at_terminal(target, SECOND) is Outcome.ROTATED
    finally:
        provider.close()
    assert target.fields()["token"] == SECOND
    assert provider.requests[-1][0] == "/res/v1/web/search?q=ping&count=1"
