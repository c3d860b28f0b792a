"""No app notices that what it holds was issued, renewed, capped, or that Vault was away."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessee.agent.machine.leases.release import is_everything_revoked
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from support.models.world import World, app_spec, creds, ref
from support.thorough import examples

A = ref("p/db/a")
X, Y, Z = creds("x"), creds("y"), creds("z")
APPS = {
    "one": app_spec(A, X, refresh_interval=10.0),
    "two": app_spec(X, Y, compiled_app="r2", notifies=False, refresh_interval=10.0),
    "three": app_spec(Z, compiled_app="r3", refresh_interval=10.0),
}

ACTIONS = st.one_of(
    st.tuples(st.just("run"), st.sampled_from([0.003, 0.02, 0.5, 5.0, 40.0, 400.0])),
    st.tuples(st.just("write"), st.just(A)),
    st.tuples(st.just("vault"), st.sampled_from(["available", "refuses", "hangs"])),
    st.tuples(st.just("deny"), st.sampled_from([X, Y, Z, A])),
    st.tuples(st.just("allow"), st.sampled_from([X, Y, Z, A])),
    st.tuples(st.just("revoke"), st.none()),
    st.tuples(st.just("disk_full"), st.booleans()),
    st.tuples(st.just("app_running"), st.booleans()),
    st.tuples(st.just("crash"), st.none()),
    st.tuples(st.just("compiled_app"), st.sampled_from(["r1", "r4"])),
    st.tuples(st.just("apps"), st.sets(st.sampled_from(["two", "three"]))),
    st.tuples(st.just("refresh"), st.none()),
)


def check_promises(world):
    held = {held.lease.lease_id for held in world.state.leases.values()}
    assert held == set(world.stored_leases), "the state store has what the agent holds"


@pytest.mark.long
@settings(max_examples=examples(150), deadline=None)
@given(
    seed=st.integers(0, 2**32),
    token_max_ttl=st.sampled_from([float("inf"), 300.0]),
    lease_max_ttl=st.sampled_from([float("inf"), 250.0]),
    actions=st.lists(ACTIONS, max_size=25),
)
def test_no_order_of_events_issues_a_second_lease_revokes_a_used_one_or_leaves_one(
    seed, token_max_ttl, lease_max_ttl, actions
):
    # The world itself refuses to issue what is still good, and to revoke what a reader holds.
    world = World(APPS, seed=seed, ttl=120.0, token_max_ttl=token_max_ttl, lease_ttl=100.0, lease_max_ttl=lease_max_ttl)
    world.write(A)
    for action, argument in actions:
        world.act(action, argument)
        check_promises(world)
    world.repair()
    world.denied.clear()
    world.run(100.0)
    check_promises(world)
    for app, wanted in world.apps.items():
        assert world.live[app] == world.current(app), f"{app} is not fresh a minute after all is well"
        assert not wanted.notifies or world.notified[app] == world.live[app]
    world.lease_max_ttl = world.token_max_ttl = float("inf")
    world.configure({"three": APPS["three"]})
    world.run(500.0)
    assert {known.need for known in world.leases.values()} == {Z}
    world.take(ev.Stopping())
    world.run(5.0)
    assert is_everything_revoked(world.state)
    assert (world.leases, world.stored_leases, world.tokens, world.stored_tokens) == ({}, {}, {}, {})


@pytest.mark.long
@settings(max_examples=examples(30), deadline=None)
@given(seed=st.integers(0, 2**32), token_max_ttl=st.sampled_from([float("inf"), 300.0]))
def test_without_an_outage_a_reader_never_has_an_expired_lease(seed, token_max_ttl):
    world = World(APPS, seed=seed, ttl=120.0, token_max_ttl=token_max_ttl, lease_ttl=100.0, lease_max_ttl=250.0)
    world.write(A)
    world.run(5.0)
    forget = world.expire_old

    def watching():
        before = {app: world.used_by_readers(app) for app in world.apps}
        forget()
        for app, names in before.items():
            # Its leases are valid, or it is being notified of their successors.
            assert names <= set(world.leases) or world.state.apps[app].notification, f"{app} reads what has ended"

    world.expire_old = watching
    world.run(3000.0)
    assert not [line for line in world.log_lines if line[1] in {"lease expired", "token expired"}]
    assert not world.expired
    handovers = len(world.issued) - 3
    assert handovers >= 3 * (3000 // 310)


@pytest.mark.long
def test_all_apps_that_read_a_secret_share_one_lease_and_renewals_publish_nothing():
    world = World(APPS)
    world.write(A)
    world.run(86400.0)
    assert sorted(need.path for _, need in world.issued) == [X.path, Y.path, Z.path]
    assert len(world.published) == 3
    assert world.state.counters.lease_renewals > 3 * 30


@pytest.mark.long
def test_renewals_happen_at_random_points_between_half_and_seven_tenths_of_the_ttl():
    world = World({"app": app_spec(X)}, lease_ttl=100.0)
    world.run(86400.0)
    times = [at for at, command in world.requests if isinstance(command, cmd.RenewLease)]
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert (min(gaps) > 49.9, max(gaps) < 70.1) == (True, True)
    assert len({round(gap, 3) for gap in gaps}) > 100


@pytest.mark.no_cover
@pytest.mark.parametrize("how", ["crash", "recipe", "reload"])
def test_restarts_reloads_and_edits_issue_nothing(how):
    world = World(APPS)
    world.write(A)
    world.run(5.0)
    for number in range(5):
        match how:
            case "crash":
                world.boot()
            case "recipe":
                world.configure(world.apps | {"one": app_spec(A, X, compiled_app=f"r{number}")})
            case "reload":
                world.configure(world.apps)
        world.run(30.0)
    assert len(world.issued) == 3


@pytest.mark.no_cover
def test_a_lease_is_stored_before_it_is_used_and_a_crash_leaks_nothing():
    world = World({"app": app_spec(X)})
    obey, order = world.obey, []

    def watching(command):
        order.append(type(command).__name__)
        obey(command)

    world.obey = watching
    world.run(5.0)
    assert order.index("StoreLease") < order.index("Render")
    for _ in range(200):  # at each step of the first seconds
        world = World({"app": app_spec(X)}, seed=1)
        world.run(0.0005 * _)
        world.boot()
        world.run(5.0)
        lost = [name for name in world.leases if name not in world.stored_leases]
        # The answer may still have been on its way.
        assert len(world.issued) <= 2
        assert len(lost) == len(world.issued) - 1
        assert world.live["app"] == world.current("app")


@pytest.mark.no_cover
def test_a_denied_path_causes_no_other_issuance():
    world = World(APPS | {"bad": app_spec(X, creds("forbidden"), compiled_app="r9")})
    world.denied.add(creds("forbidden"))
    world.write(A)
    world.run(3600.0)
    assert len(world.issued) == 3
    asked = [
        at for at, command in world.requests if isinstance(command, cmd.IssueSecret) and command.need.path.endswith("n")
    ]
    assert len([at for at in asked if at <= 1060]) <= 20
    assert len(asked) < 150


def test_a_denied_path_is_requested_again_immediately_after_the_next_login():
    world = World({"app": app_spec(X)}, ttl=3600.0, token_max_ttl=3600.0)
    world.denied.add(X)
    world.run(4000.0)
    _, login = [at for at, command in world.requests if isinstance(command, cmd.Login)]
    asked = [at for at, command in world.requests if isinstance(command, cmd.IssueSecret)]
    before = max(at for at in asked if at < login)
    assert min(at for at in asked if at > login) < login + 1
    assert login - before > 1


def test_a_replaced_lease_is_not_revoked_while_the_previous_generation_has_it():
    world = World({"app": app_spec(X, notifies=False)}, lease_ttl=100.0, lease_max_ttl=1000.0)
    world.run(5.0)
    (first,) = world.leases
    while len(world.issued) == 1:
        world.run(1.0)
    world.run(10.0)
    assert len(world.published) == 2
    assert first in world.leases
    world.run(120.0)
    assert list(world.leases) != [first]
    assert first not in world.leases


def test_a_manually_revoked_lease_is_detected_at_its_renewal_and_replaced():
    world = World({"app": app_spec(X)}, lease_ttl=100.0)
    world.run(5.0)
    world.leases.clear()
    world.run(75.0)
    assert len(world.issued) == 2
    assert world.notified["app"] == world.current("app")


def test_a_lease_that_expires_during_an_outage_is_logged_immediately_and_replaced_afterwards():
    world = World({"app": app_spec(X)}, lease_ttl=100.0)
    world.run(5.0)
    world.vault = "refuses"
    old = world.live["app"]
    world.run(150.0)
    (ended,) = [line for line in world.log_lines if line[1] == "lease expired"]
    assert (ended[2]["path"], ended[2]["apps"]) == (str(X), "app")
    ((at, app, paths),) = world.expired
    assert (app, paths) == ("app", (X.path,))
    assert 1095 < at < 1105
    assert world.live["app"] == old
    world.vault = "available"
    world.run(60.0)
    assert world.notified["app"] == world.current("app") != old


def test_a_lease_ends_with_the_token_under_which_it_was_issued_also_after_the_next_login():
    world = World({"app": app_spec(X)}, lease_ttl=10_000.0)
    world.run(5.0)
    world.fail(Kind.PATH_ERROR, cmd.IssueSecret)
    world.revoke_tokens()
    world.run(30.0)
    assert world.state.session.token is not None
    assert [line for line in world.log_lines if line[1] == "lease expired"]


def test_an_agent_suspended_for_two_ttls_notes_the_expiry_and_renews_no_expired_lease():
    world = World({"app": app_spec(X)}, lease_ttl=100.0)
    world.run(5.0)
    world.now += 200.0
    before = len(world.requests)
    world.take(ev.Tick())
    assert [line for line in world.log_lines if line[1] == "lease expired"]
    world.run(3.0)
    assert not [1 for _, command in world.requests[before:] if isinstance(command, cmd.RenewLease)]
    assert world.notified["app"] == world.current("app")
    assert not world.expired  # a successor came in time


def test_a_withdrawn_app_is_published_again_with_the_next_lease():
    world = World({"app": app_spec(X)}, lease_ttl=100.0)
    world.run(5.0)
    world.vault = "refuses"
    world.run(150.0)
    del world.live["app"], world.number["app"]
    world.take(ev.Withdrawn("app"))
    world.vault = "available"
    world.run(60.0)
    assert world.notified["app"] == world.live["app"] == world.current("app")
    world.take(ev.Withdrawn("unknown"))


@pytest.mark.parametrize("kind", [Kind.DENIED, Kind.PATH_ERROR, Kind.RATE_LIMITED, Kind.UNSUPPORTED])
def test_a_lease_that_cannot_be_renewed_is_replaced_in_time(kind):
    world = World({"app": app_spec(X)}, lease_ttl=100.0)
    world.fail(kind, cmd.RenewLease)
    world.run(300.0)
    assert 3 <= len(world.issued) <= 6
    assert not [line for line in world.log_lines if line[1] == "lease expired"]
    tries = [at for at, command in world.requests if isinstance(command, cmd.RenewLease)]
    assert len(tries) <= 20 * 6


@pytest.mark.parametrize("kind", [Kind.DENIED, Kind.UNSUPPORTED])
def test_a_stored_lease_whose_look_up_is_denied_is_used_until_it_expires(kind):
    world = World({"app": app_spec(X)}, lease_ttl=100.0)
    world.run(5.0)
    world.fail(kind, cmd.LookUpLease)
    world.boot()
    world.run(5.0)
    assert len(world.issued) == 1
    world.run(100.0)
    assert world.notified["app"] == world.current("app")


def test_a_stored_lease_unknown_to_vault_is_replaced():
    world = World({"app": app_spec(X)})
    world.run(5.0)
    world.leases.clear()
    world.boot()
    world.run(10.0)
    assert len(world.issued) == 2
    assert world.notified["app"] == world.current("app")
    assert len(world.stored_leases) == 1


def test_a_stored_lease_whose_look_ups_fail_is_replaced_when_it_expires():
    world = World({"app": app_spec(X)}, lease_ttl=100.0)
    world.run(5.0)
    world.fail(Kind.PATH_ERROR, cmd.LookUpLease)
    world.boot()
    world.run(80.0)
    assert len(world.issued) == 1
    world.run(30.0)
    assert len(world.issued) == 2


@pytest.mark.parametrize("kind", [Kind.PATH_ERROR, Kind.RATE_LIMITED])
def test_a_failed_revocation_is_retried(kind):
    world = World({"app": app_spec(X, Y)})
    world.fail(kind, cmd.RevokeLease, cmd.RevokeToken, times=4)
    world.run(20.0)
    world.configure({"app": app_spec(X, compiled_app="r2")})
    world.run(60.0)
    assert {known.need for known in world.leases.values()} == {X}
    world.take(ev.Stopping())
    world.run(60.0)
    assert (world.leases, world.stored_leases) == ({}, {})


@pytest.mark.long
def test_a_lease_without_ttl_is_never_renewed():
    world = World({"app": app_spec(X)}, lease_ttl=0.0)
    issue = world.issue

    def endless(command):
        event = issue(command)
        world.leases[event.lease.lease_id].ends_at = float("inf")
        return event

    world.issue = endless
    world.run(10_000.0)
    assert not [1 for _, command in world.requests if isinstance(command, cmd.RenewLease)]
    assert len(world.issued) == 1


@pytest.mark.long
def test_in_a_month_none_of_fifty_leases_expires_or_is_renewed_late():
    # The world refuses a renewal in the last seconds.
    day = 86400.0
    needs = [creds(str(number)) for number in range(50)]
    world = World(
        {"app": app_spec(*needs, refresh_interval=day)},
        ttl=day,
        token_max_ttl=float("inf"),
        lease_ttl=day,
        lease_max_ttl=7 * day,
    )
    world.run(30 * day)
    assert not [line for line in world.log_lines if line[1] in {"token expired", "lease expired"}]
    assert 50 * 5 <= len(world.issued) <= 50 * 7
    assert world.state.counters.lease_renewals > 50 * 30
    assert len(world.leases) == 50


def test_a_lease_that_seemed_expired_but_still_exists_is_used():
    world = World({"app": app_spec(X)})
    world.run(5.0)
    ((id_, lease),) = world.stored_leases.items()
    world.stored_leases[id_] = replace(lease, sent_at=world.now - lease.ttl)  # its times were of another boot
    world.boot()
    world.run(5.0)
    assert len(world.issued) == 1
    assert world.state.leases[id_].ended_at is None
    assert world.live["app"] == world.current("app")


def test_a_capped_lease_is_replaced_as_early_as_it_would_have_been_renewed():
    world = World({"app": app_spec(X)}, lease_ttl=100.0)
    world.run(5.0)
    ((name, known),) = world.leases.items()
    known.max_at = world.now + 150.0
    world.run(85.0)
    assert name in world.leases
    assert len(world.issued) == 1
    world.run(35.0)
    assert len(world.issued) == 2
    assert known.ends_at - world.issued[1][0] >= 30.0


@pytest.mark.no_cover
@pytest.mark.parametrize("kind", [cmd.RenewLease, cmd.RenewToken, cmd.IssueSecret, cmd.LookUpLease])
def test_a_request_that_hangs_outlasts_no_lease_and_no_token(kind):
    world = World({"app": app_spec(A, X)}, ttl=60.0, lease_ttl=40.0, lease_max_ttl=90.0)
    world.write(A)
    world.run(5.0)
    unanswered = world.never_answer(kind)
    if kind is cmd.LookUpLease:
        world.boot()
    world.run(300.0)
    assert unanswered
    assert not [line for line in world.log_lines if line[1] in {"lease expired", "token expired"}]
    assert world.notified["app"] == world.current("app")


def test_an_issuance_that_an_outage_interrupts_after_its_removal_is_ignored():
    world = World({"app": app_spec(X), "two": app_spec(A, compiled_app="r2")})
    world.run_until_pending(cmd.IssueSecret)
    (number,) = [n for n, call in world.state.requests.items() if isinstance(call.command, cmd.IssueSecret)]
    world.configure({"two": app_spec(A, compiled_app="r2")})
    world.take(ev.RequestFailed(number, Failure(Kind.UNAVAILABLE, "away")))
    assert world.state.issuances == {}


def test_a_renewal_that_an_outage_interrupts_is_retried_unless_its_lease_was_revoked():
    world = World({"app": app_spec(X)}, lease_ttl=100.0)
    unanswered = world.never_answer(cmd.RenewLease)
    world.run(51.0)
    while not unanswered:
        world.run(1.0)
    world.take(ev.RequestFailed(unanswered[0].request_id, Failure(Kind.UNAVAILABLE, "the connection broke")))
    world.run(10.0)
    assert world.state.counters.lease_renewals == 1
    unanswered = world.never_answer(cmd.RenewLease)
    while not unanswered:
        world.run(1.0)
    world.take(ev.Stopping())
    world.run(0.5)
    assert world.stored_leases == {}
    world.take(ev.RequestFailed(unanswered[0].request_id, Failure(Kind.UNAVAILABLE, "the connection broke")))
    assert world.state.leases == {}


def test_an_agent_that_wakes_in_the_final_seconds_of_a_lease_replaces_it_without_a_renewal():
    world = World({"app": app_spec(X)}, lease_ttl=100.0)
    world.run(45.0)
    ((name, known),) = world.leases.items()
    world.now = known.ends_at - 1.0
    world.take(ev.Tick())
    world.run(0.9)
    assert not [1 for _, command in world.requests if isinstance(command, cmd.RenewLease)]
    assert len(world.issued) == 2
    assert world.notified["app"] == world.current("app")
    assert not [line for line in world.log_lines if line[1] == "lease expired"]
    assert name in world.leases


def test_the_remaining_apps_of_a_shared_lease_handle_its_expiry():
    world = World({"app": app_spec(X), "gone": app_spec(X, compiled_app="r2")}, lease_ttl=100.0)
    world.run(5.0)
    world.configure({"app": app_spec(X)})
    world.vault = "refuses"
    world.run(150.0)
    assert [app for _, app, _ in world.expired] == ["app"]


def test_a_refresh_of_another_path_does_not_affect_leases():
    world = World({"app": app_spec(A, X)})
    world.write(A)
    world.run(5.0)
    world.take(ev.RefreshRequested(("p/db/a",)))
    world.take(ev.RefreshRequested((X.path,)))
    world.run(5.0)
    assert len(world.issued) == 1


def test_an_issuance_that_an_outage_interrupts_is_repeated_afterwards():
    world = World({"app": app_spec(X)})
    world.fail(Kind.UNAVAILABLE, cmd.IssueSecret, times=1)
    world.run(5.0)
    assert world.notified["app"] == world.current("app")
    assert not [line for line in world.log_lines if line[1] == "vault unavailable"]


@pytest.mark.parametrize("ttl", [0.001, 1.0, 2.9])
def test_leases_that_end_too_soon_are_issued_rarely_and_never_renewed(ttl):
    world = World({"app": app_spec(A, X, refresh_interval=60.0)}, lease_ttl=ttl)
    world.write(A)
    world.run(60.0)
    kinds = [type(command).__name__ for _, command in world.requests]
    assert 3 <= kinds.count("IssueSecret") <= 7
    assert "RenewLease" not in kinds
    assert len(kinds) <= 20
    (line,) = [line for line in world.log_lines if line[1] == "lease ends too soon"]
    assert line[2]["note"] == "a lease of less than 3 s is replaced ever more rarely; set a longer ttl"
    world.lease_ttl = 3600.0
    world.run(60.0)
    assert world.live["app"] == world.current("app")
    before = len(world.requests)
    world.run(600.0)
    assert not any(isinstance(command, cmd.IssueSecret) for _, command in world.requests[before:])
