"""Readiness probes, and the rollback of a generation with which its app is not ready."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessee.agent.machine.apps.state import Checking, Rejected
from lessee.core.failures import Kind
from lessee.core.generation import Generation
from lessee.core.immutable import replace
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from support.models.stored_deadlines import altered
from support.models.world import REPORTS, World, app_spec, creds, ref
from support.thorough import examples

A, B = ref("p/db/a"), ref("p/db/b")
X = creds("x")
WITHIN = 3.0  # the world's own


def version(number):
    """Whether a generation holds this version of A."""
    return lambda generation: f"'v': {number}}}" in str(generation.files[0].content)


def all_but(*numbers):
    return lambda generation: not any(version(number)(generation) for number in numbers)


def nothing(_generation):
    return False


def everything(_generation):
    return True


def probing_world(*needs, **settings):
    world = World({"one": app_spec(*needs, probes=True, **settings)})
    world.write(A)
    world.write(B)
    world.run(5.0)
    return world


def one(world):
    return world.state.apps["one"]


def logged(world, event):
    return [fields for _, what, fields in world.log_lines if what == event]


def test_the_previous_generation_is_deleted_only_once_the_new_one_is_ready():
    world = probing_world(A)
    assert [fields["generation"] for fields in logged(world, "app ready")] == [1]
    world.is_ready = nothing
    world.write(A)
    world.run(2.0)
    assert one(world).previous.number == 1
    assert set(world.generations["one"]) == {1, 2}
    world.is_ready = everything
    world.run(60.0)
    assert one(world).unverified is None
    assert set(world.generations["one"]) <= {world.number["one"]}


def test_a_generation_that_is_not_ready_is_rolled_back_and_not_retried_until_its_secrets_change():
    world = probing_world(A)
    world.is_ready = all_but(2)
    world.write(A)
    world.run(1.0 + WITHIN + 2.0)
    assert version(1)(world.live["one"])
    assert world.notified["one"] == world.live["one"]
    assert (one(world).publication.number, one(world).unverified) == (1, None)
    shown = len(world.published)
    world.run(600.0)
    world.boot()
    world.run(600.0)
    assert len(world.published) == shown, "it was remembered over a restart"
    assert set(world.generations["one"]) == {1}
    world.write(A)
    world.run(10.0)
    assert version(3)(world.live["one"])
    assert one(world).unverified is None
    assert one(world).publication.rolled_back is None


def test_a_manual_refresh_retries_a_rolled_back_generation():
    world = probing_world(A)
    world.is_ready = all_but(2)
    world.write(A)
    world.run(10.0)
    world.take(ev.RefreshRequested(("another/path",)))
    world.run(5.0)
    assert version(1)(world.live["one"])
    world.is_ready = everything
    world.take(ev.RefreshRequested((A.path,)))
    world.run(5.0)
    assert version(2)(world.live["one"])


def test_secrets_that_return_to_the_published_values_clear_the_failed_generation():
    world = probing_world(A)
    world.is_ready = all_but(2)
    world.write(A)
    world.run(10.0)
    assert one(world).publication.rolled_back is not None
    world.kv[A] = 1  # an operator's rollback in Vault
    world.run(10.0)
    assert one(world).publication.rolled_back is None
    assert one(world).publication.number == 1


def test_secrets_that_return_while_the_restored_generation_is_probed_clear_the_failed_one():
    world = probing_world(A)
    world.is_ready = all_but(2)
    world.probe_seconds = 30.0
    world.write(A)
    while one(world).publication.rolled_back is None:
        world.run(0.1)
    world.kv[A] = 1
    world.run(5.0)
    assert one(world).publication.rolled_back is None
    assert (one(world).unverified.error, one(world).unverified.fingerprint) == (None, world.live["one"].fingerprint)


def test_a_manual_refresh_retries_a_rejected_generation():
    world = World({"one": app_spec(A)})
    world.can_render = False
    world.write(A)
    world.run(5.0)
    assert isinstance(one(world).problem, Rejected)
    world.can_render = True
    world.take(ev.RefreshRequested())
    world.run(1.0)
    assert version(1)(world.live["one"])


def test_an_app_that_is_never_ready_ends_with_the_newest_generation():
    world = probing_world(A)
    world.is_ready = nothing
    world.write(A)
    world.run(30.0)
    assert version(2)(world.live["one"]), "the newest was not the cause"
    assert len(world.published) == 4
    world.run(600.0)
    assert len(world.published) == 4
    world.is_ready = everything
    world.run(30.0)
    assert one(world).unverified is None
    assert logged(world, "previous generation not ready")


def test_a_first_generation_that_is_not_ready_remains_and_is_no_rollback_target():
    world = World({"one": app_spec(A, probes=True)})
    world.is_ready = nothing
    world.write(A)
    world.run(30.0)
    world.write(A)
    world.run(30.0)
    assert version(2)(world.live["one"])
    assert len(logged(world, "app not ready")) == 2, "the same reason is logged once per generation"
    world.is_ready = everything
    world.run(30.0)
    assert one(world).unverified is None


def test_a_newer_generation_does_not_wait_for_the_probe_of_the_last():
    world = probing_world(A)
    world.is_ready = all_but(2)
    world.write(A)
    world.run(1.5)
    world.write(A)
    world.run(1.5)
    assert version(3)(world.live["one"]), "published while the other was being looked at"
    world.run(10.0)
    assert one(world).unverified is None
    assert not logged(world, "app rolled back")


@pytest.mark.no_cover
def test_an_app_is_notified_before_it_is_probed():
    world = probing_world(A)
    world.app_running = False
    world.is_ready = nothing
    world.write(A)
    world.run(300.0)
    assert version(2)(world.live["one"])
    assert not logged(world, "app not ready")


def test_an_app_without_notification_is_probed_too():
    world = probing_world(A, notifies=False)
    world.is_ready = all_but(2)
    world.write(A)
    world.run(10.0)
    assert version(1)(world.live["one"])


def test_the_lease_of_a_rollback_target_remains_until_the_probe_succeeds():
    world = World({"one": app_spec(X, probes=True)}, lease_ttl=100.0, lease_max_ttl=100.0)
    world.run(5.0)
    world.probe_seconds = 20.0
    while len(world.issued) < 2:
        world.run(1.0)
    world.run(15.0)
    assert set(world.leases) == {"l1", "l2"}, "the old one is there to go back to"
    world.run(10.0)
    assert set(world.leases) == {"l2"}


def test_a_generation_with_an_expired_lease_is_no_rollback_target():
    world = World({"one": app_spec(X, probes=True)}, lease_ttl=100.0, lease_max_ttl=100.0)
    world.run(5.0)
    world.is_ready = nothing
    while len(world.issued) < 2:
        world.run(1.0)
    del world.leases["l1"]
    world.state = _with_ended(world, "l1")
    world.run(10.0)
    assert "l2" in str(world.live["one"].files[0].content)
    assert logged(world, "app not rolled back")


def _with_ended(world, id_):
    leases = dict(world.state.leases)
    leases[id_] = replace(leases[id_], ended_at=world.now)
    return altered(world.state, world.now, leases=leases)


def test_the_failed_generation_is_retried_once_the_lease_of_the_restored_one_expires():
    world = World({"one": app_spec(X, probes=True)}, lease_ttl=100.0, lease_max_ttl=100.0)
    world.run(5.0)
    world.is_ready = lambda generation: "l2" not in str(generation.files[0].content)
    while len(world.issued) < 2:
        world.run(1.0)
    world.run(10.0)
    assert "l1" in str(world.live["one"].files[0].content)
    world.is_ready = everything
    world.run(60.0)
    assert "l1" not in str(world.live["one"].files[0].content)
    assert logged(world, "rolled-back generation retried")


@pytest.mark.no_cover
def test_a_rejected_generation_is_never_published_and_checked_again_only_after_a_change():
    world = World({"one": app_spec(A, checks=True)})
    world.write(A)
    world.run(5.0)
    world.check_passes = all_but(2)
    world.write(A)
    world.run(600.0)
    assert version(1)(world.live["one"])
    assert isinstance(one(world).problem, Rejected)
    assert len(logged(world, "generation not published")) == 1
    world.write(A)
    world.run(5.0)
    assert version(3)(world.live["one"])
    assert not isinstance(one(world).problem, Rejected)


def test_a_check_that_ends_after_a_reload_publishes_nothing():
    world = World({"one": app_spec(A, checks=True)})
    world.write(A)
    while not isinstance(one(world).job, Checking):
        world.run(0.01)
    world.configure({"one": app_spec(A, checks=True, compiled_app="r2")})
    world.run(5.0)
    assert [compiled_app for *_, compiled_app, _ in world.published] == ["r2"]


def test_a_failed_rollback_is_followed_by_another_probe():
    world = probing_world(A)
    obey = world.roll_back
    world.roll_back = lambda command: world.post(ev.RollbackFailed(command.app, "no room"))
    world.is_ready = all_but(2)
    world.write(A)
    world.run(10.0)
    assert version(2)(world.live["one"])
    world.roll_back = obey
    world.run(30.0)
    assert version(1)(world.live["one"])


def test_an_app_whose_probe_was_removed_counts_as_ready():
    world = probing_world(A)
    world.is_ready = nothing
    world.write(A)
    world.run(2.0)
    world.configure({"one": app_spec(A, compiled_app="r2")})
    world.run(10.0)
    assert one(world).unverified is None
    assert world.records["one"]["previous"] is None


def test_a_pending_probe_survives_a_crash():
    world = probing_world(A)
    world.is_ready = all_but(2)
    world.write(A)
    world.run(2.0)
    world.boot()
    world.run(10.0)
    assert version(1)(world.live["one"])


def test_results_of_canceled_probes_and_checks_change_nothing():
    world = probing_world(A)
    before = world.state
    answers = (ev.ReadinessPassed, ev.ReadinessFailed, ev.CheckPassed, ev.CheckFailed)
    for app in ("one", "gone"):
        for kind in answers:
            world.take(kind(app, 99, *(["why"] if kind in {ev.ReadinessFailed, ev.CheckFailed} else [])))
        world.take(ev.RolledBack(app))
    world.take(ev.RollbackFailed("gone", "why"))
    assert world.state == before


class WithChild(World):
    """The world of `lessee exec`: a change affects the environment, and no file."""

    def render(self, command):
        [file, _] = super().render(command).files
        return Generation(command.app, (), (("V", file.content.decode()),))

    def roll_back(self, command):
        assert command.environ == self.generations[command.app][command.to].environ
        super().roll_back(command)


def test_a_rollback_restores_the_environment_and_needs_to_know_it():
    world = WithChild({"one": app_spec(A, probes=True, sets_environment=True)})
    world.write(A)
    world.run(5.0)
    before = world.live["one"]
    world.is_ready = lambda generation: ": 2}" not in str(generation.environ)
    world.write(A)
    world.run(10.0)
    assert world.live["one"] == before
    assert one(world).publication.environ == before.environ
    assert one(world).publication.rolled_back is not None
    assert before.environ[0][1] not in repr(world.state)
    world.boot()
    world.take(ev.AppRecovered("one", 1, notification_pending=False))
    world.run(10.0)
    assert ": 2}" in str(world.live["one"].environ)
    assert not logged(world, "app not rolled back")


ACTIONS = st.one_of(
    st.tuples(st.just("run"), st.sampled_from([0.003, 0.3, 1.0, 4.0, 40.0, 200.0])),
    st.tuples(st.just("write"), st.sampled_from([A, B])),
    st.tuples(st.just("vault"), st.sampled_from(["available", "refuses"])),
    st.tuples(st.just("is_ready"), st.sampled_from([nothing, everything, all_but(2), all_but(2, 3)])),
    st.tuples(st.just("check_passes"), st.sampled_from([nothing, everything, all_but(3)])),
    st.tuples(st.just("disk_full"), st.booleans()),
    st.tuples(st.just("app_running"), st.booleans()),
    st.tuples(st.just("crash"), st.none()),
    st.tuples(st.just("revoke"), st.none()),
    st.tuples(st.just("compiled_app"), st.sampled_from(["r1", "r4"])),
    st.tuples(st.just("refresh"), st.none()),
)


@pytest.mark.long
@settings(max_examples=examples(150), deadline=None)
@given(seed=st.integers(0, 2**32), checks=st.booleans(), notifies=st.booleans(), actions=st.lists(ACTIONS, max_size=25))
def test_whatever_happens_the_app_ends_notified_and_ready_with_the_newest_generation_that_works(
    seed, checks, notifies, actions
):
    # The world itself asserts that no rollback target is pruned and none of its leases revoked, and that versions are
    # reported only once they are published, notified and ready.
    apps = {
        "one": app_spec(A, X, probes=True, checks=checks, notifies=notifies, reports_as="one"),
        "two": app_spec(B, compiled_app="r2"),
    }
    world = World(apps, seed=seed, ttl=120.0, lease_ttl=100.0, lease_max_ttl=250.0)
    world.rotated = {A}
    world.write(A)
    world.write(B)
    for action, argument in actions:
        world.act(action, argument)
    world.repair()
    world.run(100.0)
    world.take(ev.RefreshRequested())
    world.run(100.0)
    assert world.live["one"] == world.current("one")
    assert not notifies or world.notified["one"] == world.live["one"]
    assert (one(world).unverified, one(world).publication.rolled_back) == (None, None)
    # The last one, and what was replaced within a minute.
    assert set(world.generations["one"]) - {world.number["one"]} <= set(world.replaced.get("one", {}))
    assert len(world.issued) < 100
    assert world.reported == {f"{REPORTS}/one": {"db/a": world.kv[A]}}


@pytest.mark.parametrize("kind", [Kind.DENIED, Kind.NOT_FOUND])
def test_a_probe_and_a_rollback_do_not_need_vault(kind):
    world = probing_world(A)
    world.is_ready = all_but(2)
    world.write(A)
    world.run(1.5)
    world.fail(kind, cmd.ReadSecret, cmd.ListFolder, cmd.ReadMetadata)
    world.run(10.0)
    assert version(1)(world.live["one"])
