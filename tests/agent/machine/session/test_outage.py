"""How the agent recognizes an outage, and what it sends meanwhile."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessee.core.failures import Failure, Kind
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from support.models.machine_histories import ACTIONS, SLOW, A, B, C
from support.models.world import World, app_spec, creds, folder


@pytest.mark.long
@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32), actions=st.lists(ACTIONS, max_size=15), vault=st.sampled_from(["refuses", "hangs"]))
def test_during_an_outage_at_most_fifteen_requests_are_sent_per_minute(seed, actions, vault):
    world = World(SLOW, seed=seed)
    for secret in (A, B, C):
        world.write(secret)
    for action, argument in actions:
        world.act(action, argument)
    world.vault = vault
    for _ in range(120):  # With an event source, the next poll may be a minute away.
        if (outage := world.state.session.outage) is not None and outage.is_confirmed:
            break
        world.run(1.0)
    assert world.state.session.outage is not None
    world.run(60.0)  # The first minute has requests that were pending, and short waits.
    before = len(world.requests)
    world.run(600.0)
    times = [at for at, _ in world.requests[before:]]
    assert len(times) <= 25
    assert all(len([t for t in times if t0 <= t < t0 + 60]) <= 15 for t0 in times)


@pytest.mark.long
@pytest.mark.parametrize("fair", [30.0, 80.0, 3600.0])
def test_an_earlier_outage_does_not_make_a_short_one_longer(fair):
    world = World({"app": app_spec(A)})
    world.write(A)
    world.run(10.0)
    world.vault = "refuses"
    world.run(60.0)
    world.vault = "available"
    world.run(30.0 + fair)
    assert world.state.session.outage is None
    world.vault = "refuses"
    world.run(2.0)
    began = world.now
    world.vault = "available"
    world.write(A)
    world.run(5.0)
    assert world.notified["app"] == world.current("app")
    assert world.state.session.outage_ended_at - began < 5.0


@pytest.mark.no_cover
@pytest.mark.parametrize("broken", [cmd.ReadMetadata, cmd.ReadSecret, cmd.ListFolder])
def test_a_failing_path_is_no_outage_and_costs_few_requests(broken):
    other = folder("p/key/")
    world = World({"app": app_spec(A, refresh_interval=0.5), "two": app_spec(other, compiled_app="r2")})
    answer, asked = world.answer, []

    def breaking(command):
        if command.__class__ is broken if broken is cmd.ListFolder else getattr(command, "ref", None) == A:
            asked.append(world.now)
            world.post(ev.RequestFailed(command.request_id, Failure(Kind.UNAVAILABLE, "the connection broke")), 0.002)
        else:
            answer(command)

    for secret in (A, C):
        world.write(secret)
    world.run(10.0)
    world.answer = breaking
    begun = world.now
    for _ in range(60):
        world.write(C)
        world.run(1.0)
    assert len([at for at in asked if at < begun + 60.0]) <= 20
    if broken is not cmd.ListFolder:
        world.run(1.1)
        assert world.live["two"] == world.current("two")
        assert world.state.secrets[A].failure.text == "the connection broke"
    assert not [line for line in world.log_lines if line[1] == "vault unavailable"]
    world.answer = answer
    world.write(A)
    world.run(60.0)
    assert world.notified["app"] == world.current("app")
    assert world.notified["two"] == world.current("two")


def test_a_suspected_outage_that_is_not_confirmed_is_not_logged():
    world = World({"app": app_spec(A, refresh_interval=0.5), "two": app_spec(C, compiled_app="r2")})
    for secret in (A, C):
        world.write(secret)
    world.run(10.0)
    world.vault = "refuses"
    world.run(5.0)
    world.vault = "available"
    world.run(5.0)
    before, answer, broken = len(world.log_lines), world.answer, []

    def breaking(command):
        if getattr(command, "ref", None) == A and not broken:
            broken.append(command)
            world.post(ev.RequestFailed(command.request_id, Failure(Kind.UNAVAILABLE, "the connection broke")), 0.002)
        else:
            answer(command)

    world.answer = breaking
    world.run(3.0)
    assert broken
    assert not [line for line in world.log_lines[before:] if line[1] in {"vault unavailable", "vault available"}]


X = creds("x")


def breaking(world, *types):
    """Requests of these types get no answer from now on, and are counted. Returns their times."""
    answer, asked = world.answer, []

    def failing(command):
        if isinstance(command, types):
            asked.append(world.now)
            world.post(ev.RequestFailed(command.request_id, Failure(Kind.UNAVAILABLE, "503 by a proxy")), 0.002)
        else:
            answer(command)

    world.answer = failing
    return asked


@pytest.mark.no_cover
@pytest.mark.parametrize("broken", [cmd.LookUpToken, cmd.RenewToken, cmd.Login, cmd.RevokeToken])
def test_an_outage_ends_although_a_path_about_the_token_is_broken_alone(broken):
    world = World({"app": app_spec(A, X, refresh_interval=1.0)}, ttl=900.0, lease_ttl=100.0)
    world.write(A)
    world.run(10.0)
    asked = breaking(world, broken)
    world.vault = "refuses"
    world.run(40.0)
    assert world.state.session.outage.is_confirmed
    world.vault = "available"
    world.write(A)
    world.run(30.0)
    assert world.state.session.outage is None
    asked.clear()
    for _ in range(60):
        world.write(A)
        world.run(10.0)
        assert world.notified["app"] == world.current("app")
    assert len(asked) <= 60, "a path that fails is asked rarely"
    assert len(world.issued) == 1
    assert not {"lease expired", "token rejected"} & {event for _, event, _ in world.log_lines}


@pytest.mark.parametrize("lease_max_ttl", [float("inf"), 250.0])
def test_leases_are_renewed_and_replaced_although_no_look_up_of_the_token_succeeds(lease_max_ttl):
    # Nothing else is polled, so the agent looks its token up to see whether that and the leases are valid.
    world = World({"app": app_spec(X, refresh_interval=5.0)}, lease_ttl=100.0, lease_max_ttl=lease_max_ttl)
    world.run(10.0)
    breaking(world, cmd.LookUpToken)
    world.run(1000.0)
    assert "lease expired" not in {event for _, event, _ in world.log_lines}
    assert len(world.issued) == 1 if lease_max_ttl == float("inf") else len(world.issued) > 4


def test_in_an_outage_a_lease_is_issued_as_a_probe_only_if_no_read_is_due():
    world = World({"app": app_spec(A, X)})
    world.write(A)
    world.fail(Kind.UNAVAILABLE, cmd.LookUpToken, cmd.ReadMetadata, cmd.ReadSecret, cmd.DetectKvVersion)
    world.vault = "hangs"
    world.run(1.0)
    world.vault = "available"
    before = len(world.requests)
    world.run(60.0)
    sent = [type(command) for _, command in world.requests[before:]]
    assert len(world.issued) <= 1, sent


def test_a_probe_for_which_no_path_is_due_is_a_look_up_of_the_token():
    world = World({"app": app_spec(X, refresh_interval=5.0)}, lease_ttl=36000.0, ttl=36000.0)
    world.run(10.0)
    world.vault = "refuses"
    world.run(300.0)
    before = len(world.requests)
    world.run(900.0)
    assert {type(command) for _, command in world.requests[before:]} == {cmd.LookUpToken}
    world.vault = "available"
    world.run(60.0)
    assert world.state.session.outage is None
