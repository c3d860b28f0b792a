"""The machine keeps its promises whatever happens in whatever order."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessee.agent.machine.apps.inputs import unknown_paths
from lessee.agent.machine.apps.state import Rejected
from lessee.agent.machine.protocol import commands as cmd
from lessee.agent.machine.protocol import events as ev
from lessee.agent.machine.step import start, step
from lessee.core.failures import Failure, Kind
from lessee.core.generation import File, Generation
from lessee.core.paths import Ref
from lessee.core.secrets import Secret, VersionMetadata
from support.models.world import World, app_spec, folder, ref

A, B, C, D = ref("p/db/a"), ref("p/db/b"), ref("p/key/c"), ref("p/db/d")
APPS = {
    "one": app_spec(A, B, C),
    "two": app_spec(A, compiled_app="r2", notifies=False),
    "all": app_spec(folder("p/db/"), compiled_app="r3", refresh_interval=2.0),
}
SLOW = {
    "one": app_spec(A, B, C, refresh_interval=10.0),
    "two": app_spec(A, compiled_app="r2", notifies=False, refresh_interval=5.0),
    "all": app_spec(folder("p/db/"), compiled_app="r3", refresh_interval=10.0),
}
REFS = st.sampled_from([A, B, C, D])

ACTIONS = st.one_of(
    st.tuples(st.just("run"), st.sampled_from([0.01, 0.3, 1.0, 7.0, 65.0])),
    st.tuples(st.just("write"), REFS),
    st.tuples(st.just("delete"), REFS),
    st.tuples(st.just("deny"), REFS),
    st.tuples(st.just("allow"), REFS),
    st.tuples(st.just("vault"), st.sampled_from(["available", "refuses", "hangs"])),
    st.tuples(st.just("revoke"), st.none()),
    st.tuples(st.just("disk_full"), st.booleans()),
    st.tuples(st.just("app_running"), st.booleans()),
    st.tuples(st.just("crash"), st.none()),
    st.tuples(st.just("compiled_app"), st.sampled_from(["r1", "r4"])),
    st.tuples(st.just("refresh"), st.none()),
    st.tuples(st.just("event_source"), st.booleans()),
    st.tuples(st.just("report_change"), REFS),
)


def check_promises(world):
    for app, live in world.live.items():
        # Both files say the same: a generation is made of one set of secrets.
        assert len({file.content for file in live.files}) == 1
        # What was shown and not told is owed, durably.
        if world.apps[app].notifies and world.notified.get(app) != live:
            assert app in world.notification_pending


@pytest.mark.long
@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    lists_metadata=st.booleans(),
    version=st.sampled_from([1, 2]),
    blind=st.booleans(),
    actions=st.lists(ACTIONS, max_size=25),
)
def test_no_order_of_events_publishes_a_mix_or_loses_an_owed_notification(
    seed, lists_metadata, version, blind, actions
):
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


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32), actions=st.lists(ACTIONS, max_size=15), vault=st.sampled_from(["refuses", "hangs"]))
def test_in_bad_weather_no_minute_sees_more_than_fifteen_requests(seed, actions, vault):
    world = World(SLOW, seed=seed)
    for secret in (A, B, C):
        world.write(secret)
    for action, argument in actions:
        world.act(action, argument)
    world.vault = vault
    world.run(60.0)  # the first minute has what was under way, and short waits
    before = len(world.requests)
    world.run(600.0)
    times = [at for at, _ in world.requests[before:]]
    assert len(times) <= 25
    assert all(len([t for t in times if t0 <= t < t0 + 60]) <= 15 for t0 in times)


@pytest.mark.long
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), denied=st.sets(REFS), gone=st.sets(REFS))
def test_a_path_that_is_denied_or_missing_costs_few_requests_and_stops_no_other(seed, denied, gone):
    world = World(APPS | {"other": app_spec(ref("p/other/x"), compiled_app="r9")}, seed=seed)
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
    world = World({"app": app_spec(*refs)})
    for secret in refs:
        world.write(secret)
    world.run(10.0)
    before = len(world.requests)
    world.run(60.0)
    assert 60 <= len(world.requests) - before <= 70


def test_without_a_detailed_list_each_secret_is_looked_at_and_without_metadata_rights_read():
    world = World({"app": app_spec(A, B)}, lists_metadata=False)
    world.without_metadata.add(B)
    world.write(A)
    world.write(B)
    world.run(10.0)
    before = len(world.requests)
    world.run(10.0)
    kinds = [type(command).__name__ for _, command in world.requests[before:]]
    assert set(kinds) == {"ReadMetadata", "ReadSecret"}
    assert 10 <= kinds.count("ReadMetadata") <= 12
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
        assert world.notified["one"] == world.current("one")


def test_many_writes_at_once_are_one_generation():
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


def test_a_token_is_renewed_at_a_random_point_and_never_runs_out():
    world = World({"app": app_spec(A, refresh_interval=60.0)}, ttl=100.0)
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
    world = World({"app": app_spec(A)}, ttl=100.0)
    world.write(A)
    world.run(10.0)
    (first,) = world.tokens
    world.ttl = 60.0  # its max_ttl comes near: the renewal gives less
    world.run(70.0)
    world.ttl = 100.0
    world.run(70.0)
    assert first not in world.tokens
    assert not [said for said in world.log_lines if said[1] == "token expired"]


def test_a_revoked_token_is_replaced_within_three_seconds():
    world = World(APPS)
    for secret in (A, B, C):
        world.write(secret)
    world.run(30.0)
    world.revoke_tokens()
    world.write(A)
    world.run(3.0)
    assert world.notified["one"] == world.current("one")


def test_a_spent_wrapping_token_is_told_once_and_asked_locally():
    world = World({"app": app_spec(A)})
    world.answer = lambda command: world.post(
        ev.RequestFailed(command.request_id, Failure(Kind.ALREADY_UNWRAPPED, "spent")), 0.01
    )
    world.boot()
    world.run(60.0)
    errors = [said for said in world.log_lines if said[0] == "error"]
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
    assert set(world.state.secrets) == {A}


def test_another_recipe_renders_again_without_a_new_login_or_reading():
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


def test_a_template_that_fails_keeps_the_old_files_until_an_input_changes():
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


def test_old_files_are_pruned_soon_after_the_telling_and_within_a_minute_without():
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


@pytest.mark.long
def test_a_month_of_renewals_and_looks_takes_seconds():
    world = World({"app": app_spec(A, refresh_interval=60.0)}, ttl=3600.0)
    world.write(A)
    world.run(30 * 86400.0)
    assert world.live["app"] == world.current("app")
    assert len([1 for _, command in world.requests if type(command).__name__ == "Login"]) == 1


def test_refused_credentials_are_asked_of_vault_less_often_than_it_locks_a_role():
    world = World({"app": app_spec(A)})
    world.answer = lambda command: world.post(
        ev.RequestFailed(command.request_id, Failure(Kind.DENIED, "refused")), 0.01
    )
    world.boot()
    begin = len(world.requests)
    world.run(3600.0)
    asked = [at for at, command in world.requests[begin:] if not command.if_changed]
    looked = [at for at, command in world.requests if command.if_changed]
    # OpenBao locks after five refusals in fifteen minutes.
    assert all(len([t for t in asked if t0 <= t <= t0 + 900]) <= 4 for t0 in asked)
    assert max(b - a for a, b in itertools.pairwise(looked)) <= 11  # a new secret_id is found soon
    assert world.state.counters.requests <= len(asked) + 1
    assert len([said for said in world.log_lines if said[1] == "login failed"]) <= 2
    before = len(world.requests)
    world.take(ev.RefreshRequested())  # somebody knows better, and wants it tried now
    assert [command.if_changed for _, command in world.requests[before:]] == [False]


def test_answers_to_what_is_no_longer_wanted_are_passed_over():
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


def test_a_limited_path_waits_as_long_as_it_is_told_and_others_go_on():
    world = World({"app": app_spec(A), "other": app_spec(C, compiled_app="r2")})
    world.write(A)
    world.write(C)
    world.run(5.0)
    answer = world.answer

    def limiting(command):
        if getattr(command, "ref", None) == A:
            world.post(ev.RequestFailed(command.request_id, Failure(Kind.RATE_LIMITED, "too often", 90.0)), 0.01)
        else:
            answer(command)

    world.answer = limiting
    world.run(2.0)
    before = len(world.requests)
    world.run(80.0)
    refs = [command.ref for _, command in world.requests[before:]]
    assert A not in refs
    assert refs.count(C) >= 70
    world.answer = answer
    world.write(A)
    world.run(25.0)
    assert world.live["app"] == world.current("app")


@settings(max_examples=30)
@given(kind=st.sampled_from([Kind.RATE_LIMITED, Kind.DENIED, Kind.INVALID]), seed=st.integers(0, 99))
def test_a_renewal_that_is_limited_is_put_off_and_one_that_is_denied_logs_in_anew(kind, seed):
    world = World({"app": app_spec(A)}, ttl=100.0, seed=seed)
    world.write(A)
    world.run(5.0)
    answer, refused = world.answer, []

    def refusing(command):
        if isinstance(command, cmd.RenewToken) and not refused:
            refused.append(command)
            world.post(ev.RequestFailed(command.request_id, Failure(kind, "no", 5.0)), 0.01)
        else:
            answer(command)

    world.answer = refusing
    world.run(95.0)
    logins = [1 for _, command in world.requests if isinstance(command, cmd.Login)]
    assert refused
    assert len(logins) == (1 if kind is Kind.RATE_LIMITED else 2)


def test_a_denied_path_makes_the_token_suspect_once_and_a_valid_one_stays():
    world = World({"app": app_spec(A)})
    world.write(A)
    world.denied.add(A)
    world.run(120.0)
    kinds = [type(command).__name__ for _, command in world.requests]
    assert kinds.count("Login") == 1
    assert 2 <= kinds.count("LookUpToken") <= 12


def test_a_login_that_is_limited_waits_as_told():
    world = World({"app": app_spec(A)})
    world.answer = lambda command: world.post(
        ev.RequestFailed(command.request_id, Failure(Kind.RATE_LIMITED, "slow", 30.0)), 0.01
    )
    world.boot()
    world.run(100.0)
    assert 2 <= len(world.requests) <= 5


def test_a_refresh_that_names_a_path_looks_at_it_alone():
    needs = {"a": A, "c": C, "f": folder("p/f/")}
    world = World({name: app_spec(need, refresh_interval=3600.0, compiled_app=name) for name, need in needs.items()})
    for secret in (A, C, ref("p/f/x")):
        world.write(secret)
    world.run(5.0)
    before = len(world.requests)
    world.take(ev.RefreshRequested(("db/a",)))
    world.run(1.0)
    assert [command.ref for _, command in world.requests[before:]] == [A]
    world.take(ev.RefreshRequested(("secret/p/f/",)))
    world.run(1.0)
    assert type(world.requests[-1][1]).__name__ == "ListFolder"
    world.vault = "refuses"
    world.take(ev.RefreshRequested())
    world.run(20.0)
    world.vault = "available"
    before = len(world.requests)
    world.take(ev.RefreshRequested())
    world.run(0.5)
    assert len(world.requests) > before  # it did not wait for the weather's next try


def test_a_mount_that_is_refused_is_told_and_found_when_it_is_there():
    world = World({"app": app_spec(A)})
    answer = world.answer

    def refusing(command):
        if isinstance(command, cmd.DetectKvVersion):
            world.post(ev.RequestFailed(command.request_id, Failure(Kind.DENIED, "no such mount")), 0.01)
        else:
            answer(command)

    world.write(A)
    world.answer = refusing
    world.run(30.0)
    assert world.state.mounts["secret"].failure.text == "no such mount"
    world.answer = answer
    world.take(ev.RefreshRequested())
    world.run(5.0)
    assert world.live["app"] == world.current("app")


def test_a_folder_that_may_not_be_listed_is_told_and_tried_seldom():
    world = World({"app": app_spec(folder("p/db/"))}, lists_metadata=False)
    answer = world.answer

    def refusing(command):
        if isinstance(command, cmd.ListFolder):
            world.post(ev.RequestFailed(command.request_id, Failure(Kind.DENIED, "no list")), 0.01)
        else:
            answer(command)

    world.answer = refusing
    world.run(60.0)
    assert world.state.folders[folder("p/db/")].failure.text == "no list"
    assert len(world.requests) <= 30
    world.answer = answer
    world.write(A)
    world.run(70.0)
    assert world.live["app"] == world.current("app")


def test_a_token_that_ends_while_vault_is_away_is_replaced_when_it_is_back():
    world = World({"app": app_spec(A)}, ttl=30.0)
    world.write(A)
    world.run(5.0)
    world.vault = "refuses"
    world.run(60.0)
    assert world.state.session.token is None
    world.vault = "available"
    world.write(A)
    world.run(61.0)
    assert world.live["app"] == world.current("app")


def test_answers_that_come_after_their_app_left_change_nothing():
    apps = {
        "one": app_spec(A),
        "v1": app_spec(Ref("old", "x"), compiled_app="r2"),
        "all": app_spec(folder("p/f/"), compiled_app="r3"),
    }
    world = World(apps, lists_metadata=False)
    for secret in (A, Ref("old", "x"), ref("p/f/y")):
        world.write(secret)
    world.run(5.0)
    world.vault = "hangs"
    world.write(A)
    world.run(3.0)
    calls = dict(world.state.requests)
    assert {type(call.command).__name__ for call in calls.values()} >= {"ReadMetadata", "ListFolder"}
    world.configure({})
    for number, call in calls.items():
        match call.command:
            case cmd.ListFolder():
                world.take(ev.FolderListed(number, {"y": None}))
            case cmd.ReadMetadata():
                world.take(ev.MetadataRead(number, VersionMetadata(9, "at 9")))
            case cmd.ReadSecret():
                world.take(ev.SecretRead(number, Secret({"v": 9}, None)))
    assert not world.state.secrets
    assert not world.state.requests
    world.configure(apps)
    world.run(40.0)
    calls = dict(world.state.requests)
    world.configure({})
    for number in calls:
        world.take(ev.RequestFailed(number, Failure(Kind.NOT_FOUND, "gone")))
    assert not world.state.secrets


def test_reads_under_way_when_their_app_leaves_are_passed_over():
    world = World({"one": app_spec(A)})
    world.write(A)
    obey = world.obey
    world.obey = lambda command: None if isinstance(command, cmd.ReadSecret) else obey(command)
    world.run(5.0)
    (number,) = world.state.requests
    world.configure({})
    world.take(ev.SecretRead(number, Secret({"v": 1}, None)))
    assert not world.state.secrets


def test_a_secret_that_leaves_a_folder_leaves_the_files_and_a_new_one_comes_in():
    world = World({"app": app_spec(folder("p/f/"), ref("p/f/kept"))})
    for name in ("kept", "goes"):
        world.write(ref(f"p/f/{name}"))
    world.run(5.0)
    del world.kv[ref("p/f/goes")]
    world.write(ref("p/f/comes"))
    world.run(5.0)
    assert world.live["app"] == world.current("app")
    assert b"goes" not in world.live["app"].files[0].content
    assert ref("p/f/goes") not in world.state.secrets
    del world.kv[ref("p/f/kept")]
    world.run(5.0)
    assert ref("p/f/kept") in world.state.secrets  # it is named by itself too
    assert b"kept" in world.live["app"].files[0].content


def test_a_version_that_holds_the_same_values_is_rendered_but_not_published_again():
    world = World({"app": app_spec(A)})
    render = world.render
    world.render = lambda _: render(cmd.Render("app", 0, "r1", {}, {}, {}))
    world.write(A)
    world.run(5.0)
    world.write(A)
    world.run(5.0)
    assert world.state.counters.renders == 2
    assert len(world.published) == 1


def test_an_effect_that_knows_better_says_when_to_try_again():
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


def test_one_event_at_a_time_is_a_step_and_a_wrong_answer_is_a_defect():
    state, commands = step(start(1), ev.Configured({"app": app_spec(A)}), 0.0)
    (login,) = commands
    with pytest.raises(AssertionError, match="does not answer Login"):
        step(state, ev.MetadataRead(login.request_id, VersionMetadata(1, "x")), 1.0)
    state, _ = step(state, ev.Tick(), 1.0)
    state, commands = step(state, ev.RequestFailed(login.request_id, Failure(Kind.UNAVAILABLE, "away")), 2.0)
    assert not [command for command in commands if isinstance(command, cmd.Login)]
    state, commands = step(state, ev.RefreshRequested(), 2.1)
    assert [type(command).__name__ for command in commands] == ["Login"]


def test_a_mount_of_version_one_among_others_is_read_by_value():
    world = World({"app": app_spec(A, B, Ref("old", "p/x"), Ref("old", "p/y"))}, version=1)
    for secret in (A, B, Ref("old", "p/x"), Ref("old", "p/y")):
        world.write(secret)
    world.run(5.0)
    assert all(source.polls_data for source in world.state.secrets.values())
    world.write(Ref("old", "p/y"))
    world.run(2.0)
    assert world.notified["app"] == world.current("app")


def test_a_new_token_looks_again_in_the_cheapest_way_and_at_what_was_denied():
    world = World({"app": app_spec(A, B), "other": app_spec(C, compiled_app="r2")})
    for secret in (A, B, C):
        world.write(secret)
    world.denied.add(C)
    world.lists_metadata = False
    world.without_metadata |= {A, B}
    world.run(5.0)
    assert all(world.state.secrets[secret].polls_data for secret in (A, B))
    world.lists_metadata = True
    world.without_metadata.clear()
    world.denied.clear()
    world.revoke_tokens()
    world.run(15.0)
    assert world.state.folders[A.folder].lists_metadata
    assert world.live["other"] == world.current("other")
    before = len(world.requests)
    world.run(10.0)
    kinds = [type(command).__name__ for _, command in world.requests[before:]]
    assert set(kinds) == {"ListFolder", "ReadMetadata"}  # of A and B together, and of C
    world.write(B)
    world.run(1.5)
    assert world.live["app"] == world.current("app")


def test_a_policy_without_look_ups_makes_a_denied_path_cost_few_logins():
    world = World({"app": app_spec(A)})
    answer = world.answer

    def refusing(command):
        if isinstance(command, cmd.LookUpToken | cmd.ReadSecret):
            world.post(ev.RequestFailed(command.request_id, Failure(Kind.DENIED, "denied")), 0.01)
        else:
            answer(command)

    world.answer = refusing
    world.run(3600.0)
    logins = [at for at, command in world.requests if isinstance(command, cmd.Login)]
    assert len(logins) <= 12
    assert len([at for at in logins if at < world.now - 3600 + 60]) <= 4


def test_mounts_and_folders_that_were_denied_are_asked_for_with_a_new_token():
    world = World({"app": app_spec(folder("p/db/")), "old": app_spec(Ref("old", "x"), compiled_app="r2")})
    answer = world.answer

    def refusing(command):
        denied = isinstance(command, cmd.ListFolder) or getattr(command, "mount", "") == "old"
        if denied and "t1" in world.tokens:
            world.post(ev.RequestFailed(command.request_id, Failure(Kind.DENIED, "denied")), 0.01)
        else:
            answer(command)

    world.write(A)
    world.write(Ref("old", "x"))
    world.answer = refusing
    world.run(20.0)
    assert not world.live
    world.revoke_tokens()
    world.run(15.0)
    assert world.live["app"] == world.current("app")
    assert world.live["old"] == world.current("old")


def test_a_look_at_the_token_that_the_weather_swallowed_is_repeated():
    world = World({"app": app_spec(A)})
    answer, swallowed = world.answer, []

    def swallowing(command):
        if isinstance(command, cmd.LookUpToken) and not swallowed:
            swallowed.append(world.now)
            world.post(ev.RequestFailed(command.request_id, Failure(Kind.UNAVAILABLE, "away")), 0.01)
        else:
            answer(command)

    world.write(A)
    world.denied.add(A)
    world.answer = swallowing
    world.run(30.0)
    checks = [at for at, command in world.requests if isinstance(command, cmd.LookUpToken)]
    assert checks[1] - checks[0] < 2


def test_each_of_many_revocations_is_noticed_within_seconds():
    world = World({"app": app_spec(A)})
    world.write(A)
    world.run(5.0)
    for _ in range(8):
        world.revoke_tokens()
        world.write(A)
        world.run(12.0)
        assert world.live["app"] == world.current("app")


def test_a_refresh_tries_at_once_to_tell_who_is_owed():
    world = World({"app": app_spec(A)})
    world.write(A)
    world.app_running = False
    world.run(120.0)
    world.app_running = True
    world.take(ev.RefreshRequested())
    world.run(0.1)
    assert world.notified["app"] == world.live["app"]


def test_a_deleted_secret_that_is_looked_at_by_itself_is_told_and_found_when_it_is_back():
    world = World({"app": app_spec(A)})
    world.write(A)
    world.run(5.0)
    old = world.live["app"]
    world.delete(A)
    world.run(5.0)
    assert world.state.secrets[A].failure.text == "its latest version is deleted"
    assert world.live["app"] == old
    world.write(A)
    world.run(65.0)
    assert world.live["app"] == world.current("app")


@pytest.mark.parametrize("lists_metadata", [True, False])
def test_a_secret_that_is_undeleted_is_back_in_its_folder_s_file(lists_metadata):
    world = World({"app": app_spec(folder("p/db/"))}, lists_metadata=lists_metadata)
    world.write(A)
    world.write(B)
    world.run(5.0)
    world.delete(A)
    world.run(5.0)
    assert b"db/a" not in world.live["app"].files[0].content
    world.deleted.discard(A)
    world.run(30.0)
    assert world.live["app"] == world.current("app")


def test_a_refresh_that_becomes_shorter_takes_effect_at_once():
    apps = {
        "one": app_spec(A, refresh_interval=3600.0),
        "two": app_spec(B, D, refresh_interval=3600.0, compiled_app="r2"),
    }
    world = World(apps)
    for secret in (A, B, D):
        world.write(secret)
    world.run(5.0)
    world.configure({"one": app_spec(A), "two": app_spec(B, D, compiled_app="r2")})
    world.write(A)
    world.write(B)
    world.run(1.5)
    for app in apps:
        assert world.notified[app] == world.current(app)


def test_a_publish_that_is_told_after_another_recipe_came_is_owed_all_the_same():
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


def test_a_path_is_known_as_a_template_has_it_and_with_prefix_and_mount():
    world = World({"app": app_spec(A, folder("p/f/"))})
    named = ["db/a", "p/db/a", "secret/p/db/a", "a", "p/f/", "f", "b/a", "db/b", ""]
    assert unknown_paths(world.state, named) == ["b/a", "db/b", ""]


@pytest.mark.parametrize("why", [Kind.PATH_ERROR, Kind.UNAVAILABLE])
@pytest.mark.parametrize("kind", [cmd.ListFolder, cmd.ReadMetadata, cmd.ReadSecret])
def test_what_is_refused_after_it_was_dropped_is_no_affair_any_more(kind, why):
    world = World({"app": app_spec(A, B)}, lists_metadata=kind is not cmd.ReadMetadata)
    for secret in (A, B, C):
        world.write(secret)
    while not any(isinstance(call.command, kind) for call in world.state.requests.values()):
        world.run(0.0005)
    (number, *_) = [n for n, call in world.state.requests.items() if isinstance(call.command, kind)]
    world.configure({"other": app_spec(C, compiled_app="r2")})
    world.take(ev.RequestFailed(number, Failure(why, "500")))
    world.run(5.0)
    assert set(world.state.secrets) == {C}
    assert world.notified["other"] == world.current("other")


@pytest.mark.parametrize("fair", [30.0, 80.0, 3600.0])
def test_an_outage_of_before_does_not_make_a_short_one_longer(fair):
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


@pytest.mark.parametrize("broken", [cmd.ReadMetadata, cmd.ReadSecret, cmd.ListFolder])
def test_one_path_that_breaks_fast_is_its_own_trouble_and_costs_few_requests(broken):
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
    assert not [said for said in world.log_lines if said[1] == "vault unavailable"]
    world.answer = answer
    world.write(A)
    world.run(60.0)
    assert world.notified["app"] == world.current("app")
    assert world.notified["two"] == world.current("two")


def test_a_mount_that_was_away_is_found_again_by_one_probe_at_a_time_and_then_listed_as_before():
    world = World({"app": app_spec(A, B)})
    answer = world.answer

    def away(command):
        kinds = {cmd.DetectKvVersion: Kind.DENIED, cmd.ListFolder: Kind.UNSUPPORTED, cmd.ReadSecret: Kind.UNSUPPORTED}
        if type(command) in kinds | {cmd.ReadMetadata: None}:
            kind = kinds.get(type(command), Kind.UNSUPPORTED)
            world.post(ev.RequestFailed(command.request_id, Failure(kind, "no such mount")), 0.01)
        else:
            answer(command)

    for secret in (A, B):
        world.write(secret)
    world.run(10.0)
    world.answer = away
    before = len(world.requests)
    world.run(60.0)
    assert len(world.requests) - before <= 25
    world.answer = answer
    world.write(A)
    world.run(50.0)
    assert world.notified["app"] == world.current("app")
    before = len(world.requests)
    world.run(20.0)
    assert {type(command) for _, command in world.requests[before:]} == {cmd.ListFolder}


def test_a_suspicion_that_comes_to_nothing_is_no_news_even_soon_after_an_outage():
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
    assert not [said for said in world.log_lines[before:] if said[1] in {"vault unavailable", "vault available"}]


def test_what_is_read_as_it_was_is_the_same_to_who_renders_and_true_is_not_1():
    world = World({"app": app_spec(A)}, version=1)
    world.kv[A] = True
    world.run(10.0)
    data = world.state.secrets[A].secret.data
    world.run(10.0)
    assert world.state.secrets[A].secret.data is data
    before = len(world.published)
    world.kv[A] = 1
    world.run(10.0)
    assert len(world.published) == before + 1
