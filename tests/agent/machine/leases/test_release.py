"""What has served is revoked, once nobody reads it any more, and nothing is left."""

import pytest

from lessee.agent.machine.leases.consumers import is_settled
from lessee.agent.machine.leases.release import is_everything_revoked
from lessee.agent.machine.protocol import commands as cmd
from lessee.agent.machine.protocol import events as ev
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from support.models.world import World, app_spec, creds, ref

A = ref("p/db/a")
X, Y, Z = creds("x"), creds("y"), creds("z")


def test_what_leaves_the_configuration_is_revoked_once_its_readers_are_told():
    world = World({"app": app_spec(X, Y)})
    world.run(20.0)
    world.configure({"app": app_spec(X, compiled_app="r2")})
    world.run(4.5)
    assert {known.need for known in world.leases.values()} == {X, Y}  # a reader may just have opened it
    world.run(2.0)
    assert {known.need for known in world.leases.values()} == {X}
    assert len(world.issued) == 2


def test_what_comes_back_into_the_configuration_in_time_is_not_issued_again():
    world = World({"app": app_spec(X, Y)})
    world.run(20.0)
    world.configure({"app": app_spec(X, compiled_app="r2")})
    world.run(2.0)
    world.configure({"app": app_spec(X, Y)})
    world.run(60.0)
    assert len(world.issued) == 2
    assert len(world.leases) == 2


def test_an_app_that_cannot_be_told_keeps_what_it_holds():
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


def test_leases_are_issued_anew_under_the_new_token_before_the_old_one_is_let_go():
    world = World({"app": app_spec(X, Y)}, ttl=100.0, token_max_ttl=130.0)
    world.run(130.0)
    assert [known.token for known in world.leases.values()] == ["t2", "t2"]
    (revoked,) = [command.token for _, command in world.requests if isinstance(command, cmd.RevokeToken)]
    assert (revoked, list(world.tokens)) == ("t1", ["t2"])
    assert list(world.stored_tokens) == ["t2"]
    assert len(world.published) == 2  # both in one generation
    assert not [said for said in world.log_lines if said[1] in {"lease expired", "token expired"}]


def test_where_revoking_is_denied_it_is_told_and_left_to_end_by_itself():
    world = World({"app": app_spec(X, Y)}, lease_ttl=100.0)
    world.fail(Kind.DENIED, cmd.RevokeLease)
    world.run(20.0)
    world.configure({"app": app_spec(X, compiled_app="r2")})
    world.run(300.0)
    (told,) = [said for said in world.log_lines if said[1] == "lease not revoked"]
    assert "sys/leases/revoke" in told[2]["todo"]
    assert len([1 for _, command in world.requests if isinstance(command, cmd.RevokeLease)]) == 1
    assert len(world.stored_leases) == 1


def test_a_lease_that_is_gone_already_needs_no_revoking():
    world = World({"app": app_spec(X, Y)})
    world.fail(Kind.NOT_FOUND, cmd.RevokeLease)
    world.run(20.0)
    world.configure({"app": app_spec(X, compiled_app="r2")})
    world.run(60.0)
    assert len(world.stored_leases) == 1


def test_a_token_that_may_not_be_revoked_is_left_and_its_leases_are_revoked_each():
    world = World({"app": app_spec(X, Y)})
    world.fail(Kind.DENIED, cmd.RevokeToken)
    world.run(20.0)
    world.take(ev.Stopping())
    world.run(20.0)
    assert world.leases == {}
    assert is_everything_revoked(world.state)
    assert len([said for said in world.log_lines if said[1] == "token not revoked"]) == 1


def test_a_token_that_is_not_ours_is_never_revoked_but_its_leases_are():
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


def test_stopping_in_bad_weather_tries_and_can_be_given_up():
    world = World({"app": app_spec(X)})
    world.run(20.0)
    world.vault = "refuses"
    world.take(ev.Stopping())
    world.run(8.0)
    assert not is_everything_revoked(world.state)
    assert 2 <= len([1 for _, command in world.requests if isinstance(command, cmd.RevokeToken)]) <= 10
    assert len(world.stored_leases) == 1  # the next start goes on with it
    world.vault = "available"
    world.run(10.0)
    assert is_everything_revoked(world.state)


def test_what_is_dropped_while_it_is_issued_is_revoked_at_once():
    world = World({"app": app_spec(X), "two": app_spec(A, compiled_app="r2")})
    world.run_until_pending(cmd.IssueSecret)
    world.configure({"two": app_spec(A, compiled_app="r2")})
    world.run(1.0)
    assert (len(world.issued), world.leases, world.stored_leases) == (1, {}, {})


def test_what_is_refused_while_it_is_dropped_is_no_affair_any_more():
    world = World({"app": app_spec(X), "two": app_spec(A, compiled_app="r2")})
    world.denied.add(X)
    world.run_until_pending(cmd.IssueSecret)
    world.configure({"two": app_spec(A, compiled_app="r2")})
    world.run(1.0)
    assert world.state.issuances == {}


