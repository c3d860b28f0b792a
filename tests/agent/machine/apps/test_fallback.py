"""A cold start without Vault: who opted in gets files from a fallback, degraded, and Vault's own once it is back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessee.agent.machine.apps.fallback import COLD_START_DELAY, SNAPSHOT_INTERVAL, SNAPSHOT_RETRY_DELAY
from lessee.agent.machine.apps.state import UNNOTIFIED_GRACE, Rejected
from lessee.agent.machine.status.one_shot import results, results_at_timeout
from lessee.agent.machine.status.view import IdentityStatus, fresh, ready, status
from lessee.core.failures import Kind
from lessee.core.generation import File, Generation
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from support.models.world import World, app_spec, creds, ref
from support.thorough import examples

A, B = ref("p/db/a"), ref("p/db/b")
X = creds("x")
VARIABLES = "from variables"


def away(*needs, variables=VARIABLES, vault="refuses", seed=1, **settings):
    """An app that opted in, and a Vault that is away from the start."""
    world = World({"one": app_spec(*(needs or (A,)), **{"falls_back": True, **settings})}, seed=seed)
    world.write(A)
    world.write(B)
    world.fallback_variables, world.vault = variables, vault
    world.boot()  # the world was fair when it was made
    return world


def one(world):
    return world.state.apps["one"]


def logged(world, event):
    return [fields for _, what, fields in world.log_lines if what == event]


def status_of(world, now=None):
    now = world.now if now is None else now
    return status([IdentityStatus("id", "https://v", world.state)], now, now, environment=None)


def is_degraded(world, source="env"):
    app = status_of(world)["apps"]["one"]
    assert (app["degraded"], world.fallbacks.get("one")) == (source, source)
    assert app["degraded_since"] == app["published_at"]
    assert ready(world.state)
    assert not fresh(world.state, world.now)
    return True


def is_as_vault_has_it(world):
    assert world.live["one"] == world.current("one")
    assert "one" not in world.fallbacks
    app = status_of(world)["apps"]["one"]
    assert (app["degraded"], app["degraded_since"]) == (None, None)
    assert fresh(world.state, world.now)
    return True


@pytest.mark.no_cover
def test_at_a_cold_start_without_vault_the_fallback_is_published_after_the_delay():
    world = away()
    world.run(COLD_START_DELAY)
    assert world.live == {}
    world.run(5.1)
    assert world.notified["one"] == world.live["one"]
    assert world.live["one"].files[0].content == VARIABLES.encode()
    assert is_degraded(world)
    assert logged(world, "fallback published")[0]["source"] == "env"
    assert "one is degraded: its files come from environment variables" in status_of(world)["problems"][-1]


def test_a_vault_that_hangs_is_unavailable_after_the_first_timeout():
    world = away(vault="hangs")
    world.run(30.0 + 7.1)
    assert is_degraded(world)


@pytest.mark.no_cover
def test_an_app_without_fallback_waits():
    world = away(falls_back=False)
    world.run(3600.0)
    assert (world.live, world.fallback_renderings) == ({}, [])


@pytest.mark.no_cover
@pytest.mark.parametrize("seed", range(20))
def test_an_outage_shorter_than_the_delay_uses_no_fallback(seed):
    world = away(seed=seed)
    world.run(COLD_START_DELAY)
    world.vault = "available"
    world.run(10.0)
    assert is_as_vault_has_it(world)
    assert world.fallback_renderings == []


@pytest.mark.no_cover
def test_files_from_vault_replace_the_fallback_and_the_app_is_notified():
    world = away()
    world.run(60.0)
    world.vault = "available"
    world.run(30.0)
    assert is_as_vault_has_it(world)
    assert world.notified["one"] == world.live["one"]
    assert len(world.published) == 2
    assert logged(world, "fallback replaced") == [{"app": "one"}]
    world.run(UNNOTIFIED_GRACE)
    assert set(world.generations["one"]) == {world.number["one"]}, "what came from the fallback is gone"


@pytest.mark.no_cover
@pytest.mark.parametrize("checks", [False, True])
def test_a_fallback_with_the_same_values_as_vault_causes_no_second_notification(checks):
    world = away(checks=checks)
    world.fallback_variables = (
        world.render(cmd.Render("one", 0, "r1", {A: world.secret(A)}, {}, {})).files[0].content.decode()
    )
    world.run(60.0)
    assert is_degraded(world)
    notified = world.state.counters.notifications
    world.vault = "available"
    world.run(30.0)
    assert is_as_vault_has_it(world)
    assert (len(world.published), world.state.counters.notifications) == (1, notified)


@pytest.mark.no_cover
def test_a_fallback_never_replaces_published_files():
    world = away()
    world.vault = "available"
    world.run(5.0)
    before = world.live["one"]
    world.vault = "refuses"
    world.run(600.0)
    world.boot()
    world.run(600.0)
    assert world.live["one"] == before
    assert world.fallback_renderings == []


@pytest.mark.no_cover
@pytest.mark.parametrize("why", [Kind.DENIED, Kind.INVALID, Kind.ALREADY_UNWRAPPED])
def test_a_fallback_never_hides_a_denied_login(why):
    world = away(vault="available")
    world.fail(why, cmd.Login)
    world.boot()
    world.run(2.0)
    world.vault = "refuses"
    world.run(3600.0)
    assert (world.live, world.fallback_renderings) == ({}, [])


@pytest.mark.no_cover
@pytest.mark.parametrize("gone", [True, False])
def test_a_fallback_never_hides_a_denied_or_missing_secret(gone):
    world = away(vault="available")
    if gone:
        world.delete(A)
    else:
        world.denied.add(A)
    world.boot()
    world.run(5.0)
    world.vault = "refuses"
    world.run(3600.0)
    assert (world.live, world.fallback_renderings) == ({}, [])


def test_a_fallback_never_hides_a_failing_template():
    world = away(vault="available")
    world.can_render = False
    world.run(5.0)
    assert isinstance(one(world).problem, Rejected)
    world.vault = "refuses"
    world.write(A)
    world.run(600.0)
    assert world.fallback_renderings == []


def test_a_published_fallback_is_rendered_again_after_a_restart():
    world = away()
    world.run(10.0)
    world.boot()
    assert is_degraded(world)
    world.run(60.0)
    assert is_degraded(world)
    assert len(world.published) == 1, "the same again is nothing new"
    world.boot()
    world.fallback_variables = "a better one"
    world.run(60.0)
    assert is_degraded(world)
    assert world.notified["one"].files[0].content == b"a better one"
    world.boot()
    world.vault = "available"
    world.run(30.0)
    assert is_as_vault_has_it(world)


def test_changed_templates_render_the_fallback_again():
    world = away()
    world.run(10.0)
    world.fallback_variables = "of the edit"
    world.run(600.0)
    assert len(world.fallback_renderings) == 1
    world.configure({"one": app_spec(A, falls_back=True, compiled_app="r2")})
    world.run(1.0)
    assert world.notified["one"].files[0].content == b"of the edit"
    world.configure({"one": app_spec(A, compiled_app="r3")})
    world.run(60.0)
    assert is_degraded(world)
    world.vault = "available"
    world.run(30.0)
    assert is_as_vault_has_it(world)


def test_a_failing_fallback_is_logged_once_and_retried_with_backoff():
    world = away(variables=None)
    world.run(600.0)
    assert world.live == {}
    assert 5 < len(world.fallback_renderings) < 40
    [line] = logged(world, "fallback not rendered")
    assert line["reason"] == "there is no snapshot"
    assert "one has no fallback: there is no snapshot; it waits for Vault" in status_of(world)["problems"]
    assert "its fallback failed as well: there is no snapshot" in str(results_at_timeout([world.state])["one"])
    world.fallback_variables = VARIABLES
    world.run(60.0)
    assert is_degraded(world)
    assert not any("has no fallback" in line for line in status_of(world)["problems"])


def test_a_fallback_that_the_check_rejects_is_not_published():
    world = away(checks=True)
    world.check_passes = lambda generation: generation.files[0].content != VARIABLES.encode()
    world.run(60.0)
    assert world.live == {}
    assert not isinstance(one(world).problem, Rejected)
    assert logged(world, "fallback not rendered")[0]["reason"] == "unfit"
    world.vault = "available"
    world.run(60.0)
    assert is_as_vault_has_it(world)


def test_a_checked_fallback_is_not_published_once_vault_is_available():
    world = away(checks=True)
    world.run_until_fallback()
    world.take(ev.CheckPassed("one", one(world).job.id))  # it was not staged yet
    world.vault = "available"
    world.take(ev.RefreshRequested())
    world.run(0.05)
    assert world.state.session.outage is None
    world.run(60.0)
    assert is_as_vault_has_it(world)
    assert len(world.published) == 1


def test_a_rendered_fallback_is_not_used_once_vault_is_available():
    world = away()
    world.fallback_seconds = 5.0
    world.run_until_fallback()
    world.vault = "available"
    world.run(60.0)
    assert is_as_vault_has_it(world)
    assert len(world.published) == 1


def test_a_fallback_is_written_again_after_a_full_disk():
    world = away()
    world.disk_full = True
    world.run(20.0)
    assert world.live == {}
    world.disk_full = False
    world.run(60.0)
    assert is_degraded(world)


def test_a_failing_template_after_an_unwritten_fallback_is_a_template_error():
    world = away()
    world.disk_full = True
    world.run(20.0)
    world.disk_full, world.can_render, world.vault = False, False, "fair"
    world.run(60.0)
    assert isinstance(one(world).problem, Rejected)
    assert logged(world, "fallback not rendered") == []
    assert status_of(world)["problems"] == ["one is not published: no such key"]
    world.vault = "refuses"
    world.write(A)
    before = len(world.fallback_renderings)
    world.run(600.0)
    assert len(world.fallback_renderings) == before


def test_results_of_a_fallback_that_is_no_longer_needed_change_nothing():
    world = away()
    world.run(60.0)
    before = world.state
    for app in ("one", "gone"):
        world.take(ev.FallbackRendered(app, 99, Generation(app, (File("a", b"", 0o440),)), "env"))
        world.take(ev.FallbackFailed(app, 99, "why"))
    world.take(ev.SnapshotSaved("gone"))
    assert world.state == before


def test_a_fallback_does_not_replace_files_removed_on_expiry():
    world = away(vault="available")
    world.run(5.0)
    world.vault = "refuses"
    del world.live["one"]
    world.take(ev.Withdrawn("one"))
    world.run(600.0)
    assert world.fallback_renderings == []
    world.vault = "available"
    world.run(60.0)
    assert is_as_vault_has_it(world)


def test_a_rollback_never_leads_to_a_fallback():
    world = away(probes=True)
    world.run(30.0)
    assert is_degraded(world)
    assert one(world).unverified is None, "it works with the fallback"
    world.is_ready = lambda generation: generation.files[0].content == VARIABLES.encode()
    world.vault = "available"
    world.run(60.0)
    assert world.live["one"] == world.current("one")
    assert one(world).unverified.error == "500"
    assert not logged(world, "app rolled back")


def test_a_one_shot_command_succeeds_with_a_fallback():
    world = away()
    world.run(COLD_START_DELAY)
    assert results([world.state]) is None
    world.run(5.1)
    assert results([world.state]) == {"one": None}


# The last good.


def keeping(*needs, **settings):
    world = away(*needs, variables=None, vault="available", saves_snapshots=True, **settings)
    world.run(5.0)
    return world


@pytest.mark.no_cover
def test_a_snapshot_is_saved_after_each_change_and_regularly_and_restores_lost_files():
    world = keeping(A)
    first = world.snapshots["one"][1]
    assert first == world.live["one"]
    world.write(A)
    world.run(5.0)
    assert world.snapshots["one"][1] == world.live["one"] != first
    del world.snapshots["one"]
    world.run(SNAPSHOT_INTERVAL + 1.0)
    good = world.snapshots["one"][1]
    world.vault = "refuses"
    world.reboot("one")
    world.run(60.0)
    assert world.notified["one"] == world.live["one"] == good
    assert is_degraded(world, "last_known_good")
    world.vault = "available"
    world.run(30.0)
    assert is_as_vault_has_it(world)


def test_a_snapshot_is_saved_only_while_vault_is_available():
    world = keeping(A)
    world.vault = "refuses"
    world.run(2.0)
    del world.snapshots["one"]
    world.run(3 * SNAPSHOT_INTERVAL)
    assert world.snapshots == {}
    world.vault = "available"
    world.run(120.0)
    assert world.snapshots["one"][1] == world.live["one"]


@pytest.mark.no_cover
def test_a_generation_that_is_not_ready_is_not_saved():
    world = keeping(A, probes=True)
    good = world.snapshots["one"][1]
    world.is_ready = lambda generation: generation == good
    world.write(A)
    world.run(SNAPSHOT_INTERVAL + 60.0)
    assert one(world).publication.rolled_back is not None
    assert world.snapshots["one"][1] == good


def test_a_snapshot_that_cannot_be_written_is_logged_once_and_retried():
    world = keeping(A)
    del world.snapshots["one"]
    world.take(ev.SnapshotSaved("one", "no room"))
    world.take(ev.SnapshotSaved("one", "no room"))
    assert logged(world, "last-known-good snapshot not saved") == [{"app": "one", "reason": "no room"}]
    assert "one: its last-known-good snapshot is not saved: no room" in status_of(world)["problems"]
    world.run(SNAPSHOT_RETRY_DELAY + 1.0)
    assert world.snapshots["one"][1] == world.live["one"]
    assert status_of(world)["problems"] == []


def test_a_snapshot_with_an_expired_lease_is_not_used():
    world = away(A, X, variables=None, vault="available", saves_snapshots=True)
    world.run(5.0)
    assert world.snapshots["one"][2] == pytest.approx(1000.0 + 3600.0, abs=5.0)
    good = world.snapshots["one"][1]
    world.vault = "refuses"
    world.reboot("one")
    world.run(60.0)
    assert world.live["one"] == good
    world.reboot("one")
    world.run(3600.0)
    world.reboot("one")
    world.run(60.0)
    assert world.live == {}


@pytest.mark.no_cover
def test_a_lease_in_a_published_snapshot_is_not_revoked():
    world = away(A, X, variables=None, vault="available", saves_snapshots=True)
    world.run(5.0)
    lost = {things: dict(getattr(world, things)) for things in ("stored_leases", "stored_tokens")}
    world.vault = "refuses"
    world.reboot("one")
    world.stored_leases, world.stored_tokens = lost["stored_leases"], lost["stored_tokens"]
    world.boot()  # the files were lost, and the state was not
    world.run(60.0)
    assert is_degraded(world, "last_known_good")
    world.vault = "available"
    world.run(600.0)  # the world itself refuses to revoke what a reader holds
    assert is_as_vault_has_it(world)


ACTIONS = st.one_of(
    st.tuples(st.just("run"), st.sampled_from([0.003, 0.3, 1.0, 4.0, 40.0, 200.0, 1000.0])),
    st.tuples(st.just("write"), st.sampled_from([A, B])),
    st.tuples(st.just("delete"), st.sampled_from([A])),
    st.tuples(st.just("deny"), st.sampled_from([A])),
    st.tuples(st.just("allow"), st.sampled_from([A])),
    st.tuples(st.just("vault"), st.sampled_from(["available", "refuses", "hangs"])),
    st.tuples(st.just("variables"), st.sampled_from([None, "v1", "v2"])),
    st.tuples(st.just("check_passes"), st.sampled_from([lambda _: False, lambda _: True])),
    st.tuples(st.just("is_ready"), st.sampled_from([lambda _: False, lambda _: True])),
    st.tuples(st.just("can_render"), st.booleans()),
    st.tuples(st.just("disk_full"), st.booleans()),
    st.tuples(st.just("app_running"), st.booleans()),
    st.tuples(st.just("crash"), st.none()),
    st.tuples(st.just("reboot"), st.just("one")),
    st.tuples(st.just("revoke"), st.none()),
    st.tuples(st.just("compiled_app"), st.sampled_from(["r1", "r4"])),
    st.tuples(st.just("refresh"), st.none()),
)


@pytest.mark.long
@settings(max_examples=examples(200), deadline=None)
@given(
    seed=st.integers(0, 2**32),
    checks=st.booleans(),
    probes=st.booleans(),
    saves_snapshots=st.booleans(),
    leased=st.booleans(),
    actions=st.lists(ACTIONS, max_size=25),
)
def test_whatever_happens_a_fallback_is_used_only_without_files_and_replaced_by_vaults(
    seed, checks, probes, saves_snapshots, leased, actions
):
    # The world itself asserts that a fallback replaces no files and needs an outage.
    # Nor may one be saved or rolled back to.
    app = app_spec(
        A, *([X] if leased else []), checks=checks, probes=probes, falls_back=True, saves_snapshots=saves_snapshots
    )
    world = World(
        {"one": app, "two": app_spec(B, compiled_app="r2")}, seed=seed, ttl=120.0, lease_ttl=100.0, lease_max_ttl=250.0
    )
    world.write(A)
    world.write(B)
    world.vault = "refuses"
    world.boot()
    for action, argument in actions:
        world.act(action, argument)
        if one(world).job is None:
            assert one(world).active_fallback == world.fallbacks.get("one")
    world.repair()
    world.denied.clear()
    world.write(A)
    world.run(100.0)
    world.take(ev.RefreshRequested())
    world.run(100.0)
    assert world.notified["one"] == world.live["one"] == world.current("one")
    assert world.notified["two"] == world.live["two"] == world.current("two")
    assert "one" not in world.fallbacks
    assert one(world).active_fallback is None
    assert not saves_snapshots or world.snapshots["one"][1] == world.live["one"]
