"""From a change to published files and a notified app."""

import itertools

import pytest

from lessee.agent.machine.apps.state import Rejected
from lessee.core.generation import File, Generation
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from support.models.world import World, app_spec, folder, ref

A, B, C, D = ref("p/db/a"), ref("p/db/b"), ref("p/key/c"), ref("p/db/d")
APPS = {
    "one": app_spec(A, B, C),
    "two": app_spec(A, compiled_app="r2", notifies=False),
    "all": app_spec(folder("p/db/"), compiled_app="r3", refresh_interval=2.0),
}


def check_promises(world):
    for app, live in world.live.items():
        # Both files say the same: a generation is made of one set of secrets.
        assert len({file.content for file in live.files}) == 1
        # A publication without its notification is on record.
        if world.apps[app].notifies and world.notified.get(app) != live:
            assert app in world.notification_pending


@pytest.mark.no_cover
def test_a_change_is_published_and_notified_within_refresh_interval():
    world = World(APPS)
    for secret in (A, B, C):
        world.write(secret)
    world.run(10.0)
    for _ in range(50):
        world.run(world.random.uniform(1, 3))
        world.write(A)
        world.run(1.0 + 5 * world.latency * 3)
        assert world.notified["one"] == world.current("one")


def test_concurrent_writes_are_one_generation():
    world = World({"app": app_spec(A, B, C)})
    for secret in (A, B, C):
        world.write(secret)
    world.run(10.0)
    before = len(world.published)
    for _ in range(20):
        world.write(A)
        world.write(B)
    world.run(2.0)
    assert len(world.published) - before == 1


def test_changed_templates_are_rendered_without_a_new_login_or_read():
    world = World(APPS)
    for secret in (A, B, C):
        world.write(secret)
    world.run(10.5)
    before = [command for _, command in world.requests]
    world.configure(APPS | {"one": app_spec(A, B, C, compiled_app="r7")})
    world.run(0.2)
    after = [command for _, command in world.requests][len(before) :]
    assert world.live["one"] == world.current("one")
    assert not [command for command in after if type(command).__name__ in {"Login", "ReadSecret", "DetectKvVersion"}]


def test_a_failing_template_leaves_the_published_files_until_an_input_changes():
    world = World({"app": app_spec(A)})
    world.write(A)
    world.run(5.0)
    old, obey = world.live["app"], world.obey

    def failing(command):
        if isinstance(command, cmd.Render):
            world.post(ev.RenderFailed(command.app, command.job, "a.j2:1: no"))
        else:
            obey(command)

    world.obey = failing
    world.write(A)
    world.run(10.0)
    assert world.live["app"] == old
    assert world.state.apps["app"].problem == Rejected("a.j2:1: no")
    renders = world.state.counters.renders
    world.run(60.0)
    assert world.state.counters.renders == renders
    world.obey = obey
    world.write(A)
    world.run(2.0)
    assert world.live["app"] == world.current("app")
    assert world.state.apps["app"].problem is None


def test_old_generations_are_deleted_soon_after_the_notification_or_within_a_minute():
    world = World({"app": app_spec(A)})
    pruned, obey = [], world.obey

    def watching(command):
        if isinstance(command, cmd.Prune):
            pruned.append(world.now)
        obey(command)

    world.obey = watching
    world.write(A)
    world.run(20.0)
    pruned.clear()
    world.write(A)
    at = world.now
    world.run(20.0)
    assert len(pruned) == 1
    assert 5 <= pruned[0] - at <= 7
    world.app_running = False
    world.write(A)
    at = world.now
    world.run(100.0)
    assert len(pruned) == 2
    assert 60 <= pruned[1] - at <= 62


def test_results_for_removed_apps_are_ignored():
    world = World(APPS)
    for secret in (A, B, C):
        world.write(secret)
    obey, held = world.obey, []

    def holding(command):
        if isinstance(command, cmd.Render | cmd.Publish | cmd.Notify | cmd.ReadSecret | cmd.ListFolder):
            held.append(command)
        else:
            obey(command)

    world.obey = holding
    for round_ in range(20):
        world.run(0.5)
        late, held[:] = held[:], []
        if round_ in {5, 8, 11}:
            world.configure({"two": APPS["two"]})
            world.run(0.5)
        for command in late:
            obey(command)
        world.run(0.2)
        world.configure(APPS)
    for event in (
        ev.Rendered("gone", 1, None),
        ev.RenderFailed("gone", 1, "x"),
        ev.Published("gone", 1, 1, changed=True),
        ev.PublishFailed("gone", 1, "x"),
        ev.Notified("gone", 1, "x"),
        ev.NotificationFailed("gone", 1, "x"),
        ev.AppRecovered("gone", 1, notification_pending=True),
        ev.SecretRead(10**9, None),
    ):
        world.take(event)
    world.obey = obey
    world.run(70.0)
    check_promises(world)
    assert set(world.state.apps) == set(APPS)


def test_a_version_with_the_same_values_is_rendered_but_not_published():
    world = World({"app": app_spec(A)})
    render = world.render
    world.render = lambda _: render(cmd.Render("app", 0, "r1", {}, {}, {}))
    world.write(A)
    world.run(5.0)
    world.write(A)
    world.run(5.0)
    assert world.state.counters.renders == 2
    assert len(world.published) == 1


def test_a_notification_failure_can_set_its_own_retry_delay():
    world = World({"app": app_spec(A)})
    tries, obey = [], world.obey

    def booting(command):
        if isinstance(command, cmd.Notify) and len(tries) < 4:
            tries.append(world.now)
            world.post(ev.NotificationFailed(command.app, command.job, "still starting", retry_in=0.25))
        else:
            obey(command)

    world.obey = booting
    world.write(A)
    world.run(5.0)
    assert [round(b - a, 2) for a, b in itertools.pairwise(tries)] == [0.25] * 3
    assert world.notified["app"] == world.live["app"]


def test_a_refresh_retries_a_pending_notification_immediately():
    world = World({"app": app_spec(A)})
    world.write(A)
    world.app_running = False
    world.run(120.0)
    world.app_running = True
    world.take(ev.RefreshRequested())
    world.run(0.1)
    assert world.notified["app"] == world.live["app"]


def test_a_publication_that_ends_after_a_reload_is_notified_all_the_same():
    world = World({"app": app_spec(A)})
    world.render = lambda command: Generation(command.app, (File("a", b"the same from any recipe", 0o440),))
    obey, held = world.obey, []
    world.obey = lambda command: held.append(command) if isinstance(command, cmd.Publish) else obey(command)
    world.write(A)
    world.run(2.0)
    (publish,) = held
    world.obey = obey
    world.configure({"app": app_spec(A, compiled_app="r2")})
    world.publish(publish)
    world.run(5.0)
    assert world.notified["app"] == world.live["app"]
    assert world.state.apps["app"].publication.number == 1


@pytest.mark.parametrize("event", [ev.Notified, ev.NotificationFailed])
def test_a_notification_that_ends_after_the_files_were_removed_leaves_nothing_pending(event):
    world = World({"app": app_spec(A)})
    obey, held = world.obey, []
    world.obey = lambda command: held.append(command) if isinstance(command, cmd.Notify) else obey(command)
    world.write(A)
    world.run(2.0)
    (notify,) = held
    world.obey = obey
    world.take(ev.Withdrawn("app"))
    world.take(event("app", notify.job, "some text"))
    app = world.state.apps["app"]
    assert app.notification is None
    assert not app.awaits(notify.job)
