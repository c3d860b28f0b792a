"""An app whose process ended after a notification, and is not back, is a problem until it is."""

from lessee.agent.machine.status.problems import problems_of
from lessee.protocol import events as ev
from support.models.world import World, app_spec, ref

A = ref("p/db/a")
PROBLEM = "web ended after it was notified, and is not back"


def started():
    made = World({"web": app_spec(A)})
    made.write(A)
    made.run(3)
    return made


def say(world, event):
    world.post(event)
    world.run(0.1)
    return [line for line in problems_of(world.state, world.now) if line.startswith(PROBLEM)]


def logged(world):
    return [name for _, name, _ in world.log_lines if name in {"app ended", "app returned"}]


def test_an_app_that_ended_is_a_problem_once_until_it_returns():
    world = started()
    assert say(world, ev.AppReturned("web")) == []
    assert len(say(world, ev.AppEnded("web"))) == 1
    assert world.state.apps["web"].ended_at is not None
    assert len(say(world, ev.AppEnded("web"))) == 1
    assert say(world, ev.AppReturned("web")) == []
    assert logged(world) == ["app ended", "app returned"]


def test_the_next_notification_ends_the_problem():
    world = started()
    say(world, ev.AppEnded("web"))
    world.write(A)
    world.run(10)
    assert world.state.apps["web"].ended_at is None


def test_an_app_that_is_not_configured_any_more_is_not_reported():
    assert say(started(), ev.AppEnded("other")) == []
