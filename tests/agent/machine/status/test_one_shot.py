"""How a command that runs once ends, of states that the machine came to."""

import pytest

from lessee.agent.machine.protocol import commands as cmd
from lessee.agent.machine.protocol import events as ev
from lessee.agent.machine.status.one_shot import results, results_at_timeout
from lessee.core.errors import DeniedError, NotNotifiedError, TemplateError, VaultUnreachableError, WriteError
from lessee.core.failures import Failure, Kind
from lessee.core.paths import DynamicSecret
from support.models.world import World, app_spec, creds, folder, ref

A, B, NONE = ref("p/db/a"), ref("p/db/b"), ref("p/none")


class Once(World):
    """The world with failures as a test wants them."""

    def __init__(self, *needs, failing=None, others=None):
        self.failing, self.rejecting, self.absent = dict(failing or {}), set(), False
        super().__init__({"web": app_spec(*needs)} | (others or {}))
        self.write(A)
        self.write(B)

    def answer(self, command):
        if failure := self.failing.get(type(command)):
            self.post(ev.RequestFailed(command.request_id, failure))
        else:
            super().answer(command)

    def obey(self, command):
        match command:
            case cmd.Render() if command.app in self.rejecting:
                self.post(ev.RenderFailed(command.app, command.job, "app.j2:3: db has no such key: 'nope'"))
            case cmd.Notify() if self.absent:
                self.post(ev.NotificationFailed(command.app, command.job, "no process is called uvicorn", absent=True))
            case _:
                super().obey(command)

    def ended(self, seconds=5):
        self.run(seconds)
        return results([self.state])


def only(ended):
    (error,) = ended.values()
    return error


def test_what_was_published_and_told_has_no_error():
    assert Once(A, B).ended() == {"web": None}


def test_nothing_has_ended_before_all_is_published_and_told():
    once = Once(A)
    seen = []
    while not once.notified:
        seen.append(results([once.state]))
        once.run(0.001)
    assert len(seen) > 3
    assert set(map(type, seen)) == {type(None)}


def test_an_agent_without_apps_has_ended():
    once = Once()
    once.configure({})
    assert results([once.state]) == {}


@pytest.mark.parametrize(
    ("asked", "kind", "error"),
    [
        (cmd.Login, Kind.DENIED, DeniedError),
        (cmd.Login, Kind.INVALID, DeniedError),
        (cmd.Login, Kind.ALREADY_UNWRAPPED, DeniedError),
        (cmd.DetectKvVersion, Kind.DENIED, DeniedError),
        (cmd.DetectKvVersion, Kind.INVALID, TemplateError),
        (cmd.ReadSecret, Kind.DENIED, DeniedError),
        (cmd.ReadSecret, Kind.NOT_FOUND, TemplateError),
        (cmd.ReadSecret, Kind.INVALID, TemplateError),
    ],
)
def test_what_asking_again_will_not_mend_ends_it_at_once(asked, kind, error):
    once = Once(A, failing={asked: Failure(kind, "some reason")})
    said = only(once.ended(1))
    assert type(said) is error
    assert said.exit_code == {DeniedError: 77, TemplateError: 65}[error]
    assert "some reason" in str(said) or kind is Kind.NOT_FOUND
    assert said.where == "web"


@pytest.mark.parametrize("asked", [cmd.Login, cmd.DetectKvVersion, cmd.ReadSecret])
@pytest.mark.parametrize("kind", [Kind.UNAVAILABLE, Kind.RATE_LIMITED])
def test_what_may_pass_is_waited_for_until_there_is_no_more_time(asked, kind):
    once = Once(A, failing={asked: Failure(kind, "some reason")})
    assert once.ended(10) is None
    said = only(results_at_timeout([once.state]))
    assert (type(said), said.exit_code, said.where) == (VaultUnreachableError, 69, "web")
    path = {cmd.Login: "", cmd.DetectKvVersion: "secret/: ", cmd.ReadSecret: "secret/p/db/a: "}[asked]
    assert str(said) == f"web: Vault did not provide its secrets in time: {path}some reason"
    once.failing.clear()
    assert once.ended(60) == {"web": None}


def test_a_denied_secret_names_its_path_and_the_way_out():
    once = Once(A, B)
    once.denied.add(A)
    assert str(only(once.ended())) == "web: secret/p/db/a: denied; grant `read` in the token's policy"


