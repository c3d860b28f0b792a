"""`lessee rotate NAME --enter`: a key of a provider without an API is entered, tested, and then published."""

import json
import os
import subprocess
import sys
import time
from random import Random

import pytest
import yaml

from lessee.host.openbao import ROOT_TOKEN
from lessee.ops.rotate.policy import journal
from lessee.ops.rotate.policy.timing import FAILING_THRESHOLD
from support.programs.rotator import Service
from support.programs.sidecar import PATIENCE, eventually
from support.programs.terminal import Terminal
from support.servers.api_key_provider import Keyring
from support.servers.https_provider import Provider

KILLS = int(os.environ.get("KILLS", "8"))
OLD, NEW, WRONG = "brave-old-0c1d", "brave-new-7f3a", "brave-wrong-99"
RECIPE = """
verify:
  url: {url}/search
  headers: {{X-Subscription-Token: "{{key.api_key}}"}}
"""


class Project:
    """A target whose provider accepts one key."""

    def __init__(self, bao, folder, provider):
        self.bao, self.folder, self.environment = bao, folder, f"env-{os.urandom(4).hex()}"
        (folder / "brave.yaml").write_text(RECIPE.format(url=provider.url))
        target = {
            "kind": "manual",
            "secret": "api-keys/brave",
            "keys": ["api_key"],
            "recipe": "./brave.yaml",
            "instructions": "Create a key in Brave's console.",
            "confirmation_timeout": "100ms",
            "revoke_delay": "0s",
        }
        other = {"kind": "vault", "secret": "auth/jwt", "keys": {"secret": {}}}
        config = {"environment": self.environment, "vault": {"address": bao.address}}
        (folder / "lessee.yaml").write_text(yaml.safe_dump({**config, "rotation": {"brave": target, "jwt": other}}))
        bao.put(f"{self.environment}/api-keys/brave", api_key=OLD, note="by a user")
        self.environ = {"PATH": os.environ["PATH"], "VAULT_TOKEN": ROOT_TOKEN, "HOME": str(folder)}

    def fields(self):
        return self.bao.ask("GET", f"secret/data/{self.environment}/api-keys/brave")["data"]["data"]

    def journal(self):
        """The fields of the target's journal; None where no rotation has started."""
        try:
            return self.bao.ask("GET", f"secret/data/{self.environment}/{journal.FOLDER}brave")["data"]["data"]
        except RuntimeError:
            return None

    def command(self, *arguments):
        return [sys.executable, "-m", "lessee", "rotate", *arguments]

    def enter(self, text, *arguments, code=0):
        done = subprocess.run(
            self.command(*(arguments or ("brave", "--enter"))),
            input=text,
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        output = done.stdout.decode() + done.stderr.decode()
        assert code is None or done.returncode == code, output
        assert not any(value in output for value in (OLD, NEW, WRONG))
        return output


@pytest.fixture
def provider():
    provider = Provider("X-Subscription-Token", NEW)
    yield provider
    provider.close()


@pytest.fixture
def project(bao, tmp_path, provider):
    return Project(bao, tmp_path, provider)


@pytest.mark.thorough
@pytest.mark.parametrize("text", [NEW, f"{NEW}\n", f"{NEW}\r\n"])
def test_a_key_from_stdin_is_tested_and_then_published(project, provider, text):
    output = project.enter(text.encode())
    assert "Create a key in Brave's console." in output
    assert "brave: rotated; version 2" in output
    assert "old credential still valid; revoke it in the system" in output
    assert project.fields()["api_key"] == NEW
    assert project.fields()["note"] == "by a user"
    assert {path for path, _ in provider.requests} == {"/search"}


def test_a_rejected_key_is_not_published(project):
    output = project.enter(WRONG.encode(), code=77)
    assert "the system rejects the new credential" in output
    assert project.fields()["api_key"] == OLD
    assert "rotated" in project.enter(NEW.encode())
    assert project.fields()["api_key"] == NEW


def test_a_second_key_is_not_ignored_just_after_the_first(project, provider):
    project.enter(NEW.encode())
    provider.value = WRONG
    assert "brave: rotated" in project.enter(WRONG.encode())
    assert project.fields()["api_key"] == WRONG


@pytest.mark.thorough(each=4)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "no value was entered; run it again"),
        (b"\n", "no value was entered for api_key"),
        (b"\xff\xfe", "the input is not UTF-8 text"),
        (b"x" * 70_000, "the line on stdin is longer than 65536 bytes"),
        (OLD.encode(), "the secret has the entered value already"),
    ],
)
def test_input_that_is_no_new_key_is_a_usage_error_and_starts_no_rotation(project, text, expected):
    """Also after several mistakes, nothing counts as a failure of the rotation."""
    for _ in range(FAILING_THRESHOLD):
        assert expected in project.enter(text, code=64)
    assert project.fields()["api_key"] == OLD
    assert project.journal() is None
    (row,) = json.loads(project.enter(b"", "brave", "--status", "--json"))["targets"]
    assert row["consecutive_failures"] == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--enter",), "--enter needs the name of a target"),
        (("brave", "--enter", "--status"), "--enter needs the name of a target"),
        (("brave", "jwt", "--enter"), "--enter is for targets of the kind manual, and lessee creates"),
    ],
)
def test_enter_needs_targets_that_a_user_rotates(project, arguments, expected):
    assert expected in project.enter(NEW.encode(), *arguments, code=64)
    assert project.fields()["api_key"] == OLD


