"""The state machine keeps its promises whatever happens, in whatever order."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessee.agent.machine.step import start, step
from lessee.core.failures import Failure, Kind
from lessee.core.secrets import VersionMetadata
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from support.models.machine_histories import ACTIONS, SLOW, A, B, C, D
from support.models.world import World, app_spec
from support.thorough import examples


def check_promises(world):
    for app, live in world.live.items():
        # Both files say the same: a generation is made of one set of secrets.
        assert len({file.content for file in live.files}) == 1
        # A publication without its notification is on record.
        if world.apps[app].notifies and world.notified.get(app) != live:
            assert app in world.notification_pending


@pytest.mark.long
@settings(max_examples=examples(150), deadline=None)
@given(
    seed=st.integers(0, 2**32),
    lists_metadata=st.booleans(),
    version=st.sampled_from([1, 2]),
    blind=st.booleans(),
    actions=st.lists(ACTIONS, max_size=25),
)
def test_no_order_of_events_publishes_a_mix_or_loses_a_notification(seed, lists_metadata, version, blind, actions):
    world = World(SLOW, seed=seed, lists_metadata=lists_metadata, version=version)
    if blind:
        world.without_metadata |= {A, B, C, D}
    for secret in (A, B, C):
        world.write(secret)
    for action, argument in actions:
        world.act(action, argument)
        check_promises(world)
    world.repair()
    # A minute's cap, and the guard of a call that hangs.
    world.run(100.0)
    check_promises(world)
    for app, wanted in world.apps.items():
        expected = world.current(app)
        if expected is not None:
            assert world.live[app] == expected, f"{app} is not fresh a minute after all is well"
            assert not wanted.notifies or world.notified[app] == expected
            assert app not in world.notification_pending


@pytest.mark.long
def test_a_month_of_renewals_and_checks_takes_seconds():
    world = World({"app": app_spec(A, refresh_interval=60.0)}, ttl=3600.0)
    world.write(A)
    world.run(30 * 86400.0)
    assert world.live["app"] == world.current("app")
    assert len([1 for _, command in world.requests if type(command).__name__ == "Login"]) == 1


def test_a_step_takes_one_event_and_a_mismatched_response_is_a_bug():
    state, commands = step(start(1), ev.Configured({"app": app_spec(A)}), 0.0)
    (login,) = commands
    with pytest.raises(AssertionError, match="does not answer Login"):
        step(state, ev.MetadataRead(login.request_id, VersionMetadata(1, "x")), 1.0)
    state, _ = step(state, ev.Tick(), 1.0)
    state, commands = step(state, ev.RequestFailed(login.request_id, Failure(Kind.UNAVAILABLE, "away")), 2.0)
    assert not [command for command in commands if isinstance(command, cmd.Login)]
    state, commands = step(state, ev.RefreshRequested(), 2.1)
    assert [type(command).__name__ for command in commands] == ["Login"]
