"""A cold start without Vault: who opted in gets files from a fallback, degraded, and Vault's own once it is back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessee.agent.machine.apps.fallback import GRACE, KEEP_AGAIN, KEEP_EVERY
from lessee.agent.machine.protocol import commands as cmd
from lessee.agent.machine.protocol import events as ev
from lessee.agent.machine.state import KEEP_UNTOLD
from lessee.agent.machine.status.one_shot import outcomes, unfinished
from lessee.agent.machine.status.view import Account, fresh, ready, status
from lessee.core.failures import Kind
from lessee.core.generation import File, Generation
from support.models.world import World, creds, ref, want

A, B = ref("p/db/a"), ref("p/db/b")
X = creds("x")
VARIABLES = "from variables"


def away(*needs, variables=VARIABLES, sky="refuses", seed=1, **settings):
    """An app that opted in, and a Vault that is away from the start."""
    world = World({"one": want(*(needs or (A,)), **{"falls_back": True, **settings})}, seed=seed)
    world.write(A)
    world.write(B)
    world.variables, world.sky = variables, sky
    world.boot()  # the world was fair when it was made
    return world


def one(world):
    return world.state.apps["one"]


def said(world, event):
    return [fields for _, what, fields in world.said if what == event]


def told_of(world, now=None):
    now = world.now if now is None else now
    return status([Account("id", "https://v", world.state)], now, now, environment=None)


def is_degraded(world, source="env"):
    app = told_of(world)["apps"]["one"]
    assert (app["degraded"], world.fell_back.get("one")) == (source, source)
    assert app["degraded_since"] == app["published_at"]
    assert ready(world.state)
    assert not fresh(world.state, world.now)
    return True


def is_as_vault_has_it(world):
    assert world.live["one"] == world.current("one")
    assert "one" not in world.fell_back
    app = told_of(world)["apps"]["one"]
    assert (app["degraded"], app["degraded_since"]) == (None, None)
    assert fresh(world.state, world.now)
    return True


def test_where_vault_is_away_at_a_cold_start_the_fallback_serves_after_the_grace_and_not_before():
    world = away()
    world.run(GRACE)
    assert world.live == {}
    world.run(5.1)
    assert world.told["one"] == world.live["one"]
    assert world.live["one"].files[0].content == VARIABLES.encode()
    assert is_degraded(world)
    assert said(world, "degraded")[0]["source"] == "env"
    assert "one is degraded: its files are made from the agent's environment" in told_of(world)["problems"][-1]


def test_a_vault_that_hangs_is_away_once_a_request_has_not_been_answered():
    world = away(sky="hangs")
    world.run(30.0 + 7.1)
    assert is_degraded(world)


def test_who_has_not_opted_in_waits():
    world = away(falls_back=False)
    world.run(3600.0)
    assert (world.live, world.asked_back) == ({}, [])


@pytest.mark.parametrize("seed", range(20))
def test_a_vault_that_is_back_within_the_grace_was_never_missed(seed):
    world = away(seed=seed)
    world.run(GRACE)
    world.sky = "fair"
    world.run(10.0)
    assert is_as_vault_has_it(world)
    assert world.asked_back == []


def test_once_vault_is_back_its_own_files_come_and_the_app_is_told():
    world = away()
    world.run(60.0)
    world.sky = "fair"
    world.run(30.0)
    assert is_as_vault_has_it(world)
    assert world.told["one"] == world.live["one"]
    assert len(world.published) == 2
    assert said(world, "no longer degraded") == [{"app": "one"}]
    world.run(KEEP_UNTOLD)
    assert set(world.shelf["one"]) == {world.number["one"]}, "what came from the fallback is gone"


@pytest.mark.parametrize("checks", [False, True])
def test_where_the_fallback_was_right_nobody_is_told_again_and_it_is_degraded_no_more(checks):
    world = away(checks=checks)
    world.variables = world.render(cmd.Render("one", 0, "r1", {A: world._secret(A)}, {}, {})).files[0].content.decode()
    world.run(60.0)
    assert is_degraded(world)
    notified = world.state.totals.notifications
    world.sky = "fair"
    world.run(30.0)
    assert is_as_vault_has_it(world)
    assert (len(world.published), world.state.totals.notifications) == (1, notified)


def test_files_that_are_there_stay_as_they_are_whatever_the_fallback_has():
    world = away()
    world.sky = "fair"
    world.run(5.0)
    before = world.live["one"]
    world.sky = "refuses"
    world.run(600.0)
    world.boot()
    world.run(600.0)
    assert world.live["one"] == before
    assert world.asked_back == []


@pytest.mark.parametrize("why", [Kind.DENIED, Kind.INVALID, Kind.WRAPPING_TOKEN_USED])
def test_a_login_that_was_refused_is_never_made_up_for(why):
    world = away(sky="fair")
    world.fail(why, cmd.Login)
    world.boot()
    world.run(2.0)
    world.sky = "refuses"
    world.run(3600.0)
    assert (world.live, world.asked_back) == ({}, [])


@pytest.mark.parametrize("gone", [True, False])
def test_a_secret_that_was_denied_or_missing_is_never_made_up_for(gone):
    world = away(sky="fair")
    if gone:
        world.delete(A)
    else:
        world.denied.add(A)
    world.boot()
    world.run(5.0)
    world.sky = "refuses"
    world.run(3600.0)
    assert (world.live, world.asked_back) == ({}, [])


def test_a_template_that_failed_is_never_made_up_for():
    world = away(sky="fair")
    world.renders = False
    world.run(5.0)
    assert one(world).rejected
    world.sky = "refuses"
    world.write(A)
    world.run(600.0)
    assert world.asked_back == []


def test_what_was_fallen_back_to_is_known_as_such_after_a_restart_and_looked_at_anew():
    world = away()
    world.run(10.0)
    world.boot()
    assert is_degraded(world)
    world.run(60.0)
    assert is_degraded(world)
    assert len(world.published) == 1, "the same again is nothing new"
    world.boot()
    world.variables = "a better one"
    world.run(60.0)
    assert is_degraded(world)
    assert world.told["one"].files[0].content == b"a better one"
    world.boot()
    world.sky = "fair"
    world.run(30.0)
    assert is_as_vault_has_it(world)


def test_another_recipe_makes_another_fallback():
    world = away()
    world.run(10.0)
    world.variables = "of the edit"
    world.run(600.0)
    assert len(world.asked_back) == 1
    world.configure({"one": want(A, falls_back=True, recipe="r2")})
    world.run(1.0)
    assert world.told["one"].files[0].content == b"of the edit"
    world.configure({"one": want(A, recipe="r3")})
    world.run(60.0)
    assert is_degraded(world)
    world.sky = "fair"
    world.run(30.0)
    assert is_as_vault_has_it(world)


def test_a_fallback_that_cannot_serve_is_told_once_and_tried_again_more_and_more_seldom():
    world = away(variables=None)
    world.run(600.0)
    assert world.live == {}
    assert 5 < len(world.asked_back) < 40
    [line] = said(world, "no fallback")
    assert line["reason"] == "nothing is kept"
    assert "one has no fallback: nothing is kept; it waits for Vault" in told_of(world)["problems"]
    assert "nor can its fallback: nothing is kept" in str(unfinished([world.state])["one"])
    world.variables = VARIABLES
    world.run(60.0)
    assert is_degraded(world)
    assert not any("has no fallback" in line for line in told_of(world)["problems"])


def test_a_fallback_that_the_check_refuses_is_not_shown_and_vault_is_waited_for():
    world = away(checks=True)
    world.passes = lambda generation: generation.files[0].content != VARIABLES.encode()
    world.run(60.0)
    assert world.live == {}
    assert not one(world).rejected
    assert said(world, "no fallback")[0]["reason"] == "unfit"
    world.sky = "fair"
    world.run(60.0)
    assert is_as_vault_has_it(world)


def test_where_vault_comes_back_before_the_fallback_is_shown_it_is_not():
    world = away(checks=True)
    world.run_until_it_falls_back()
    world.take(ev.CheckPassed("one", one(world).job))  # it was not staged yet
    world.sky = "fair"
    world.take(ev.RefreshRequested())
    world.run(0.05)
    assert world.state.session.weather is None
    world.run(60.0)
    assert is_as_vault_has_it(world)
    assert len(world.published) == 1


def test_where_vault_is_back_before_the_fallback_is_made_nobody_needs_it():
    world = away()
    world.fall_back_takes = 5.0
    world.run_until_it_falls_back()
    world.sky = "fair"
    world.run(60.0)
    assert is_as_vault_has_it(world)
    assert len(world.published) == 1


def test_a_disk_that_is_full_is_tried_again():
    world = away()
    world.disk_full = True
    world.run(20.0)
    assert world.live == {}
    world.disk_full = False
    world.run(60.0)
    assert is_degraded(world)


def test_what_fails_after_a_fallback_that_found_no_room_is_the_template_and_not_the_fallback():
    world = away()
    world.disk_full = True
    world.run(20.0)
    world.disk_full, world.renders, world.sky = False, False, "fair"
    world.run(60.0)
    assert one(world).rejected
    assert said(world, "no fallback") == []
    assert told_of(world)["problems"] == ["one is not published: no such key"]
    world.sky = "refuses"
    world.write(A)
    before = len(world.asked_back)
    world.run(600.0)
    assert len(world.asked_back) == before


def test_what_is_told_of_a_fallback_that_nobody_waits_for_changes_nothing():
    world = away()
    world.run(60.0)
    before = world.state
    for app in ("one", "gone"):
        world.take(ev.FallbackRendered(app, 99, Generation(app, (File("a", b"", 0o440),)), "env"))
        world.take(ev.FallbackFailed(app, 99, "why"))
    world.take(ev.SnapshotSaved("gone"))
    assert world.state == before


def test_files_that_were_removed_because_their_lease_ended_are_not_made_up_for():
    world = away(sky="fair")
    world.run(5.0)
    world.sky = "refuses"
    del world.live["one"]
    world.take(ev.Withdrawn("one"))
    world.run(600.0)
    assert world.asked_back == []
    world.sky = "fair"
    world.run(60.0)
    assert is_as_vault_has_it(world)


def test_what_vault_gave_is_not_taken_back_to_a_fallback():
    world = away(proves=True)
    world.run(30.0)
    assert is_degraded(world)
    assert not one(world).proof.open, "it works with the fallback"
    world.works = lambda generation: generation.files[0].content == VARIABLES.encode()
    world.sky = "fair"
    world.run(60.0)
    assert world.live["one"] == world.current("one")
    assert one(world).proof.error == "500"
    assert not said(world, "rolled back")


def test_an_app_with_files_from_a_fallback_has_what_it_needs_to_start():
    world = away()
    world.run(GRACE)
    assert outcomes([world.state]) is None
    world.run(5.1)
    assert outcomes([world.state]) == {"one": None}


# The last good.


def keeping(*needs, **settings):
    world = away(*needs, variables=None, sky="fair", keeps=True, **settings)
    world.run(5.0)
    return world


def test_the_good_is_kept_at_each_change_and_now_and_then_and_serves_when_all_else_is_lost():
    world = keeping(A)
    first = world.kept["one"][1]
    assert first == world.live["one"]
    world.write(A)
    world.run(5.0)
    assert world.kept["one"][1] == world.live["one"] != first
    del world.kept["one"]
    world.run(KEEP_EVERY + 1.0)
    good = world.kept["one"][1]
    world.sky = "refuses"
    world.lose("one")
    world.run(60.0)
    assert world.told["one"] == world.live["one"] == good
    assert is_degraded(world, "last_known_good")
    world.sky = "fair"
    world.run(30.0)
    assert is_as_vault_has_it(world)


def test_the_good_is_kept_only_while_vault_says_so():
    world = keeping(A)
    world.sky = "refuses"
    world.run(2.0)
    del world.kept["one"]
    world.run(3 * KEEP_EVERY)
    assert world.kept == {}
    world.sky = "fair"
    world.run(120.0)
    assert world.kept["one"][1] == world.live["one"]


def test_what_does_not_work_is_not_kept_as_good():
    world = keeping(A, proves=True)
    good = world.kept["one"][1]
    world.works = lambda generation: generation == good
    world.write(A)
    world.run(KEEP_EVERY + 60.0)
    assert one(world).proof.bad is not None
    assert world.kept["one"][1] == good


def test_the_good_that_cannot_be_kept_is_told_once_and_tried_again():
    world = keeping(A)
    del world.kept["one"]
    world.take(ev.SnapshotSaved("one", "no room"))
    world.take(ev.SnapshotSaved("one", "no room"))
    assert said(world, "the good is not kept") == [{"app": "one", "reason": "no room"}]
    assert "one: its last good secrets are not kept: no room" in told_of(world)["problems"]
    world.run(KEEP_AGAIN + 1.0)
    assert world.kept["one"][1] == world.live["one"]
    assert told_of(world)["problems"] == []


def test_the_end_of_what_ends_is_kept_with_it_and_what_has_ended_does_not_serve():
    world = away(A, X, variables=None, sky="fair", keeps=True)
    world.run(5.0)
    assert world.kept["one"][2] == pytest.approx(1000.0 + 3600.0, abs=5.0)
    good = world.kept["one"][1]
    world.sky = "refuses"
    world.lose("one")
    world.run(60.0)
    assert world.live["one"] == good
    world.lose("one")
    world.run(3600.0)
    world.lose("one")
    world.run(60.0)
    assert world.live == {}


def test_a_lease_in_what_was_kept_is_not_revoked_while_readers_may_hold_it():
    world = away(A, X, variables=None, sky="fair", keeps=True)
    world.run(5.0)
    lost = {things: dict(getattr(world, things)) for things in ("ledger", "kept_tokens")}
    world.sky = "refuses"
    world.lose("one")
    world.ledger, world.kept_tokens = lost["ledger"], lost["kept_tokens"]
    world.boot()  # the files were lost, and the state was not
    world.run(60.0)
    assert is_degraded(world, "last_known_good")
    world.sky = "fair"
    world.run(600.0)  # the world itself refuses to revoke what a reader holds
    assert is_as_vault_has_it(world)


ACTIONS = st.one_of(
    st.tuples(st.just("run"), st.sampled_from([0.003, 0.3, 1.0, 4.0, 40.0, 200.0, 1000.0])),
    st.tuples(st.just("write"), st.sampled_from([A, B])),
    st.tuples(st.just("delete"), st.sampled_from([A])),
    st.tuples(st.just("deny"), st.sampled_from([A])),
    st.tuples(st.just("allow"), st.sampled_from([A])),
    st.tuples(st.just("sky"), st.sampled_from(["fair", "refuses", "hangs"])),
    st.tuples(st.just("variables"), st.sampled_from([None, "v1", "v2"])),
    st.tuples(st.just("passes"), st.sampled_from([lambda _: False, lambda _: True])),
    st.tuples(st.just("works"), st.sampled_from([lambda _: False, lambda _: True])),
    st.tuples(st.just("renders"), st.booleans()),
    st.tuples(st.just("disk"), st.booleans()),
    st.tuples(st.just("tellable"), st.booleans()),
    st.tuples(st.just("crash"), st.none()),
    st.tuples(st.just("lose"), st.just("one")),
    st.tuples(st.just("revoke"), st.none()),
    st.tuples(st.just("recipe"), st.sampled_from(["r1", "r4"])),
    st.tuples(st.just("nudge"), st.none()),
)


@pytest.mark.long
@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    checks=st.booleans(),
    proves=st.booleans(),
    keeps=st.booleans(),
    leased=st.booleans(),
    actions=st.lists(ACTIONS, max_size=25),
)
def test_whatever_happens_a_fallback_serves_only_where_there_is_nothing_and_vaults_files_replace_it(
    seed, checks, proves, keeps, leased, actions
):
    # The world itself refuses a fallback over good files or without bad weather, and to keep or go back to one.
    app = want(A, *([X] if leased else []), checks=checks, proves=proves, falls_back=True, keeps=keeps)
    world = World({"one": app, "two": want(B, recipe="r2")}, seed=seed, ttl=120.0, lease_ttl=100.0, lease_max=250.0)
    world.write(A)
    world.write(B)
    world.sky = "refuses"
    world.boot()
    for action, argument in actions:
        world.act(action, argument)
        if one(world).job is None:
            assert one(world).fallback.shown == world.fell_back.get("one")
    world.make_fair()
    world.denied.clear()
    world.write(A)
    world.run(100.0)
    world.take(ev.RefreshRequested())
    world.run(100.0)
    assert world.told["one"] == world.live["one"] == world.current("one")
    assert world.told["two"] == world.live["two"] == world.current("two")
    assert "one" not in world.fell_back
    assert one(world).fallback.shown is None
    assert not keeps or world.kept["one"][1] == world.live["one"]