def test_without_enter_stdin_is_not_read(project):
    output = project.enter(NEW.encode(), "brave", code=64)
    assert "run `lessee rotate brave --enter` at a terminal, or with the value on stdin" in output
    assert project.fields()["api_key"] == OLD
    assert project.journal() is None


def test_at_a_terminal_the_key_is_typed_without_echo(project):
    terminal = Terminal(*project.command("brave", "--enter"), cwd=project.folder, env=project.environ)
    try:
        terminal.until("brave: new api_key:")
        terminal.type(f"{NEW}\n")
        assert NEW not in terminal.until("brave: rotated; version 2")
        assert terminal.end() == 0
    finally:
        terminal.close()
    assert project.fields()["api_key"] == NEW


def test_the_service_reminds_of_a_key_that_is_due_and_waits_for_it(bao, tmp_path, memory):
    service = Service(bao, tmp_path, memory, environment=f"env-{os.urandom(4).hex()}")
    try:
        service.put("app/key", api_key=OLD)
        service.config["rotation"]["key"] = {
            "kind": "manual",
            "secret": "app/key",
            "keys": ["api_key"],
            "rotation_period": "1s",
        }
        service.start()
        status = service.until(lambda status: status["targets"]["key"]["entry_due"])
        (problem,) = status["problems"]
        assert problem == "key: due, never rotated: create a new credential, and run `lessee rotate key --enter`"
        assert status["targets"]["key"]["consecutive_failures"] == 0
        code, metrics = service.get("/metrics")
        assert code == 200
        assert 'lessee_rotation_entry_due{target="key"} 1.0' in metrics
        text = "credential due to be entered"
        eventually(lambda: text in service.log.read_text(), "a reminder")
        assert service.log.read_text().count(text) == 1
        assert journal.Journal() == journal_of(service)
    finally:
        service.close()


def journal_of(service):
    try:
        return service.journal("key")
    except RuntimeError:  # It does not exist: nothing was tried.
        return journal.Journal()


@pytest.mark.thorough
def test_a_command_that_is_killed_at_any_moment_leaves_a_key_that_works(bao, tmp_path):
    chance, ring = Random(22), Keyring()  # noqa: S311  # The random moments are no secret.
    try:
        headers = 'Authorization: "Bearer {key.api_key}"'
        project = Project(bao, tmp_path, ring)
        (tmp_path / "brave.yaml").write_text(f"verify:\n  url: {ring.url}/me\n  headers: {{{headers}}}\n")
        _, key = ring.create("created manually")
        began = time.monotonic()
        project.enter(key.encode())
        duration, interrupted = time.monotonic() - began, 0
        for _ in range(KILLS):
            before, (_, key) = key, ring.create("created manually")
            process = subprocess.Popen(
                project.command("brave", "--enter"),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=tmp_path,
                env=project.environ,
            )
            process.stdin.write(key.encode())
            process.stdin.close()
            try:
                process.wait(chance.uniform(duration / 4, duration))
            except subprocess.TimeoutExpired:
                interrupted += 1
                process.kill()
            process.wait(PATIENCE)
            assert project.fields()["api_key"] in {before, key}
            assert ring.accepts(project.fields()["api_key"])
            project.enter(key.encode(), code=None)  # It finishes what was open; the key may be published already.
            assert project.fields()["api_key"] == key
        assert interrupted
    finally:
        ring.close()
