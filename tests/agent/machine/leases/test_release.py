"""Leases and tokens are revoked once no reader uses them, and nothing is left."""

import pytest

from lessee.agent.machine.leases.consumers import is_settled
from lessee.agent.machine.leases.release import is_everything_revoked
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from support.models.stored_deadlines import altered
from support.models.world import World, app_spec, creds, ref

A = ref("p/db/a")
X, Y, Z = creds("x"), creds("y"), creds("z")


def test_a_lease_no_longer_configured_is_revoked_once_its_readers_are_notified():
    world = World({"app": app_spec(X, Y)})
    world.run(20.0)
    world.configure({"app": app_spec(X, compiled_app="r2")})
    world.run(4.5)
    assert {known.need for known in world.leases.values()} == {X, Y}  # a reader may just have opened it
    world.run(2.0)
    assert {known.need for known in world.leases.values()} == {X}
    assert len(world.issued) == 2


def test_many_leases_are_revoked_a_few_at_a_time():
    world = World({"app": app_spec(A, *(creds(f"x{number}") for number in range(20)))})
    world.write(A)
    world.run(30.0)
    assert len(world.leases) == 20
    revoking = world.never_answer(cmd.RevokeLease, times=8)
    world.configure({"app": app_spec(A, compiled_app="r2")})
    world.run(10.0)
    assert len(revoking) == 8
    assert len(world.leases) == 20, "as many requests as allowed are under way"
    world.run(60.0)
    assert not world.leases


def test_a_lease_configured_again_in_time_is_not_issued_again():
    world = World({"app": app_spec(X, Y)})
    world.run(20.0)
    world.configure({"app": app_spec(X, compiled_app="r2")})
    world.run(2.0)
    world.configure({"app": app_spec(X, Y)})
    world.run(60.0)
    assert len(world.issued) == 2
    assert len(world.leases) == 2


def test_an_app_that_cannot_be_notified_retains_its_leases():
    world = World({"app": app_spec(X)}, lease_ttl=1000.0)
    world.run(5.0)
    world.app_running = False
    (first,) = world.leases
    world.leases[first].max_at = world.now + 1300.0
    world.run(1200.0)
    assert len(world.issued) > 1
    assert first in world.leases
    world.app_running = True
    world.run(40.0)
    assert first not in world.leases
    assert world.live["app"] == world.notified["app"] == world.current("app")


def test_leases_are_issued_under_the_new_token_before_the_old_token_is_revoked():
    world = World({"app": app_spec(X, Y)}, ttl=100.0, token_max_ttl=130.0)
    world.run(130.0)
    assert [known.token for known in world.leases.values()] == ["t2", "t2"]
    (revoked,) = [command.token for _, command in world.requests if isinstance(command, cmd.RevokeToken)]
    assert (revoked, list(world.tokens)) == ("t1", ["t2"])
    assert list(world.stored_tokens) == ["t2"]
    assert len(world.published) == 2  # both in one generation
    assert not [line for line in world.log_lines if line[1] in {"lease expired", "token expired"}]


def test_a_denied_revocation_is_logged_and_the_lease_expires_by_itself():
    world = World({"app": app_spec(X, Y)}, lease_ttl=100.0)
    world.fail(Kind.DENIED, cmd.RevokeLease)
    world.run(20.0)
    world.configure({"app": app_spec(X, compiled_app="r2")})
    world.run(300.0)
    (line,) = [line for line in world.log_lines if line[1] == "lease not revoked"]
    assert "sys/leases/revoke" in line[2]["todo"]
    assert len([1 for _, command in world.requests if isinstance(command, cmd.RevokeLease)]) == 1
    assert len(world.stored_leases) == 1


def test_a_lease_unknown_to_vault_needs_no_revocation():
    world = World({"app": app_spec(X, Y)})
    world.fail(Kind.NOT_FOUND, cmd.RevokeLease)
    world.run(20.0)
    world.configure({"app": app_spec(X, compiled_app="r2")})
    world.run(60.0)
    assert len(world.stored_leases) == 1


def test_the_leases_of_a_token_whose_revocation_is_denied_are_revoked_one_by_one():
    world = World({"app": app_spec(X, Y)})
    world.fail(Kind.DENIED, cmd.RevokeToken)
    world.run(20.0)
    world.take(ev.Stopping())
    world.run(20.0)
    assert world.leases == {}
    assert is_everything_revoked(world.state)
    assert len([line for line in world.log_lines if line[1] == "token not revoked"]) == 1


