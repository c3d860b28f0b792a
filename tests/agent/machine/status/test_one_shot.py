"""How a command that runs once ends, of states that the machine came to."""

import pytest

from lessee.agent.machine.status.one_shot import results, results_at_timeout
from lessee.core.errors import DeniedError, NotNotifiedError, TemplateError, VaultUnreachableError, WriteError
from lessee.core.failures import Failure, Kind
from lessee.core.paths import DynamicSecret
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
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


def test_a_published_and_notified_app_has_no_error():
    assert Once(A, B).ended() == {"web": None}


def test_there_is_no_result_before_all_apps_are_published_and_notified():
    once = Once(A)
    seen = []
    while not once.notified:
        seen.append(results([once.state]))
        once.run(0.001)
    assert len(seen) > 3
    assert set(map(type, seen)) == {type(None)}


def test_without_apps_the_result_is_immediate():
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
def test_a_failure_that_a_retry_does_not_change_is_an_immediate_error(asked, kind, error):
    once = Once(A, failing={asked: Failure(kind, "some reason")})
    result = only(once.ended(1))
    assert type(result) is error
    assert result.exit_code == {DeniedError: 77, TemplateError: 65}[error]
    assert "some reason" in str(result) or kind is Kind.NOT_FOUND
    assert result.where == "web"


@pytest.mark.no_cover
@pytest.mark.parametrize("asked", [cmd.Login, cmd.DetectKvVersion, cmd.ReadSecret])
@pytest.mark.parametrize("kind", [Kind.UNAVAILABLE, Kind.RATE_LIMITED])
def test_a_temporary_failure_is_waited_for_until_the_timeout(asked, kind):
    once = Once(A, failing={asked: Failure(kind, "some reason")})
    assert once.ended(10) is None
    result = only(results_at_timeout([once.state]))
    assert (type(result), result.exit_code, result.where) == (VaultUnreachableError, 69, "web")
    path = {cmd.Login: "", cmd.DetectKvVersion: "secret/: ", cmd.ReadSecret: "secret/p/db/a: "}[asked]
    assert str(result) == f"web: Vault did not provide its secrets in time: {path}some reason"
    once.failing.clear()
    assert once.ended(60) == {"web": None}


def test_a_denied_secret_names_its_path_and_a_remedy():
    once = Once(A, B)
    once.denied.add(A)
    assert str(only(once.ended())) == (
        "web: secret/p/db/a: denied; "
        "grant `read` in the token's policy (`lessee check --policy` prints it), or correct the path"
    )


def test_a_missing_secret_names_its_path_and_a_remedy():
    result = only(Once(A, NONE).ended())
    assert str(result) == "web: secret/p/none: it does not exist; write the secret, or correct the path in the template"


def test_each_failing_path_has_its_line():
    once = Once(A, B, NONE)
    once.denied |= {A, B}
    result = only(once.ended())
    assert type(result) is DeniedError
    assert result.what.splitlines() == [
        "secret/p/db/a: denied",
        "secret/p/db/b: denied",
        "secret/p/none: it does not exist",
    ]


def test_a_folder_whose_list_is_denied_is_a_denied_error():
    once = Once(folder("p/db/"), failing={cmd.ListFolder: Failure(Kind.DENIED, "denied")})
    result = only(once.ended())
    assert type(result) is DeniedError
    assert "secret/p/db/: denied" in str(result)


def test_a_folder_is_published_without_a_missing_secret():
    once = Once(folder("p/db/"))
    once.delete(A)
    assert once.ended() == {"web": None}


def test_a_denied_secret_in_a_folder_is_a_denied_error():
    once = Once(folder("p/db/"))
    once.denied.add(A)
    assert type(only(once.ended())) is DeniedError


def test_a_template_that_fails_is_a_template_error():
    once = Once(A)
    once.rejecting.add("web")
    result = only(once.ended())
    assert (type(result), result.exit_code) == (TemplateError, 65)
    assert str(result) == "web: app.j2:3: db has no such key: 'nope'"


def test_a_full_disk_is_a_write_error():
    once = Once(A)
    once.disk_full = True
    result = only(once.ended())
    assert (type(result), result.exit_code, str(result)) == (WriteError, 73, "web: no room")


def test_an_app_that_could_not_be_notified_is_a_notification_error():
    once = Once(A)
    once.app_running = False
    result = only(once.ended())
    assert (type(result), result.exit_code, str(result)) == (NotNotifiedError, 75, "web: no process")


def test_an_app_that_does_not_run_needs_no_notification():
    once = Once(A)
    once.absent = True
    assert once.ended() == {"web": None}


def test_each_app_has_its_own_error():
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


def test_at_the_timeout_earlier_errors_remain():
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


def test_a_denied_dynamic_secret_names_its_path_and_a_remedy():
    once = Once(creds("x"), failing={cmd.IssueSecret: Failure(Kind.DENIED, "denied")})
    result = only(once.ended())
    assert str(result) == (
        "web: database/creds/x: denied; "
        "grant `read` in the token's policy (`lessee check --policy` prints it), or correct the path"
    )
    assert result.exit_code == 77


def test_an_issued_dynamic_secret_is_no_error_next_to_a_failing_one():
    once = Once(creds("x"), ref("none"))
    assert type(only(once.ended())) is TemplateError


def test_the_result_covers_all_identities():
    one, two = Once(A), Once(B)
    one.run(5)
    assert results([one.state, two.state]) is None
    two.run(5)
    assert results([one.state, two.state]) == {"web": None}


def test_a_secret_issued_by_post_needs_the_update_capability():
    posted = DynamicSecret("pki/issue/web", method="POST", certificate=True)
    once = Once(posted, failing={cmd.IssueSecret: Failure(Kind.DENIED, "denied")})
    assert str(only(once.ended())) == (
        "web: pki/issue/web: denied; "
        "grant `update` in the token's policy (`lessee check --policy` prints it), or correct the path"
    )
