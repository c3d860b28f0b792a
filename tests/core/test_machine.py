"""The machine keeps its promises whatever happens in whatever order."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from lessee.core import commands as cmd
from lessee.core import events as ev
from lessee.core.failures import Failure, Kind
from world import World, folder, ref, want

A, B, C, D = ref("p/db/a"), ref("p/db/b"), ref("p/key/c"), ref("p/db/d")
APPS = {
    "one": want(A, B, C),
    "two": want(A, recipe="r2", notifies=False),
    "all": want(folder("p/db/"), recipe="r3", refresh=2.0),
}
SLOW = {
    "one": want(A, B, C, refresh=10.0),
    "two": want(A, recipe="r2", notifies=False, refresh=5.0),
    "all": want(folder("p/db/"), recipe="r3", refresh=10.0),
}
REFS = st.sampled_from([A, B, C, D])

ACTIONS = st.one_of(
    st.tuples(st.just("run"), st.sampled_from([0.01, 0.3, 1.0, 7.0, 65.0])),
    st.tuples(st.just("write"), REFS),
    st.tuples(st.just("delete"), REFS),
    st.tuples(st.just("deny"), REFS),
    st.tuples(st.just("allow"), REFS),
    st.tuples(st.just("sky"), st.sampled_from(["fair", "refuses", "hangs"])),
    st.tuples(st.just("revoke"), st.none()),
    st.tuples(st.just("disk"), st.booleans()),
    st.tuples(st.just("tellable"), st.booleans()),
    st.tuples(st.just("crash"), st.none()),
    st.tuples(st.just("recipe"), st.sampled_from(["r1", "r4"])),
    st.tuples(st.just("nudge"), st.none()),
)


def act(world, action, argument):
    match action:
        case "run":
            world.run(argument)
        case "write":
            world.write(argument)
        case "delete":
            world.delete(argument)
        case "deny":
            world.denied.add(argument)
        case "allow":
            world.denied.discard(argument)
        case "sky":
            world.sky = argument
        case "revoke":
            world.valid_token = "another"
        case "disk":
            world.disk_full = argument
        case "tellable":
            world.tellable = argument
        case "crash":
            world.boot()
        case "recipe":
            world.configure(world.apps | {"one": want(A, B, C, recipe=argument, refresh=10.0)})
        case "nudge":
            world.take(ev.Nudged())


def check_promises(world):
    for app, live in world.live.items():
        # Both files say the same: a generation is made of one set of secrets.
        assert len({file.content for file in live.files}) == 1
        # What was shown and not told is owed, durably.
        if world.apps[app].notifies and world.told.get(app) != live:
            assert app in world.owed


def make_fair(world):
    world.sky, world.disk_full, world.tellable = "fair", False, True


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    has_list=st.booleans(),
    version=st.sampled_from([1, 2]),
    blind=st.booleans(),
    actions=st.lists(ACTIONS, max_size=25),
)
def test_no_order_of_events_publishes_a_mix_or_loses_an_owed_notification(seed, has_list, version, blind, actions):
    world = World(SLOW, seed=seed, has_list=has_list, version=version)
    if blind:
        world.blind |= {A, B, C, D}
    for secret in (A, B, C):
        world.write(secret)
    for action, argument in actions:
        act(world, action, argument)
        check_promises(world)
    make_fair(world)
    # A minute's cap, and the guard of a call that hangs.
    world.run(100.0)
    check_promises(world)
    for app, wanted in world.apps.items():
        expected = world.current(app)
        if expected is not None:
            assert world.live[app] == expected, f"{app} is not fresh a minute after all is well"
            assert not wanted.notifies or world.told[app] == expected
            assert app not in world.owed


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32), actions=st.lists(ACTIONS, max_size=15), sky=st.sampled_from(["refuses", "hangs"]))
def test_in_bad_weather_no_minute_sees_more_than_fifteen_requests(seed, actions, sky):
    world = World(SLOW, seed=seed)
    for secret in (A, B, C):
        world.write(secret)
    for action, argument in actions:
        act(world, action, argument)
    world.sky = sky
    world.run(60.0)  # the first minute has what was under way, and short waits
    before = len(world.requests)
    world.run(600.0)
    times = [at for at, _ in world.requests[before:]]
    assert len(times) <= 25
    assert all(len([t for t in times if t0 <= t < t0 + 60]) <= 15 for t0 in times)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), denied=st.sets(REFS), gone=st.sets(REFS))
def test_a_path_that_is_denied_or_missing_costs_few_requests_and_stops_no_other(seed, denied, gone):
    world = World(APPS | {"other": want(ref("p/other/x"), recipe="r9")}, seed=seed)
    for secret in (A, B, C, D, ref("p/other/x")):
        world.write(secret)
    world.run(5.0)
    world.denied |= denied
    for secret in gone:
        world.delete(secret)
    world.run(60.0)
    before = len(world.requests)
    world.write(ref("p/other/x"))
    world.run(60.0)
    # Three folders a second, the change itself, and for each bad path a few tries and a look at the token.
    assert len(world.requests) - before <= 3 * 67 + 2 + 8 * len(denied | gone) + 8
    assert world.live["other"] == world.current("other")


def test_a_hundred_secrets_in_one_folder_cost_one_request_a_round():
    refs = [ref(f"p/many/s{i}") for i in range(100)]
    world = World({"app": want(*refs)})
    for secret in refs:
        world.write(secret)
    world.run(10.0)
    before = len(world.requests)
    world.run(60.0)
    assert 60 <= len(world.requests) - before <= 70


def test_without_a_detailed_list_each_secret_is_looked_at_and_without_metadata_rights_read():
    world = World({"app": want(A, B)}, has_list=False)
    world.blind.add(B)
    world.write(A)
    world.write(B)
    world.run(10.0)
    before = len(world.requests)
    world.run(10.0)
    kinds = [type(command).__name__ for _, command in world.requests[before:]]
    assert set(kinds) == {"LookAt", "ReadSecret"}
    assert 10 <= kinds.count("LookAt") <= 12
    assert 10 <= kinds.count("ReadSecret") <= 12


def test_a_change_is_published_and_told_within_refresh():
    world = World(APPS)
    for secret in (A, B, C):
        world.write(secret)
    world.run(10.0)
    for _ in range(50):
        world.run(world.random.uniform(1, 3))
        world.write(A)
        world.run(1.0 + 5 * world.latency * 3)
        assert world.told["one"] == world.current("one")


def test_many_writes_at_once_are_one_generation():
    world = World({"app": want(A, B, C)})
    for secret in (A, B, C):
        world.write(secret)
    world.run(10.0)
    before = len(world.published)
    for _ in range(20):
        world.write(A)
        world.write(B)
    world.run(2.0)
    assert len(world.published) - before == 1


def test_a_token_is_renewed_at_a_random_point_and_never_runs_out():
    world = World({"app": want(A)}, ttl=100.0)
    world.write(A)
    world.run(86400.0)
    renewals = [at for at, command in world.requests if type(command).__name__ == "RenewToken"]
    logins = [at for at, command in world.requests if type(command).__name__ == "Login"]
    gaps = [b - a for a, b in itertools.pairwise(renewals)]
    assert len(logins) == 1
    assert min(gaps) > 49
    assert max(gaps) < 71
    assert len({round(gap, 3) for gap in gaps}) > 100


def test_a_capped_token_is_replaced_before_it_ends():
    world = World({"app": want(A)}, ttl=100.0)
    world.write(A)
    world.run(10.0)
    first = world.valid_token
    world.ttl = 60.0  # its max_ttl comes near: the renewal gives less
    world.run(70.0)
    world.ttl = 100.0
    world.run(70.0)
    assert world.valid_token != first
    assert not [said for said in world.said if said[1] == "token ended"]


def test_a_revoked_token_is_replaced_within_three_seconds():
    world = World(APPS)
    for secret in (A, B, C):
        world.write(secret)
    world.run(30.0)
    world.valid_token = "another"
    world.write(A)
    world.run(3.0)
    assert world.told["one"] == world.current("one")


def test_a_spent_wrapping_token_is_told_once_and_asked_locally():
    world = World({"app": want(A)})
    world.answer = lambda command: world.post(ev.Failed(command.call, Failure(Kind.SPENT, "spent")), 0.01)
    world.boot()
    world.run(60.0)
    errors = [said for said in world.said if said[0] == "error"]
    assert len(errors) == 1
    assert {type(command).__name__ for _, command in world.requests} == {"Login"}


def test_removing_an_app_from_the_configuration_asks_for_its_secrets_no_more():
    world = World(APPS)
    for secret in (A, B, C):
        world.write(secret)
    world.run(10.0)
    world.configure({"two": APPS["two"]})
    world.run(2.0)
    before = len(world.requests)
    world.run(60.0)
    assert len(world.requests) - before <= 70
    assert set(world.state.sources) == {A}


def test_another_recipe_renders_again_without_a_new_login_or_reading():
    world = World(APPS)
    for secret in (A, B, C):
        world.write(secret)
    world.run(10.5)
    before = [command for _, command in world.requests]
    world.configure(APPS | {"one": want(A, B, C, recipe="r7")})
    world.run(0.2)
    after = [command for _, command in world.requests][len(before) :]
    assert world.live["one"] == world.current("one")
    assert not [command for command in after if type(command).__name__ in {"Login", "ReadSecret", "FindMount"}]


def test_a_template_that_fails_keeps_the_old_files_until_an_input_changes():
    world = World({"app": want(A)})
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
    assert world.state.apps["app"].problem == "a.j2:1: no"
    renders = world.state.totals.renders
    world.run(60.0)
    assert world.state.totals.renders == renders
    world.obey = obey
    world.write(A)
    world.run(2.0)
    assert world.live["app"] == world.current("app")
    assert world.state.apps["app"].problem is None


def test_old_files_are_pruned_soon_after_the_telling_and_within_a_minute_without():
    world = World({"app": want(A)})
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
    world.tellable = False
    world.write(A)
    at = world.now
    world.run(100.0)
    assert len(pruned) == 2
    assert 60 <= pruned[1] - at <= 62


def test_a_month_of_renewals_and_looks_takes_seconds():
    world = World({"app": want(A, refresh=60.0)}, ttl=3600.0)
    world.write(A)
    world.run(30 * 86400.0)
    assert world.live["app"] == world.current("app")
    assert len([1 for _, command in world.requests if type(command).__name__ == "Login"]) == 1