def test_a_token_from_elsewhere_is_never_revoked_but_its_leases_are():
    world = World({"app": app_spec(X, Y)})
    token = world.token
    world.token = lambda *args: (
        known := token(*args), setattr(known, "token", replace(known.token, ours=False))
    )[0]  # fmt: skip
    world.tokens.clear()
    world.stored_tokens.clear()
    world.boot()
    world.run(20.0)
    world.take(ev.Stopping())
    world.run(20.0)
    assert (world.leases, len(world.tokens)) == ({}, 1)
    assert not [1 for _, command in world.requests if isinstance(command, cmd.RevokeToken)]
    assert is_everything_revoked(world.state)


def test_a_stop_during_an_outage_tries_to_revoke_and_can_be_ended():
    world = World({"app": app_spec(X)})
    world.run(20.0)
    world.vault = "refuses"
    world.take(ev.Stopping())
    world.run(8.0)
    assert not is_everything_revoked(world.state)
    assert 2 <= len([1 for _, command in world.requests if isinstance(command, cmd.RevokeToken)]) <= 10
    assert len(world.stored_leases) == 1  # the next start continues with it
    world.vault = "available"
    world.run(10.0)
    assert is_everything_revoked(world.state)


def test_a_lease_removed_from_the_configuration_while_issued_is_revoked_immediately():
    world = World({"app": app_spec(X), "two": app_spec(A, compiled_app="r2")})
    world.run_until_pending(cmd.IssueSecret)
    world.configure({"two": app_spec(A, compiled_app="r2")})
    world.run(1.0)
    assert (len(world.issued), world.leases, world.stored_leases) == (1, {}, {})


def test_a_denied_issuance_after_its_removal_from_the_configuration_is_ignored():
    world = World({"app": app_spec(X), "two": app_spec(A, compiled_app="r2")})
    world.denied.add(X)
    world.run_until_pending(cmd.IssueSecret)
    world.configure({"two": app_spec(A, compiled_app="r2")})
    world.run(1.0)
    assert world.state.issuances == {}


@pytest.mark.parametrize("late", [cmd.RenewLease, cmd.LookUpLease, cmd.RevokeLease])
@pytest.mark.parametrize("fails", [False, True])
def test_a_response_about_a_lease_revoked_with_its_token_is_ignored(late, fails):
    world = World({"app": app_spec(X, Y)}, lease_ttl=100.0)
    world.run(20.0)
    obey, held = world.obey, []
    world.obey = lambda command: held.append(command) if isinstance(command, late) else obey(command)
    if late is cmd.LookUpLease:
        world.boot()
    elif late is cmd.RevokeLease:
        world.configure({"app": app_spec(X, compiled_app="r2")})
    world.run(25.0 if late is not cmd.RenewLease else 55.0)
    assert held
    calls = [command.request_id for command in held]
    world.take(ev.Stopping())
    world.run(1.0)
    assert world.stored_leases == {}
    for call in calls:
        answer = ev.Revoked(call) if late is cmd.RevokeLease else ev.LeaseRenewed(call, world.now, 9.0, renewable=True)
        world.take(ev.RequestFailed(call, Failure(Kind.PATH_ERROR, "500")) if fails else answer)
    assert world.state.leases == {}


@pytest.mark.parametrize("fails", [False, True])
def test_a_token_that_expired_during_its_revocation_is_forgotten(fails):
    world = World({"app": app_spec(X)}, ttl=100.0, token_max_ttl=130.0)
    obey, held = world.obey, []
    world.obey = lambda command: held.append(command) if isinstance(command, cmd.RevokeToken) else obey(command)
    world.run(129.0)
    ((call, token),) = [(command.request_id, command.token) for command in held]
    assert token in world.state.session.replaced_tokens
    former = dict(world.state.session.replaced_tokens)
    del former[token]
    session = replace(world.state.session, replaced_tokens=former)
    world.state = altered(world.state, world.now, session=session)
    world.take(ev.RequestFailed(call, Failure(Kind.PATH_ERROR, "500")) if fails else ev.Revoked(call))
    assert token not in world.state.session.replaced_tokens


def test_a_token_is_not_revoked_while_one_of_its_requests_is_pending():
    world = World(
        {"app": app_spec(X), "slow": app_spec(A, compiled_app="r2", refresh_interval=10.0)},
        ttl=100.0,
        token_max_ttl=130.0,
    )
    world.write(A)
    world.run(100.0)
    answer, held = world.answer, []

    def hanging(command):
        if isinstance(command, cmd.ReadMetadata) and not held:
            held.append(command)
        else:
            answer(command)

    world.answer = hanging
    world.run(0.1)
    world.revoked = []
    obey = world.obey
    world.obey = lambda command: (world.revoked.append(world.now) if isinstance(command, cmd.RevokeToken) else None,
                                  obey(command))  # fmt: skip
    world.run(60.0)
    assert held
    assert world.notified["app"] == world.current("app")


