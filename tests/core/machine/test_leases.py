"""No app notices that what it holds was issued, renewed, capped, revoked, or that its token ended."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessee.core.leases import Lease
from lessee.core.machine import commands as cmd
from lessee.core.machine import events as ev
from lessee.core.machine.failures import Failure, Kind
from lessee.core.machine.letting_go import nothing_to_revoke
from lessee.core.machine.readers import is_settled
from lessee.core.record import replace
from lessee.core.secrets import Secret
from world import World, creds, ref, want

A = ref("p/db/a")
X, Y, Z = creds("x"), creds("y"), creds("z")
APPS = {
    "one": want(A, X, refresh=10.0),
    "two": want(X, Y, recipe="r2", notifies=False, refresh=10.0),
    "three": want(Z, recipe="r3", refresh=10.0),
}

ACTIONS = st.one_of(
    st.tuples(st.just("run"), st.sampled_from([0.003, 0.02, 0.5, 5.0, 40.0, 400.0])),
    st.tuples(st.just("write"), st.none()),
    st.tuples(st.just("sky"), st.sampled_from(["fair", "refuses", "hangs"])),
    st.tuples(st.just("deny"), st.sampled_from([X, Y, Z, A])),
    st.tuples(st.just("allow"), st.sampled_from([X, Y, Z, A])),
    st.tuples(st.just("revoke"), st.none()),
    st.tuples(st.just("disk"), st.booleans()),
    st.tuples(st.just("tellable"), st.booleans()),
    st.tuples(st.just("crash"), st.none()),
    st.tuples(st.just("recipe"), st.sampled_from(["r1", "r4"])),
    st.tuples(st.just("apps"), st.sets(st.sampled_from(["two", "three"]))),
    st.tuples(st.just("nudge"), st.none()),
)


def act(world, action, argument):
    match action:
        case "run":
            world.run(argument)
        case "write":
            world.write(A)
        case "sky":
            world.sky = argument
        case "deny":
            world.denied.add(argument)
        case "allow":
            world.denied.discard(argument)
        case "revoke":
            world.revoke_tokens()
        case "disk":
            world.disk_full = argument
        case "tellable":
            world.tellable = argument
        case "crash":
            world.boot()
        case "recipe":
            world.configure(world.apps | {"one": want(A, X, recipe=argument, refresh=10.0)})
        case "apps":
            world.configure({name: wanted for name, wanted in APPS.items() if name == "one" or name in argument})
        case "nudge":
            world.take(ev.Nudged())


def check_promises(world):
    held = {held.lease.lease_id for held in world.state.leases.values()}
    assert held == set(world.ledger), "the ledger is what the agent holds"


def make_fair(world):
    world.sky, world.disk_full, world.tellable = "fair", False, True
    world.denied.clear()


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    token_max=st.sampled_from([float("inf"), 300.0]),
    lease_max=st.sampled_from([float("inf"), 250.0]),
    actions=st.lists(ACTIONS, max_size=25),
)
def test_no_order_of_events_issues_what_is_good_revokes_what_is_read_or_leaves_anything(
    seed, token_max, lease_max, actions
):
    # The world itself refuses to issue what is still good, and to revoke what a reader holds.
    world = World(APPS, seed=seed, ttl=120.0, token_max=token_max, lease_ttl=100.0, lease_max=lease_max)
    world.write(A)
    for action, argument in actions:
        act(world, action, argument)
        check_promises(world)
    make_fair(world)
    world.run(100.0)
    check_promises(world)
    for app, wanted in world.apps.items():
        assert world.live[app] == world.current(app), f"{app} is not fresh a minute after all is well"
        assert not wanted.notifies or world.told[app] == world.live[app]
    world.lease_max = world.token_max = float("inf")
    world.configure({"three": APPS["three"]})
    world.run(500.0)
    assert {known.need for known in world.leases.values()} == {Z}
    world.take(ev.Stopping())
    world.run(5.0)
    assert nothing_to_revoke(world.state)
    assert (world.leases, world.ledger, world.tokens, world.kept_tokens) == ({}, {}, {}, {})


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), token_max=st.sampled_from([float("inf"), 300.0]))
def test_in_fair_weather_a_reader_never_holds_what_has_ended(seed, token_max):
    world = World(APPS, seed=seed, ttl=120.0, token_max=token_max, lease_ttl=100.0, lease_max=250.0)
    world.write(A)
    world.run(5.0)
    forget = world.forget_the_ended

    def watching():
        before = {app: world.held_by_readers(app) for app in world.apps}
        forget()
        for app, names in before.items():
            # What it was last told of and sees are good, or a successor is here and it is being told.
            assert names <= set(world.leases) or world.state.apps[app].owed, f"{app} reads what has ended"

    world.forget_the_ended = watching
    world.run(3000.0)
    assert not [said for said in world.said if said[1] in {"lease ended", "token ended"}]
    assert not world.expired
    handovers = len(world.issues) - 3
    assert handovers >= 3 * (3000 // 310)


def test_one_lease_serves_all_who_name_it_and_renewals_publish_nothing():
    world = World(APPS)
    world.write(A)
    world.run(86400.0)
    assert sorted(need.path for _, need in world.issues) == [X.path, Y.path, Z.path]
    assert len(world.published) == 3
    assert world.state.totals.lease_renewals > 3 * 30


def test_renewals_come_at_random_points_between_half_and_seven_tenths_of_the_ttl():
    world = World({"app": want(X)}, lease_ttl=100.0)
    world.run(86400.0)
    times = [at for at, command in world.requests if isinstance(command, cmd.RenewLease)]
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert (min(gaps) > 49.9, max(gaps) < 70.1) == (True, True)
    assert len({round(gap, 3) for gap in gaps}) > 100


@pytest.mark.parametrize("how", ["crash", "recipe", "reload"])
def test_restart_reload_and_edit_issue_nothing(how):
    world = World(APPS)
    world.write(A)
    world.run(5.0)
    for number in range(5):
        match how:
            case "crash":
                world.boot()
            case "recipe":
                world.configure(world.apps | {"one": want(A, X, recipe=f"r{number}")})
            case "reload":
                world.configure(world.apps)
        world.run(30.0)
    assert len(world.issues) == 3


def test_a_lease_is_noted_before_it_is_used_and_a_crash_right_after_leaks_nothing():
    world = World({"app": want(X)})
    obey, order = world.obey, []

    def watching(command):
        order.append(type(command).__name__)
        obey(command)

    world.obey = watching
    world.run(5.0)
    assert order.index("KeepLease") < order.index("Render")
    for _ in range(200):  # at each step of the first seconds
        world = World({"app": want(X)}, seed=1)
        world.run(0.0005 * _)
        world.boot()
        world.run(5.0)
        lost = [name for name in world.leases if name not in world.ledger]
        # The answer may still have been on its way.
        assert len(world.issues) <= 2
        assert len(lost) == len(world.issues) - 1
        assert world.live["app"] == world.current("app")


def test_a_forbidden_path_makes_no_other_be_issued_again():
    world = World(APPS | {"bad": want(X, creds("forbidden"), recipe="r9")})
    world.denied.add(creds("forbidden"))
    world.write(A)
    world.run(3600.0)
    assert len(world.issues) == 3
    asked = [at for at, command in world.requests if isinstance(command, cmd.Issue) and command.need.path.endswith("n")]
    assert len([at for at in asked if at <= 1060]) <= 20
    assert len(asked) < 150


def test_what_leaves_the_configuration_is_revoked_once_its_readers_are_told():
    world = World({"app": want(X, Y)})
    world.run(20.0)
    world.configure({"app": want(X, recipe="r2")})
    world.run(4.5)
    assert {known.need for known in world.leases.values()} == {X, Y}  # a reader may just have opened it
    world.run(2.0)
    assert {known.need for known in world.leases.values()} == {X}
    assert len(world.issues) == 2


def test_what_comes_back_into_the_configuration_in_time_is_not_issued_again():
    world = World({"app": want(X, Y)})
    world.run(20.0)
    world.configure({"app": want(X, recipe="r2")})
    world.run(2.0)
    world.configure({"app": want(X, Y)})
    world.run(60.0)
    assert len(world.issues) == 2
    assert len(world.leases) == 2


def test_an_app_that_cannot_be_told_keeps_what_it_holds():
    world = World({"app": want(X)}, lease_ttl=1000.0)
    world.run(5.0)
    world.tellable = False
    (first,) = world.leases
    world.leases[first].max_at = world.now + 1300.0
    world.run(1200.0)
    assert len(world.issues) > 1
    assert first in world.leases
    world.tellable = True
    world.run(40.0)
    assert first not in world.leases
    assert world.live["app"] == world.told["app"] == world.current("app")


def test_leases_are_issued_anew_under_the_new_token_before_the_old_one_is_let_go():
    world = World({"app": want(X, Y)}, ttl=100.0, token_max=130.0)
    world.run(130.0)
    assert [known.token for known in world.leases.values()] == ["t2", "t2"]
    (revoked,) = [command.token for _, command in world.requests if isinstance(command, cmd.RevokeToken)]
    assert (revoked, list(world.tokens)) == ("t1", ["t2"])
    assert list(world.kept_tokens) == ["t2"]
    assert len(world.published) == 2  # both in one generation
    assert not [said for said in world.said if said[1] in {"lease ended", "token ended"}]


def test_a_revoked_token_takes_its_leases_along_and_is_replaced_within_three_seconds():
    world = World({"app": want(A, X, Y)})
    world.write(A)
    world.run(30.0)
    world.revoke_tokens()
    world.run(3.0)
    assert world.told["app"] == world.live["app"] == world.current("app")
    assert {known.token for known in world.leases.values()} == {"t2"}


def test_a_lease_that_was_revoked_by_hand_is_found_at_its_renewal_and_replaced():
    world = World({"app": want(X)}, lease_ttl=100.0)
    world.run(5.0)
    world.leases.clear()
    world.run(75.0)
    assert len(world.issues) == 2
    assert world.told["app"] == world.current("app")


def test_a_lease_ends_while_vault_is_away_it_is_told_at_once_and_replaced_when_vault_is_back():
    world = World({"app": want(X)}, lease_ttl=100.0)
    world.run(5.0)
    world.sky = "refuses"
    old = world.live["app"]
    world.run(150.0)
    (ended,) = [said for said in world.said if said[1] == "lease ended"]
    assert ended[2]["apps"] == "app"
    ((at, app, paths),) = world.expired
    assert (app, paths) == ("app", (X.path,))
    assert 1095 < at < 1105
    assert world.live["app"] == old
    world.sky = "fair"
    world.run(60.0)
    assert world.told["app"] == world.current("app") != old


def test_an_agent_that_was_stopped_over_two_ttls_sees_the_end_at_once_and_renews_nothing_ended():
    world = World({"app": want(X)}, lease_ttl=100.0)
    world.run(5.0)
    world.now += 200.0
    before = len(world.requests)
    world.take(ev.Tick())
    assert [said for said in world.said if said[1] == "lease ended"]
    world.run(3.0)
    assert not [1 for _, command in world.requests[before:] if isinstance(command, cmd.RenewLease)]
    assert world.told["app"] == world.current("app")
    assert not world.expired  # a successor came in time


def test_a_withdrawn_app_is_published_again_with_the_next_lease():
    world = World({"app": want(X)}, lease_ttl=100.0)
    world.run(5.0)
    world.sky = "refuses"
    world.run(150.0)
    del world.live["app"], world.number["app"]
    world.take(ev.Withdrawn("app"))
    world.sky = "fair"
    world.run(60.0)
    assert world.told["app"] == world.live["app"] == world.current("app")
    world.take(ev.Withdrawn("unknown"))


def failing(world, kind, *commands, times=10**9):
    """These commands fail so, so many times."""
    answer, left = world.answer, [times]

    def refusing(command):
        if isinstance(command, commands) and left[0]:
            left[0] -= 1
            world.post(ev.Failed(command.call, Failure(kind, "told in words")), 0.01)
        else:
            answer(command)

    world.answer = refusing


@pytest.mark.parametrize("kind", [Kind.DENIED, Kind.BROKEN, Kind.LIMITED, Kind.UNSUPPORTED])
def test_a_lease_that_cannot_be_renewed_is_replaced_in_time(kind):
    world = World({"app": want(X)}, lease_ttl=100.0)
    failing(world, kind, cmd.RenewLease)
    world.run(300.0)
    assert 3 <= len(world.issues) <= 6
    assert not [said for said in world.said if said[1] == "lease ended"]
    tries = [at for at, command in world.requests if isinstance(command, cmd.RenewLease)]
    assert len(tries) <= 20 * 6


@pytest.mark.parametrize("kind", [Kind.DENIED, Kind.UNSUPPORTED])
def test_a_kept_lease_that_may_not_be_looked_up_is_good_until_its_own_end(kind):
    world = World({"app": want(X)}, lease_ttl=100.0)
    world.run(5.0)
    failing(world, kind, cmd.LookUpLease)
    world.boot()
    world.run(5.0)
    assert len(world.issues) == 1
    world.run(100.0)
    assert world.told["app"] == world.current("app")


def test_a_kept_lease_that_vault_does_not_know_any_more_is_replaced():
    world = World({"app": want(X)})
    world.run(5.0)
    world.leases.clear()
    world.boot()
    world.run(10.0)
    assert len(world.issues) == 2
    assert world.told["app"] == world.current("app")
    assert len(world.ledger) == 1


def test_a_kept_lease_whose_look_up_fails_again_and_again_is_replaced_when_it_ends():
    world = World({"app": want(X)}, lease_ttl=100.0)
    world.run(5.0)
    failing(world, Kind.BROKEN, cmd.LookUpLease)
    world.boot()
    world.run(80.0)
    assert len(world.issues) == 1
    world.run(30.0)
    assert len(world.issues) == 2


def test_where_revoking_is_denied_it_is_told_and_left_to_end_by_itself():
    world = World({"app": want(X, Y)}, lease_ttl=100.0)
    failing(world, Kind.DENIED, cmd.RevokeLease)
    world.run(20.0)
    world.configure({"app": want(X, recipe="r2")})
    world.run(300.0)
    (told,) = [said for said in world.said if said[1] == "lease not revoked"]
    assert "sys/leases/revoke" in told[2]["todo"]
    assert len([1 for _, command in world.requests if isinstance(command, cmd.RevokeLease)]) == 1
    assert len(world.ledger) == 1


@pytest.mark.parametrize("kind", [Kind.BROKEN, Kind.LIMITED])
def test_a_revocation_that_fails_for_now_is_repeated(kind):
    world = World({"app": want(X, Y)})
    failing(world, kind, cmd.RevokeLease, cmd.RevokeToken, times=4)
    world.run(20.0)
    world.configure({"app": want(X, recipe="r2")})
    world.run(60.0)
    assert {known.need for known in world.leases.values()} == {X}
    world.take(ev.Stopping())
    world.run(60.0)
    assert (world.leases, world.ledger) == ({}, {})


def test_a_lease_that_is_gone_already_needs_no_revoking():
    world = World({"app": want(X, Y)})
    failing(world, Kind.MISSING, cmd.RevokeLease)
    world.run(20.0)
    world.configure({"app": want(X, recipe="r2")})
    world.run(60.0)
    assert len(world.ledger) == 1


def test_a_token_that_may_not_be_revoked_is_left_and_its_leases_are_revoked_each():
    world = World({"app": want(X, Y)})
    failing(world, Kind.DENIED, cmd.RevokeToken)
    world.run(20.0)
    world.take(ev.Stopping())
    world.run(20.0)
    assert world.leases == {}
    assert nothing_to_revoke(world.state)
    assert len([said for said in world.said if said[1] == "token not revoked"]) == 1


def test_a_token_that_is_not_ours_is_never_revoked_but_its_leases_are():
    world = World({"app": want(X, Y)})
    token = world.token
    world.token = lambda *args: (
        known := token(*args), setattr(known, "token", replace(known.token, ours=False))
    )[0]  # fmt: skip
    world.tokens.clear()
    world.kept_tokens.clear()
    world.boot()
    world.run(20.0)
    world.take(ev.Stopping())
    world.run(20.0)
    assert (world.leases, len(world.tokens)) == ({}, 1)
    assert not [1 for _, command in world.requests if isinstance(command, cmd.RevokeToken)]
    assert nothing_to_revoke(world.state)


def test_stopping_in_bad_weather_tries_and_can_be_given_up():
    world = World({"app": want(X)})
    world.run(20.0)
    world.sky = "refuses"
    world.take(ev.Stopping())
    world.run(8.0)
    assert not nothing_to_revoke(world.state)
    assert 2 <= len([1 for _, command in world.requests if isinstance(command, cmd.RevokeToken)]) <= 10
    assert len(world.ledger) == 1  # the next start goes on with it
    world.sky = "fair"
    world.run(10.0)
    assert nothing_to_revoke(world.state)


def run_until_under_way(world, kind):
    while not any(isinstance(call.command, kind) for call in world.state.calls.values()):
        world.run(0.0005)


class Rotating(World):
    """The world with a static role, whose password changes every 100 s."""

    def issue(self, command):
        number = int((self.now - 1000.0) // 100.0)
        left = 1100.0 + 100.0 * number - self.now
        secret = Secret({"lease": f"password {number}"})
        lease = Lease("static", command.need, secret, "", command.token, self.now, self.now, left, False, static=True)
        return ev.Issued(command.call, lease)

    def current(self, app):
        return self.live[app]


def test_a_static_role_is_read_again_when_it_rotates_and_looked_at_meanwhile():
    world = Rotating({"app": want(X)})
    world.run(95.0)
    looks = [at for at, command in world.requests if isinstance(command, cmd.Issue)]
    assert 9 <= len(looks) <= 12
    assert len(world.published) == 1
    world.run(10.0)
    assert [at for at, *_ in world.published[1:]] == [pytest.approx(1100.5, abs=0.7)]
    assert (world.ledger, world.state.totals.issued) == ({}, 0)
    before = len(world.requests)
    world.configure({"app": want(X), "two": want(X, recipe="r2")})
    world.take(ev.Nudged((X.path,)))
    world.run(1.0)
    assert len(world.requests) == before + 1
    world.configure({"app": want(A)})
    world.write(A)
    world.run(100.0)
    assert world.state.leases == {}
    world.take(ev.Stopping())
    world.run(1.0)
    assert nothing_to_revoke(world.state)


def test_a_static_role_that_is_dropped_while_it_is_read_leaves_nothing():
    world = Rotating({"app": want(X), "two": want(X, recipe="r2")})
    run_until_under_way(world, cmd.Issue)
    world.configure({"app": want(A)})
    world.run(1.0)
    assert world.state.leases == {}


def test_what_is_dropped_while_it_is_issued_is_revoked_at_once():
    world = World({"app": want(X), "two": want(A, recipe="r2")})
    run_until_under_way(world, cmd.Issue)
    world.configure({"two": want(A, recipe="r2")})
    world.run(1.0)
    assert (len(world.issues), world.leases, world.ledger) == (1, {}, {})


def test_what_is_refused_while_it_is_dropped_is_no_affair_any_more():
    world = World({"app": want(X), "two": want(A, recipe="r2")})
    world.denied.add(X)
    run_until_under_way(world, cmd.Issue)
    world.configure({"two": want(A, recipe="r2")})
    world.run(1.0)
    assert world.state.supplies == {}


def test_a_lease_that_does_not_end_is_never_renewed():
    world = World({"app": want(X)}, lease_ttl=0.0)
    issue = world.issue

    def endless(command):
        event = issue(command)
        world.leases[event.lease.lease_id].ends_at = float("inf")
        return event

    world.issue = endless
    world.run(86400.0)
    assert not [1 for _, command in world.requests if isinstance(command, cmd.RenewLease)]
    assert len(world.issues) == 1


@pytest.mark.parametrize("late", [cmd.RenewLease, cmd.LookUpLease, cmd.RevokeLease])
@pytest.mark.parametrize("fails", [False, True])
def test_an_answer_about_a_lease_that_went_with_its_token_is_passed_over(late, fails):
    world = World({"app": want(X, Y)}, lease_ttl=100.0)
    world.run(20.0)
    obey, held = world.obey, []
    world.obey = lambda command: held.append(command) if isinstance(command, late) else obey(command)
    if late is cmd.LookUpLease:
        world.boot()
    elif late is cmd.RevokeLease:
        world.configure({"app": want(X, recipe="r2")})
    world.run(25.0 if late is not cmd.RenewLease else 55.0)
    assert held
    calls = [command.call for command in held]
    world.take(ev.Stopping())
    world.run(1.0)
    assert world.ledger == {}
    for call in calls:
        answer = ev.Revoked(call) if late is cmd.RevokeLease else ev.LeaseRenewed(call, world.now, 9.0, renewable=True)
        world.take(ev.Failed(call, Failure(Kind.BROKEN, "500")) if fails else answer)
    assert world.state.leases == {}


@pytest.mark.parametrize("fails", [False, True])
def test_a_token_that_ended_while_it_was_being_revoked_is_forgotten(fails):
    world = World({"app": want(X)}, ttl=100.0, token_max=130.0)
    obey, held = world.obey, []
    world.obey = lambda command: held.append(command) if isinstance(command, cmd.RevokeToken) else obey(command)
    world.run(129.0)
    ((call, token),) = [(command.call, command.token) for command in held]
    assert token in world.state.session.former
    former = dict(world.state.session.former)
    del former[token]
    world.state = replace(world.state, session=replace(world.state.session, former=former))
    world.take(ev.Failed(call, Failure(Kind.BROKEN, "500")) if fails else ev.Revoked(call))
    assert token not in world.state.session.former


def test_a_token_is_not_revoked_while_something_asked_in_its_name_is_under_way():
    world = World({"app": want(X), "slow": want(A, recipe="r2", refresh=10.0)}, ttl=100.0, token_max=130.0)
    world.write(A)
    world.run(100.0)
    answer, held = world.answer, []

    def hanging(command):
        if isinstance(command, cmd.LookAt) and not held:
            held.append(command)
        else:
            answer(command)

    world.answer = hanging
    world.run(0.1)
    world.revoked = []
    obey = world.obey
    world.obey = lambda command: (world.revoked.append(world.now) if isinstance(command, cmd.RevokeToken) else None,
                                  obey(command))  # fmt: skip
    world.run(60.0)
    assert held
    assert world.told["app"] == world.current("app")


def test_an_app_that_another_identity_serves_now_holds_its_leases_until_it_is_told_there():
    world = World({"app": want(X), "other": want(Y, recipe="r2")}, lease_ttl=100.0)
    world.run(5.0)
    del world.apps["app"]
    world.take(ev.Configured(world.apps, frozenset({"app"})))
    world.run(300.0)
    assert {known.need for known in world.leases.values()} == {X, Y}  # renewed all the while
    world.take(ev.Configured(world.apps))
    world.run(1.0)
    assert {known.need for known in world.leases.values()} == {Y}
    assert [said[2]["app"] for said in world.said if said[1] == "app left the configuration"] == []


def test_an_app_is_settled_once_its_readers_were_told_a_moment_ago():
    world = World({"app": want(X)})
    assert not is_settled(world.state.apps["app"], world.now)
    world.run(1.0)
    assert not is_settled(world.state.apps["app"], world.now)
    world.run(6.0)
    assert is_settled(world.state.apps["app"], world.now)


@pytest.mark.parametrize("command", [cmd.CheckToken, cmd.RenewToken])
def test_a_valid_token_that_may_not_see_to_itself_is_used_until_its_end(command):
    world = World({"app": want(A, X)}, ttl=100.0)
    failing(world, Kind.UNSUPPORTED, command)
    world.write(A)
    world.run(5.0)
    world.denied.add(A)
    world.write(A)
    world.run(30.0)
    assert world.state.totals.logins == 1
    world.denied.discard(A)
    world.run(120.0)
    assert world.state.totals.logins == (1 if command is cmd.CheckToken else 2)
    assert world.told["app"] == world.current("app")
    assert not [said for said in world.said if said[1] in {"token ended", "lease ended", "token is no longer valid"}]


@pytest.mark.parametrize("kind", [Kind.BROKEN, Kind.LIMITED])
def test_a_token_whose_renewals_fail_is_replaced_before_its_end(kind):
    world = World({"app": want(A, X)}, ttl=100.0)
    failing(world, kind, cmd.RenewToken)
    world.write(A)
    world.run(300.0)
    assert 3 <= world.state.totals.logins <= 5
    assert not [said for said in world.said if said[1] in {"token ended", "lease ended"}]
    assert len([1 for _, command in world.requests if isinstance(command, cmd.RenewToken)]) <= 60


def test_a_month_of_renewals_of_fifty_leases_ends_none_and_renews_none_late():
    # The world refuses a renewal in the last seconds.
    day = 86400.0
    needs = [creds(str(number)) for number in range(50)]
    world = World({"app": want(*needs, refresh=day)}, ttl=day, token_max=float("inf"), lease_ttl=day, lease_max=7 * day)
    world.run(30 * day)
    assert not [said for said in world.said if said[1] in {"token ended", "lease ended"}]
    assert 50 * 5 <= len(world.issues) <= 50 * 7
    assert world.state.totals.lease_renewals > 50 * 30
    assert len(world.leases) == 50


def test_what_no_template_reads_any_more_after_a_restart_is_revoked():
    world = World({"app": want(X), "gone": want(Y, recipe="r2")})
    world.run(5.0)
    del world.apps["gone"]
    world.boot()
    world.run(10.0)
    assert {known.need for known in world.leases.values()} == {X}
    assert len(world.issues) == 2


def test_a_lease_that_seemed_to_have_ended_and_is_still_there_goes_on():
    world = World({"app": want(X)})
    world.run(5.0)
    ((id_, lease),) = world.ledger.items()
    world.ledger[id_] = replace(lease, sent_at=world.now - lease.ttl)  # its times were of another boot
    world.boot()
    world.run(5.0)
    assert len(world.issues) == 1
    assert world.state.leases[id_].ended_at is None
    assert world.live["app"] == world.current("app")


def test_stopping_waits_for_what_is_being_issued():
    world = World({"app": want(X)})
    run_until_under_way(world, cmd.Issue)
    world.take(ev.Stopping())
    assert not nothing_to_revoke(world.state)
    world.run(1.0)
    assert nothing_to_revoke(world.state)
    assert (world.leases, world.tokens) == ({}, {})


def test_a_renewal_that_is_refused_after_the_token_s_end_changes_nothing_more():
    world = World({"app": want(X)}, ttl=4.0)
    world.run(1.0)
    answer, held = world.answer, []
    world.answer = lambda command: held.append(command) if isinstance(command, cmd.RenewToken) else answer(command)
    world.sky = "hangs"
    world.run(3.1)
    world.sky = "fair"
    assert world.state.session.token is None
    world.take(ev.Failed(held[0].call, Failure(Kind.DENIED, "permission denied (403)")))
    world.answer = answer
    world.run(10.0)
    assert world.told["app"] == world.current("app")


def test_a_revoked_token_is_noticed_within_ten_seconds_where_nothing_else_is_asked():
    world = World({"app": want(X)})
    for _ in range(5):
        world.run(333.3)
        world.revoke_tokens()
        world.run(10.0)
        assert world.told["app"] == world.live["app"] == world.current("app")
    before = len(world.requests)
    world.run(600.0)
    assert len(world.requests) - before <= 90


def test_a_token_that_may_not_be_looked_up_is_looked_up_seldom():
    world = World({"app": want(X)})
    failing(world, Kind.UNSUPPORTED, cmd.CheckToken)
    world.run(3600.0)
    assert len([1 for _, command in world.requests if isinstance(command, cmd.CheckToken)]) <= 8


def test_what_is_capped_is_replaced_with_as_much_time_left_as_any_renewal_would_have_had():
    world = World({"app": want(X)}, lease_ttl=100.0)
    world.run(5.0)
    ((name, known),) = world.leases.items()
    known.max_at = world.now + 150.0
    world.run(85.0)
    assert name in world.leases
    assert len(world.issues) == 1
    world.run(35.0)
    assert len(world.issues) == 2
    assert known.ends_at - world.issues[1][0] >= 30.0


def swallowing(world, kind, *, times=1):
    """So many requests of a kind are never answered; they are gathered."""
    answer, swallowed = world.answer, []

    def hanging(command):
        if isinstance(command, kind) and len(swallowed) < times:
            swallowed.append(command)
        else:
            answer(command)

    world.answer = hanging
    return swallowed


@pytest.mark.parametrize("kind", [cmd.RenewLease, cmd.RenewToken, cmd.Issue, cmd.LookUpLease])
def test_a_request_that_hangs_for_ever_outlasts_no_lease_and_no_token(kind):
    world = World({"app": want(A, X)}, ttl=60.0, lease_ttl=40.0, lease_max=90.0)
    world.write(A)
    world.run(5.0)
    swallowed = swallowing(world, kind)
    if kind is cmd.LookUpLease:
        world.boot()
    world.run(300.0)
    assert swallowed
    assert not [said for said in world.said if said[1] in {"lease ended", "token ended"}]
    assert world.told["app"] == world.current("app")


def test_an_answer_that_comes_after_its_time_is_revoked_where_another_serves():
    world = World({"app": want(X)}, lease_ttl=100.0)
    world.run(5.0)
    swallowed = swallowing(world, cmd.Issue)
    world.leases.clear()
    world.run(120.0)
    assert len(world.issues) == 2
    assert world.told["app"] == world.current("app")
    ((name, lease),) = world.ledger.items()
    world.leases["late"] = world.leases[name]
    world.take(ev.Issued(swallowed[0].call, replace(lease, id="late", lease_id="late")))
    assert set(world.ledger) == {name, "late"}
    world.run(5.0)
    assert len(world.ledger) == len(world.leases) == 1
    assert world.told["app"] == world.current("app")


def test_an_answer_that_comes_after_its_time_serves_where_there_is_none():
    world = World({"app": want(X)}, lease_ttl=100.0)
    swallowed = swallowing(world, cmd.Issue, times=2)
    world.run(32.0)
    assert len(swallowed) >= 1
    assert not world.live
    world.take(world.issue(swallowed[0]))
    world.run(1.0)
    assert world.told["app"] == world.current("app")
    world.run(100.0)
    assert world.told["app"] == world.current("app")
    assert len(world.leases) == 1


def test_a_static_role_that_is_read_after_its_time_changes_nothing():
    world = Rotating({"app": want(X)})
    world.run(5.0)
    late = world.issue(cmd.Issue(10**6, X, "t1"))
    before = world.state.leases
    world.take(late)
    assert world.state.leases == before


def test_what_the_weather_spoils_after_it_was_dropped_is_no_affair_any_more():
    world = World({"app": want(X), "two": want(A, recipe="r2")})
    run_until_under_way(world, cmd.Issue)
    (number,) = [n for n, call in world.state.calls.items() if isinstance(call.command, cmd.Issue)]
    world.configure({"two": want(A, recipe="r2")})
    world.take(ev.Failed(number, Failure(Kind.WEATHER, "away")))
    assert world.state.supplies == {}


def test_a_renewal_that_the_weather_spoils_is_repeated_and_one_whose_lease_is_gone_is_not():
    world = World({"app": want(X)}, lease_ttl=100.0)
    swallowed = swallowing(world, cmd.RenewLease)
    world.run(51.0)
    while not swallowed:
        world.run(1.0)
    world.take(ev.Failed(swallowed[0].call, Failure(Kind.WEATHER, "the connection broke")))
    world.run(10.0)
    assert world.state.totals.lease_renewals == 1
    swallowed = swallowing(world, cmd.RenewLease)
    while not swallowed:
        world.run(1.0)
    world.take(ev.Stopping())
    world.run(0.5)
    assert world.ledger == {}
    world.take(ev.Failed(swallowed[0].call, Failure(Kind.WEATHER, "the connection broke")))
    assert world.state.leases == {}


def test_who_wakes_in_the_last_seconds_of_a_lease_asks_for_a_successor_and_does_not_renew():
    world = World({"app": want(X)}, lease_ttl=100.0)
    world.run(45.0)
    ((name, known),) = world.leases.items()
    world.now = known.ends_at - 1.0
    world.take(ev.Tick())
    world.run(0.9)
    assert not [1 for _, command in world.requests if isinstance(command, cmd.RenewLease)]
    assert len(world.issues) == 2
    assert world.told["app"] == world.current("app")
    assert not [said for said in world.said if said[1] == "lease ended"]
    assert name in world.leases


def test_where_a_successor_would_end_with_the_token_a_login_comes_first():
    world = World({"app": want(X)}, ttl=100.0, lease_ttl=100.0)
    token, issue = world.token, world.issue

    def batch(name, born_at):
        known = token(name, born_at)
        known.token = replace(known.token, renewable=False)
        return known

    def bounded(command):
        event = issue(command)
        return replace(event, lease=replace(event.lease, renewable=False))

    world.token, world.issue = batch, bounded
    world.tokens.clear()
    world.kept_tokens.clear()
    world.boot()
    world.run(1000.0)
    assert world.state.totals.logins == len(world.issues)
    assert 14 <= len(world.issues) <= 20
    assert not [said for said in world.said if said[1] in {"lease ended", "token ended"}]


def test_of_apps_that_shared_a_lease_those_that_are_still_there_are_told_of_its_end():
    world = World({"app": want(X), "gone": want(X, recipe="r2")}, lease_ttl=100.0)
    world.run(5.0)
    world.configure({"app": want(X)})
    world.sky = "refuses"
    world.run(150.0)
    assert [app for _, app, _ in world.expired] == ["app"]


def test_a_token_that_does_not_end_can_be_looked_up():
    world = World({"app": want(A, X)})
    token = world.token

    def endless(name, born_at):
        known = token(name, born_at)
        known.token, known.ends_at = replace(known.token, ttl=0.0, renewable=False), float("inf")
        return known

    world.token = endless
    world.tokens.clear()
    world.kept_tokens.clear()
    world.boot()
    serve = world.serve

    def looking(command):
        if isinstance(command, cmd.CheckToken):
            return ev.Renewed(command.call, world.state.session.token)
        return serve(command)

    world.serve = looking
    world.write(A)
    world.run(5.0)
    world.denied.add(A)
    world.write(A)
    world.run(86400.0)
    assert world.state.totals.logins == 1
    assert not [1 for _, command in world.requests if isinstance(command, cmd.RenewToken)]


def test_a_refresh_of_another_path_leaves_what_was_issued_alone():
    world = World({"app": want(A, X)})
    world.write(A)
    world.run(5.0)
    world.take(ev.Nudged(("p/db/a",)))
    world.take(ev.Nudged((X.path,)))
    world.run(5.0)
    assert len(world.issues) == 1


def test_an_issue_that_the_weather_spoils_is_repeated_when_it_is_fair():
    world = World({"app": want(X)})
    failing(world, Kind.WEATHER, cmd.Issue, times=1)
    world.run(5.0)
    assert world.told["app"] == world.current("app")
    assert not [said for said in world.said if said[1] == "vault is away"]


def test_of_two_leases_of_an_earlier_life_the_newer_one_serves_whoever_comes_back_for_it():
    world = World({"app": want(X), "other": want(Y, recipe="r2")}, lease_ttl=100.0, lease_max=150.0)
    world.run(5.0)
    world.tellable = False
    while len(world.issues) < 4:
        world.run(1.0)
    apps = world.apps
    world.apps = {"other": apps["other"]}
    world.boot()
    world.configure(apps)
    world.run(5.0)
    assert len(world.issues) == 4
    newest = world.state.leases[world.state.supplies[X].lease]
    assert newest.lease.issued_at == max(h.lease.issued_at for h in world.state.leases.values() if h.lease.need == X)


@pytest.mark.parametrize("kind", [Kind.BROKEN, Kind.LIMITED])
def test_a_token_that_cannot_be_revoked_for_now_is_revoked_later(kind):
    world = World({"app": want(X)})
    world.run(20.0)
    failing(world, kind, cmd.RevokeToken, times=2)
    world.take(ev.Stopping())
    world.run(20.0)
    assert (world.leases, world.tokens, world.ledger) == ({}, {}, {})
    assert not [said for said in world.said if said[1] == "token not revoked"]