def test_a_missing_secret_names_its_path_and_the_way_out():
    said = only(Once(A, NONE).ended())
    assert str(said) == "web: secret/p/none: it does not exist; write the secret, or correct the path in the template"


def test_all_paths_that_fail_are_told_a_line_each():
    once = Once(A, B, NONE)
    once.denied |= {A, B}
    said = only(once.ended())
    assert type(said) is DeniedError
    assert said.what.splitlines() == [
        "secret/p/db/a: denied",
        "secret/p/db/b: denied",
        "secret/p/none: it does not exist",
    ]


def test_a_folder_that_may_not_be_listed_is_refused():
    once = Once(folder("p/db/"), failing={cmd.ListFolder: Failure(Kind.DENIED, "denied")})
    said = only(once.ended())
    assert type(said) is DeniedError
    assert "secret/p/db/: denied" in str(said)


def test_a_folder_goes_on_without_a_secret_that_is_gone():
    once = Once(folder("p/db/"))
    once.delete(A)
    assert once.ended() == {"web": None}


def test_a_denied_secret_in_a_folder_ends_it():
    once = Once(folder("p/db/"))
    once.denied.add(A)
    assert type(only(once.ended())) is DeniedError


def test_a_template_that_fails_is_a_template_error():
    once = Once(A)
    once.rejecting.add("web")
    said = only(once.ended())
    assert (type(said), said.exit_code) == (TemplateError, 65)
    assert str(said) == "web: app.j2:3: db has no such key: 'nope'"


def test_a_full_disk_is_told_as_such():
    once = Once(A)
    once.disk_full = True
    said = only(once.ended())
    assert (type(said), said.exit_code, str(said)) == (WriteError, 73, "web: no room")


def test_an_app_that_could_not_be_told_is_told_as_such():
    once = Once(A)
    once.app_running = False
    said = only(once.ended())
    assert (type(said), said.exit_code, str(said)) == (NotNotifiedError, 75, "web: no process")


def test_an_app_that_is_not_running_needs_not_be_told():
    once = Once(A)
    once.absent = True
    assert once.ended() == {"web": None}


def test_each_app_ends_for_its_own_reason():
    api, mcp, cdn = (
        app_spec(NONE, compiled_app="r2"),
        app_spec(B, compiled_app="r3"),
        app_spec(A, compiled_app="r4", notifies=False),
    )
    once = Once(A, others={"api": api, "mcp": mcp, "cdn": cdn})
    once.rejecting.add("mcp")
    ended = once.ended()
    assert {name: type(error) for name, error in ended.items()} == {
        "web": type(None),
        "api": TemplateError,
        "mcp": TemplateError,
        "cdn": type(None),
    }


def test_when_time_is_up_what_has_ended_keeps_its_own_reason():
    once = Once(A, others={"api": app_spec(NONE, compiled_app="r2")})
    once.ended()
    once.vault = "refuses"
    once.configure(once.apps | {"late": app_spec(ref("late/x"), compiled_app="r5")})
    once.run(10)
    assert results([once.state]) is None
    ended = results_at_timeout([once.state])
    assert {name: type(error) for name, error in ended.items()} == {
        "web": type(None),
        "api": TemplateError,
        "late": VaultUnreachableError,
    }
    assert str(ended["late"]) == "late: Vault did not provide its secrets in time: connection refused"


def test_a_dynamic_secret_that_is_refused_names_its_path_and_the_way_out():
    once = Once(creds("x"), failing={cmd.IssueSecret: Failure(Kind.DENIED, "denied")})
    said = only(once.ended())
    assert str(said) == "web: database/creds/x: denied; grant `read` in the token's policy"
    assert said.exit_code == 77


def test_a_dynamic_secret_that_is_issued_has_no_error_beside_one_that_fails():
    once = Once(creds("x"), ref("none"))
    assert type(only(once.ended())) is TemplateError


def test_the_apps_of_several_identities_end_together():
    one, two = Once(A), Once(B)
    one.run(5)
    assert results([one.state, two.state]) is None
    two.run(5)
    assert results([one.state, two.state]) == {"web": None}


def test_what_is_issued_by_a_post_wants_another_capability():
    posted = DynamicSecret("pki/issue/web", method="POST", certificate=True)
    once = Once(posted, failing={cmd.IssueSecret: Failure(Kind.DENIED, "denied")})
    assert str(only(once.ended())) == "web: pki/issue/web: denied; grant `update` in the token's policy"
