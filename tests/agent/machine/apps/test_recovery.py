"""What a reload and a move between identities leave of an app."""

from lessee.agent.machine.apps.recovery import hand_over
from lessee.agent.machine.leases.consumers import is_settled
from lessee.agent.machine.step import start, steps
from lessee.protocol import events as ev
from support.models.world import World, app_spec, creds, ref

A = ref("p/db/a")


def published(*, seconds=5.0, **settings):
    world = World({"one": app_spec(A, **settings)})
    world.write(A)
    world.run(seconds)
    return world


def one(world):
    return world.state.apps["one"]


def moved(world):
    """The app in the hands of another identity."""
    state, _ = steps(start(1), [ev.Configured(world.apps), hand_over("one", one(world))], world.now)
    return state.apps["one"]


def fields_of(app):
    """What an identity knows of an app, and another must know as well."""
    publication, unverified, previous = app.publication, app.unverified, app.previous
    return (
        publication.number,
        publication.published_at,
        publication.fallback,
        publication.rolled_back.fingerprint if publication.rolled_back else None,
        app.notification is not None,
        unverified.fingerprint if unverified else None,
        previous.number if previous else None,
        app.old_generations,
    )


def test_an_app_without_files_is_handed_over_without_any():
    world = World({"one": app_spec(A)})
    assert hand_over("one", one(world)) == ev.AppRecovered("one", None, notification_pending=False)


def test_a_notified_app_is_handed_over_as_it_is():
    world = published()
    assert fields_of(moved(world)) == fields_of(one(world))
    assert moved(world).notification is None


def test_a_pending_notification_is_handed_over():
    world = published()
    world.app_running = False
    world.write(A)
    world.run(3.0)
    assert fields_of(moved(world)) == fields_of(one(world))
    assert moved(world).notification is not None


def test_an_unverified_generation_is_handed_over_with_the_previous_one():
    world = published(probes=True)
    world.is_ready = lambda _generation: False
    world.write(A)
    world.run(2.0)
    assert fields_of(moved(world)) == fields_of(one(world))
    assert moved(world).previous.number == 1


def test_a_rolled_back_generation_is_handed_over():
    world = published(probes=True)
    world.is_ready = lambda generation: "'v': 2}" not in str(generation.files[0].content)
    world.write(A)
    world.run(20.0)
    assert fields_of(moved(world)) == fields_of(one(world))
    assert moved(world).publication.rolled_back is not None


def test_an_app_that_is_no_longer_notified_has_no_pending_notification():
    world = published()
    world.app_running = False
    world.write(A)
    world.run(3.0)
    world.configure({"one": app_spec(A, notifies=False, compiled_app="r2")})
    assert one(world).notification is None
    assert world.state.apps["one"].publication.number == world.number["one"]


def test_an_app_waits_for_the_end_of_its_own_job_only():
    world = World({"one": app_spec(A, checks=True)})
    world.write(A)
    assert not one(world).awaits(1)
    while one(world).job is None:
        world.run(0.001)
    assert one(world).awaits(one(world).job.id)
    assert not one(world).awaits(one(world).job.id + 1)


def test_an_app_is_not_settled_while_it_is_rendered_again():
    world = World({"one": app_spec(creds("x"))})
    world.run(30.0)
    assert is_settled(one(world), world.now)
    world.configure({"one": app_spec(creds("x"), compiled_app="r2", checks=True)})
    assert not is_settled(one(world), world.now)


def test_an_app_removed_from_the_configuration_is_a_warning_and_its_files_remain():
    world = World({"one": app_spec(A), "two": app_spec(A, compiled_app="r2")})
    world.write(A)
    world.run(5.0)
    before = world.live["two"]
    world.configure({"one": app_spec(A)})
    world.run(5.0)
    fields = {"app": "two", "note": "its files remain unchanged"}
    assert ("warning", "app removed from configuration", fields) in world.log_lines
    assert world.live["two"] == before
