"""No app notices that a token ended, was capped or was revoked: what was issued under it is issued anew in time."""

import pytest

from lessee.agent.machine.protocol import commands as cmd
from lessee.agent.machine.protocol import events as ev
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from support.models.world import World, app_spec, creds, ref

A = ref("p/db/a")
X, Y, Z = creds("x"), creds("y"), creds("z")


def test_a_revoked_token_takes_its_leases_along_and_is_replaced_within_three_seconds():
    world = World({"app": app_spec(A, X, Y)})
    world.write(A)
    world.run(30.0)
    world.revoke_tokens()
    world.run(3.0)
    assert world.notified["app"] == world.live["app"] == world.current("app")
    assert {known.token for known in world.leases.values()} == {"t2"}


@pytest.mark.parametrize("command", [cmd.LookUpToken, cmd.RenewToken])
def test_a_valid_token_that_may_not_see_to_itself_is_used_until_its_end(command):
    world = World({"app": app_spec(A, X)}, ttl=100.0)
    world.fail(Kind.UNSUPPORTED, command)
    world.write(A)
    world.run(5.0)
    world.denied.add(A)
    world.write(A)
    world.run(30.0)
    assert world.state.counters.logins == 1
    world.denied.discard(A)
    world.run(120.0)
    assert world.state.counters.logins == (1 if command is cmd.LookUpToken else 2)
    assert world.notified["app"] == world.current("app")
    assert not [said for said in world.log_lines if said[1] in {"token expired", "lease expired", "token rejected"}]


@pytest.mark.parametrize("kind", [Kind.PATH_ERROR, Kind.RATE_LIMITED])
def test_a_token_whose_renewals_fail_is_replaced_before_its_end(kind):
    world = World({"app": app_spec(A, X)}, ttl=100.0)
    world.fail(kind, cmd.RenewToken)
    world.write(A)
    world.run(300.0)
    assert 3 <= world.state.counters.logins <= 5
    assert not [said for said in world.log_lines if said[1] in {"token expired", "lease expired"}]
    assert len([1 for _, command in world.requests if isinstance(command, cmd.RenewToken)]) <= 60


def test_a_renewal_that_is_refused_after_the_token_s_end_changes_nothing_more():
    world = World({"app": app_spec(X)}, ttl=4.0)
    world.run(1.0)
    answer, held = world.answer, []
    world.answer = lambda command: held.append(command) if isinstance(command, cmd.RenewToken) else answer(command)
    world.vault = "hangs"
    world.run(3.1)
    world.vault = "available"
    assert world.state.session.token is None
    world.take(ev.RequestFailed(held[0].request_id, Failure(Kind.DENIED, "permission denied (403)")))
    world.answer = answer
    world.run(10.0)
    assert world.notified["app"] == world.current("app")


def test_a_revoked_token_is_noticed_within_ten_seconds_where_nothing_else_is_asked():
    world = World({"app": app_spec(X)})
    for _ in range(5):
        world.run(333.3)
        world.revoke_tokens()
        world.run(10.0)
        assert world.notified["app"] == world.live["app"] == world.current("app")
    before = len(world.requests)
    world.run(600.0)
    assert len(world.requests) - before <= 90


def test_a_token_that_may_not_be_looked_up_is_looked_up_seldom():
    world = World({"app": app_spec(X)})
    world.fail(Kind.UNSUPPORTED, cmd.LookUpToken)
    world.run(3600.0)
    assert len([1 for _, command in world.requests if isinstance(command, cmd.LookUpToken)]) <= 8


def test_where_a_successor_would_end_with_the_token_a_login_comes_first():
    world = World({"app": app_spec(X)}, ttl=100.0, lease_ttl=100.0)
    token, issue = world.token, world.issue

    def batch(name, born_at):
        known = token(name, born_at)
        known.token = replace(known.token, renewable=False)
        return known

    def bounded(command):
        event = issue(command)
        return replace(event, lease=replace(event.lease, renewable=False))

    world.token, world.issue = batch, bounded
    world.tokens.clear()
    world.stored_tokens.clear()
    world.boot()
    world.run(1000.0)
    assert world.state.counters.logins == len(world.issued)
    assert 14 <= len(world.issued) <= 20
    assert not [said for said in world.log_lines if said[1] in {"lease expired", "token expired"}]


def test_a_token_that_does_not_end_can_be_looked_up():
    world = World({"app": app_spec(A, X)})
    token = world.token

    def endless(name, born_at):
        known = token(name, born_at)
        known.token, known.ends_at = replace(known.token, ttl=0.0, renewable=False), float("inf")
        return known

    world.token = endless
    world.tokens.clear()
    world.stored_tokens.clear()
    world.boot()
    serve = world.serve

    def looking(command):
        if isinstance(command, cmd.LookUpToken):
            return ev.TokenRenewed(command.request_id, world.state.session.token)
        return serve(command)

    world.serve = looking
    world.write(A)
    world.run(5.0)
    world.denied.add(A)
    world.write(A)
    world.run(86400.0)
    assert world.state.counters.logins == 1
    assert not [1 for _, command in world.requests if isinstance(command, cmd.RenewToken)]