def test_a_moved_app_retains_its_leases_until_its_new_identity_has_notified_it():
    world = World({"app": app_spec(X), "other": app_spec(Y, compiled_app="r2")}, lease_ttl=100.0)
    world.run(5.0)
    del world.apps["app"]
    world.take(ev.Configured(world.apps, frozenset({"app"})))
    world.run(300.0)
    assert {known.need for known in world.leases.values()} == {X, Y}  # renewed all the while
    world.take(ev.Configured(world.apps))
    world.run(1.0)
    assert {known.need for known in world.leases.values()} == {Y}
    assert [line[2]["app"] for line in world.log_lines if line[1] == "app removed from configuration"] == []


def test_an_app_is_settled_shortly_after_its_notification():
    world = World({"app": app_spec(X)})
    assert not is_settled(world.state.apps["app"], world.now)
    world.run(1.0)
    assert not is_settled(world.state.apps["app"], world.now)
    world.run(6.0)
    assert is_settled(world.state.apps["app"], world.now)


def test_a_lease_that_no_template_reads_after_a_restart_is_revoked():
    world = World({"app": app_spec(X), "gone": app_spec(Y, compiled_app="r2")})
    world.run(5.0)
    del world.apps["gone"]
    world.boot()
    world.run(10.0)
    assert {known.need for known in world.leases.values()} == {X}
    assert len(world.issued) == 2


def test_a_stop_waits_for_pending_issuances():
    world = World({"app": app_spec(X)})
    world.run_until_pending(cmd.IssueSecret)
    world.take(ev.Stopping())
    assert not is_everything_revoked(world.state)
    world.run(1.0)
    assert is_everything_revoked(world.state)
    assert (world.leases, world.tokens) == ({}, {})


def test_a_lease_issued_too_late_is_revoked_if_another_one_is_used():
    world = World({"app": app_spec(X)}, lease_ttl=100.0)
    world.run(5.0)
    unanswered = world.never_answer(cmd.IssueSecret)
    world.leases.clear()
    world.run(120.0)
    assert len(world.issued) == 2
    assert world.notified["app"] == world.current("app")
    ((name, lease),) = world.stored_leases.items()
    world.leases["late"] = world.leases[name]
    world.take(ev.SecretIssued(unanswered[0].request_id, replace(lease, id="late", lease_id="late")))
    assert set(world.stored_leases) == {name, "late"}
    world.run(5.0)
    assert len(world.stored_leases) == len(world.leases) == 1
    assert world.notified["app"] == world.current("app")


def test_a_lease_issued_too_late_is_used_if_there_is_no_other():
    world = World({"app": app_spec(X)}, lease_ttl=100.0)
    unanswered = world.never_answer(cmd.IssueSecret, times=2)
    world.run(32.0)
    assert len(unanswered) >= 1
    assert not world.live
    world.take(world.issue(unanswered[0]))
    world.run(1.0)
    assert world.notified["app"] == world.current("app")
    world.run(100.0)
    assert world.notified["app"] == world.current("app")
    assert len(world.leases) == 1


def test_of_two_leases_of_a_previous_run_the_newer_one_is_used_by_an_app_configured_again():
    world = World({"app": app_spec(X), "other": app_spec(Y, compiled_app="r2")}, lease_ttl=100.0, lease_max_ttl=150.0)
    world.run(5.0)
    world.app_running = False
    while len(world.issued) < 4:
        world.run(1.0)
    apps = world.apps
    world.apps = {"other": apps["other"]}
    world.boot()
    world.configure(apps)
    world.run(5.0)
    assert len(world.issued) == 4
    newest = world.state.leases[world.state.issuances[X].lease]
    assert newest.lease.issued_at == max(h.lease.issued_at for h in world.state.leases.values() if h.lease.need == X)


@pytest.mark.parametrize("kind", [Kind.PATH_ERROR, Kind.RATE_LIMITED])
def test_a_failed_revocation_of_a_token_is_retried(kind):
    world = World({"app": app_spec(X)})
    world.run(20.0)
    world.fail(kind, cmd.RevokeToken, times=2)
    world.take(ev.Stopping())
    world.run(20.0)
    assert (world.leases, world.tokens, world.stored_leases) == ({}, {}, {})
    assert not [line for line in world.log_lines if line[1] == "token not revoked"]