@pytest.mark.parametrize("late", [cmd.RenewLease, cmd.LookUpLease, cmd.RevokeLease])
@pytest.mark.parametrize("fails", [False, True])
def test_an_answer_about_a_lease_that_went_with_its_token_is_passed_over(late, fails):
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
def test_a_token_that_ended_while_it_was_being_revoked_is_forgotten(fails):
    world = World({"app": app_spec(X)}, ttl=100.0, token_max_ttl=130.0)
    obey, held = world.obey, []
    world.obey = lambda command: held.append(command) if isinstance(command, cmd.RevokeToken) else obey(command)
    world.run(129.0)
    ((call, token),) = [(command.request_id, command.token) for command in held]
    assert token in world.state.session.replaced_tokens
    former = dict(world.state.session.replaced_tokens)
    del former[token]
    world.state = replace(world.state, session=replace(world.state.session, replaced_tokens=former))
    world.take(ev.RequestFailed(call, Failure(Kind.PATH_ERROR, "500")) if fails else ev.Revoked(call))
    assert token not in world.state.session.replaced_tokens


def test_a_token_is_not_revoked_while_something_asked_in_its_name_is_under_way():
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


def test_an_app_that_another_identity_serves_now_holds_its_leases_until_it_is_told_there():
    world = World({"app": app_spec(X), "other": app_spec(Y, compiled_app="r2")}, lease_ttl=100.0)
    world.run(5.0)
    del world.apps["app"]
    world.take(ev.Configured(world.apps, frozenset({"app"})))
    world.run(300.0)
    assert {known.need for known in world.leases.values()} == {X, Y}  # renewed all the while
    world.take(ev.Configured(world.apps))
    world.run(1.0)
    assert {known.need for known in world.leases.values()} == {Y}
    assert [said[2]["app"] for said in world.log_lines if said[1] == "app removed from configuration"] == []


def test_an_app_is_settled_once_its_readers_were_told_a_moment_ago():
    world = World({"app": app_spec(X)})
    assert not is_settled(world.state.apps["app"], world.now)
    world.run(1.0)
    assert not is_settled(world.state.apps["app"], world.now)
    world.run(6.0)
    assert is_settled(world.state.apps["app"], world.now)


def test_what_no_template_reads_any_more_after_a_restart_is_revoked():
    world = World({"app": app_spec(X), "gone": app_spec(Y, compiled_app="r2")})
    world.run(5.0)
    del world.apps["gone"]
    world.boot()
    world.run(10.0)
    assert {known.need for known in world.leases.values()} == {X}
    assert len(world.issued) == 2


def test_stopping_waits_for_what_is_being_issued():
    world = World({"app": app_spec(X)})
    world.run_until_pending(cmd.IssueSecret)
    world.take(ev.Stopping())
    assert not is_everything_revoked(world.state)
    world.run(1.0)
    assert is_everything_revoked(world.state)
    assert (world.leases, world.tokens) == ({}, {})


def test_an_answer_that_comes_after_its_time_is_revoked_where_another_serves():
    world = World({"app": app_spec(X)}, lease_ttl=100.0)
    world.run(5.0)
    swallowed = world.never_answer(cmd.IssueSecret)
    world.leases.clear()
    world.run(120.0)
    assert len(world.issued) == 2
    assert world.notified["app"] == world.current("app")
    ((name, lease),) = world.stored_leases.items()
    world.leases["late"] = world.leases[name]
    world.take(ev.SecretIssued(swallowed[0].request_id, replace(lease, id="late", lease_id="late")))
    assert set(world.stored_leases) == {name, "late"}
    world.run(5.0)
    assert len(world.stored_leases) == len(world.leases) == 1
    assert world.notified["app"] == world.current("app")


def test_an_answer_that_comes_after_its_time_serves_where_there_is_none():
    world = World({"app": app_spec(X)}, lease_ttl=100.0)
    swallowed = world.never_answer(cmd.IssueSecret, times=2)
    world.run(32.0)
    assert len(swallowed) >= 1
    assert not world.live
    world.take(world.issue(swallowed[0]))
    world.run(1.0)
    assert world.notified["app"] == world.current("app")
    world.run(100.0)
    assert world.notified["app"] == world.current("app")
    assert len(world.leases) == 1


def test_of_two_leases_of_an_earlier_life_the_newer_one_serves_whoever_comes_back_for_it():
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
def test_a_token_that_cannot_be_revoked_for_now_is_revoked_later(kind):
    world = World({"app": app_spec(X)})
    world.run(20.0)
    world.fail(kind, cmd.RevokeToken, times=2)
    world.take(ev.Stopping())
    world.run(20.0)
    assert (world.leases, world.tokens, world.stored_leases) == ({}, {}, {})
    assert not [said for said in world.log_lines if said[1] == "token not revoked"]
