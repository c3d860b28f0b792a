"""A machine that reads a source decides as for a Vault with KV v1, and names the source in the place of Vault."""

import pytest

from lessee.agent.machine.status.one_shot import results, results_at_timeout
from lessee.agent.machine.status.problems import problems_of
from lessee.agent.machine.status.view import IdentityStatus, status
from lessee.agent.machine.step import start, step
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.core.paths import Folder, Ref
from lessee.core.secrets import Secret
from lessee.core.tokens import Token
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from support.models.world import app_spec

A, B = Ref("files::", "a"), Ref("files::", "b")
TOKEN = Token(accessor="", sent_at=0.0, ttl=0.0, renewable=False, id="source", ours=False)


class Machine:
    """A machine with what it sent and logged."""

    def __init__(self, *needs):
        self.state, self.now, self.log, self.sent = start(1, "files"), 0.0, [], []
        self.take(ev.Configured({"web@files": replace(app_spec(*needs), supplies="files")}))

    def take(self, event):
        self.state, commands = step(self.state, event, self.now)
        self.log += [(one.event, one.fields) for one in commands if isinstance(one, cmd.Log)]
        self.sent += [one for one in commands if hasattr(one, "request_id")]

    def answer(self, kind, event, *arguments):
        for one in [one for one in self.sent if isinstance(one, kind)]:
            self.sent.remove(one)
            self.take(event(one.request_id, *arguments))

    def open(self):
        self.answer(cmd.Login, ev.LoggedIn, TOKEN)
        self.answer(cmd.DetectKvVersion, ev.KvVersionDetected, 1)

    def pass_by(self, seconds):
        self.now += seconds
        self.take(ev.Tick())


def test_changes_are_found_by_reading_and_the_log_has_nothing_about_vault():
    machine = Machine(A, B, Folder("files::", ""))
    machine.open()
    machine.answer(cmd.ListFolder, ev.FolderListed, {"a": None, "b": None})
    machine.answer(cmd.ReadSecret, ev.SecretRead, Secret({"value": "1"}))
    machine.pass_by(600.0)
    assert any(isinstance(one, cmd.ReadSecret) for one in machine.sent)
    assert not any(isinstance(one, cmd.ReadMetadata | cmd.RenewToken) for one in machine.sent)
    assert [event for event, _ in machine.log if event != "secret read"] == ["source opened"]
    document = status([IdentityStatus("1", "/run/secrets", machine.state)], 600.0, 1e9, environment=None)
    assert (document["identities"][0]["source"], document["token"]) == ("files", None)


def home():
    """The machine of an app that reads nothing but a source, which is away."""
    machine = Machine(A)
    machine.state = start(1, "files")
    machine.take(ev.Configured({"web": replace(app_spec(), sources=frozenset({"web@files"}))}))
    return machine


@pytest.mark.parametrize("is_supplied", [False, True])
def test_a_command_that_runs_once_names_the_source_that_is_away(is_supplied):
    machine, text = Machine(A), "the directory cannot be opened"
    app = home()
    if is_supplied:
        machine.open()
    for one in (machine, app):
        for _ in range(3):
            for kind in (cmd.ReadSecret, cmd.LookUpToken, cmd.Login):
                one.answer(kind, ev.RequestFailed, Failure(Kind.UNAVAILABLE, text))
            one.pass_by(5.0)
    error = results_at_timeout([machine.state, app.state])["web"]
    assert str(error).startswith(f"web: its secrets were not read in time: source files: {text}; correct the source")


def test_a_source_that_is_away_is_an_outage_of_that_source():
    machine = Machine(A)
    machine.open()
    failure = Failure(Kind.UNAVAILABLE, "the directory cannot be opened")
    for _ in range(8):
        for kind in (cmd.ReadSecret, cmd.LookUpToken, cmd.Login):
            machine.answer(kind, ev.RequestFailed, failure)
        machine.pass_by(5.0)
    unavailable = ("source unavailable", {"source": "files", "reason": failure.text})
    assert unavailable in machine.log
    assert f"source files is unavailable: {failure.text}; files keep what it provided before" in problems_of(
        machine.state, machine.now
    )
    assert results_at_timeout([machine.state]) == {}  # The machine of the app says why it has no files.
    machine.answer(cmd.ReadSecret, ev.SecretRead, Secret({"value": "1"}))
    machine.answer(cmd.LookUpToken, ev.TokenRenewed, TOKEN)
    assert "source available" in [event for event, _ in machine.log]


def test_a_source_that_lacks_its_library_cannot_be_opened():
    machine, app = Machine(A), home()
    machine.take(ev.Tick())
    failure = Failure(Kind.INVALID, "the library pyrage is missing; pip install 'lessee[sops]'")
    for one in (machine, app):
        one.answer(cmd.Login, ev.RequestFailed, failure)
        one.pass_by(0.1)
        assert f"source files cannot be opened: {failure.text}" in problems_of(one.state, one.now)
        assert ("source not opened", {"source": "files", "reason": failure.text}) in one.log
    for states in ([machine.state, app.state], [app.state]):
        assert str(results(states)["web"]) == f"web: source files cannot be opened: {failure.text}"


@pytest.mark.parametrize(
    ("failure", "remedy"),
    [
        (Failure(Kind.NOT_FOUND, "it does not exist"), "; write it, or correct the path in the template"),
        (Failure(Kind.INVALID, "it is too large; split it"), ""),
    ],
)
def test_a_source_s_own_remedy_stands_alone(failure, remedy):
    machine = Machine(A)
    machine.open()
    machine.answer(cmd.ReadSecret, ev.RequestFailed, failure)
    [problem] = problems_of(machine.state, machine.now)
    assert problem.endswith(f"{failure.text}{remedy}")
    error = results([machine.state, home().state])["web"]
    assert error.todo == ("write the secret, or correct the path in the template" if remedy else "")
