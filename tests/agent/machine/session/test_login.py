"""When the agent logs in, renews its token or looks it up."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessee.core.backoff import SHORT_OUTAGE, SHORT_OUTAGE_MAX_DELAY
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from support.models.world import World, app_spec, creds, folder, ref

A, B, C, D = ref("p/db/a"), ref("p/db/b"), ref("p/key/c"), ref("p/db/d")
APPS = {
    "one": app_spec(A, B, C),
    "two": app_spec(A, compiled_app="r2", notifies=False),
    "all": app_spec(folder("p/db/"), compiled_app="r3", refresh_interval=2.0),
}
X, Y, Z = creds("x"), creds("y"), creds("z")


@pytest.mark.long
def test_a_token_is_renewed_at_random_points_and_never_expires():
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


def test_a_capped_token_is_replaced_before_it_expires():
    world = World({"app": app_spec(A)}, ttl=100.0)
    world.write(A)
    world.run(10.0)
    (first,) = world.tokens
    world.ttl = 60.0  # near its max_ttl, a renewal returns less
    world.run(70.0)
    world.ttl = 100.0
    world.run(70.0)
    assert first not in world.tokens
    assert not [line for line in world.log_lines if line[1] == "token expired"]


def test_a_revoked_token_is_replaced_within_three_seconds():
    world = World(APPS)
    for secret in (A, B, C):
        world.write(secret)
    world.run(30.0)
    world.revoke_tokens()
    world.write(A)
    world.run(3.0)
    assert world.notified["one"] == world.current("one")


def test_an_already_unwrapped_token_is_logged_once_and_not_sent_again():
    world = World({"app": app_spec(A)})
    world.answer = lambda command: world.post(
        ev.RequestFailed(command.request_id, Failure(Kind.ALREADY_UNWRAPPED, "spent")), 0.01
    )
    world.boot()
    world.run(60.0)
    errors = [line for line in world.log_lines if line[0] == "error"]
    assert len(errors) == 1
    assert {type(command).__name__ for _, command in world.requests} == {"Login"}


@pytest.mark.no_cover
def test_refused_credentials_are_sent_less_often_than_the_lockout_threshold():
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
    assert len([line for line in world.log_lines if line[1] == "login failed"]) <= 2
    before = len(world.requests)
    world.take(ev.RefreshRequested())  # a user wants it tried now
    assert [command.if_changed for _, command in world.requests[before:]] == [False]


@pytest.mark.parametrize(("uses", "dynamic"), [(3, ()), (5, ()), (20, ()), (6, (X,)), (20, (X, Y))])
def test_a_token_with_a_number_of_uses_is_replaced_before_its_last_one(uses, dynamic):
    """The world's server fails the test if the agent takes the last use for anything but the revocation."""
    world = World({"app": app_spec(A, B, C, *dynamic, refresh_interval=60.0)}, token_uses=uses)
    for secret in (A, B, C):
        world.write(secret)
    world.run(600.0)
    world.write(A)
    world.run(120.0)
    assert world.notified["app"] == world.current("app")
    assert not [line for line in world.log_lines if line[0] == "warning"]
    assert len(world.tokens) <= 2
    logins = [at for at, command in world.requests if isinstance(command, cmd.Login)]
    assert 1 < len(logins) <= 720 / 5


def test_a_token_for_one_request_is_used_for_it():
    world = World({"app": app_spec(A)}, token_uses=1)
    world.use_token = lambda _token: None
    world.write(A)
    world.run(60.0)
    assert world.notified["app"] == world.current("app")


def test_a_saved_token_with_few_uses_left_is_replaced():
    world = World({"app": app_spec(A)}, token_uses=6)
    world.write(A)
    world.run(5.0)
    world.boot()
    world.run(30.0)
    assert world.notified["app"] == world.current("app")
    assert not [line for line in world.log_lines if line[0] == "warning"]


def test_a_token_from_a_file_is_used_to_its_end(monkeypatch):
    """Another login would read the same token."""
    make = World.token

    def of_a_file(*arguments):
        known = make(*arguments)
        known.token = replace(known.token, ours=False)
        return known

    monkeypatch.setattr(World, "token", of_a_file)
    monkeypatch.setattr(World, "use_token", lambda *_: None)
    world = World({"app": app_spec(A)}, token_uses=6)
    world.write(A)
    world.run(60.0)
    assert len([1 for _, command in world.requests if isinstance(command, cmd.Login)]) == 1


@pytest.mark.no_cover
@pytest.mark.parametrize(("seconds", "longest"), [(60.0, 30.0), (3600.0, 60.0)])
def test_a_login_that_is_forbidden_without_a_word_about_credentials_is_soon_sent_again(seconds, longest):
    """403 for everything is an outage: it ends without new credentials."""
    world = World({"app": app_spec(A)})
    world.write(A)
    world.run(30.0)
    answer, before = world.answer, len(world.requests)

    def forbid(command):
        kind = Kind.FORBIDDEN if isinstance(command, cmd.Login) else Kind.DENIED
        world.post(ev.RequestFailed(command.request_id, Failure(kind, "403")), 0.01)

    world.answer = forbid
    world.run(seconds)
    sent = world.requests[before:]
    asked = [at for at, command in sent if isinstance(command, cmd.Login) and not command.if_changed]
    assert max(b - a for a, b in itertools.pairwise(asked)) <= longest
    assert len(asked) < 20 + seconds / 20
    world.answer = answer
    world.write(A)
    world.run(longest)
    assert world.notified["app"] == world.current("app")


def test_new_credentials_are_found_soon_while_the_old_ones_are_forbidden():
    world = World({"app": app_spec(A)})
    world.answer = lambda command: world.post(
        ev.RequestFailed(command.request_id, Failure(Kind.FORBIDDEN, "403")), 0.01
    )
    world.boot()
    world.run(600.0)
    looked = [at for at, _ in world.requests]
    assert max(b - a for a, b in itertools.pairwise(looked)) <= 6


def test_a_login_that_waits_for_a_person_is_asked_for_every_few_seconds_and_is_no_failure():
    world = World({"app": app_spec(A)})
    answer, pending = world.answer, Failure(Kind.PENDING, "waiting")
    world.answer = lambda command: world.post(ev.RequestFailed(command.request_id, pending), 0.01)
    world.boot()
    world.run(300.0)
    logins = [at for at, command in world.requests if not command.if_changed]
    assert max(b - a for a, b in itertools.pairwise(logins)) <= 6
    assert not [line for line in world.log_lines if line[1] == "login failed"]
    world.write(A)
    world.answer = answer
    world.run(8.0)
    assert world.notified["app"] == world.current("app")


@pytest.mark.long
@settings(max_examples=30)
@given(kind=st.sampled_from([Kind.RATE_LIMITED, Kind.DENIED, Kind.INVALID]), seed=st.integers(0, 99))
def test_a_rate_limited_renewal_is_retried_and_a_denied_one_causes_a_login(kind, seed):
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


def test_a_renewal_that_the_server_fails_is_soon_retried():
    world = World({"app": app_spec(A)}, ttl=1000.0)
    world.fail(Kind.PATH_ERROR, cmd.RenewToken)
    world.run(735.0)
    failed = [at for at, command in world.requests if isinstance(command, cmd.RenewToken)]
    early = [at for at in failed if at < failed[0] + SHORT_OUTAGE]
    assert len(early) >= 6
    assert max(b - a for a, b in itertools.pairwise(early)) < SHORT_OUTAGE_MAX_DELAY + 0.1


def test_a_token_whose_renewal_is_not_allowed_is_replaced_before_it_expires():
    world = World({"app": app_spec(A)}, ttl=100.0)
    world.fail(Kind.UNSUPPORTED, cmd.RenewToken)
    world.run(99.0)
    kinds = [type(command).__name__ for _, command in world.requests]
    assert (kinds.count("RenewToken"), kinds.count("Login")) == (1, 2)
    assert not [line for line in world.log_lines if line[1] == "token expired"]


def test_a_denied_path_causes_a_look_up_and_no_login_with_a_valid_token():
    world = World({"app": app_spec(A)})
    world.write(A)
    world.denied.add(A)
    world.run(120.0)
    kinds = [type(command).__name__ for _, command in world.requests]
    assert kinds.count("Login") == 1
    assert 2 <= kinds.count("LookUpToken") <= 12


def test_a_rate_limited_login_waits_for_retry_after():
    world = World({"app": app_spec(A)})
    world.answer = lambda command: world.post(
        ev.RequestFailed(command.request_id, Failure(Kind.RATE_LIMITED, "slow", 30.0)), 0.01
    )
    world.boot()
    world.run(100.0)
    assert 2 <= len(world.requests) <= 5


@pytest.mark.parametrize("ttl", [0.001, 1.0, 2.9])
def test_tokens_that_end_too_soon_cause_few_logins(ttl):
    world = World({"app": app_spec(A, X, refresh_interval=60.0)}, ttl=ttl)
    world.write(A)
    world.run(60.0)
    assert len(world.requests) <= 20
    assert 3 <= sum(isinstance(command, cmd.Login) for _, command in world.requests) <= 7
    world.ttl = 3600.0
    world.run(60.0)
    before = len(world.requests)
    world.run(600.0)
    assert not any(isinstance(command, cmd.Login) for _, command in world.requests[before:])


def test_tokens_that_are_rejected_soon_after_each_login_cause_few_logins():
    world = World({"app": app_spec(A, refresh_interval=60.0)}, ttl=3.0)
    answer = world.answer

    def refusing(command):
        if isinstance(command, cmd.RenewToken | cmd.LookUpToken):
            world.post(ev.RequestFailed(command.request_id, Failure(Kind.DENIED, "no")), 0.01)
        else:
            answer(command)

    world.answer = refusing
    world.run(60.0)
    assert 3 <= sum(isinstance(command, cmd.Login) for _, command in world.requests) <= 8


def test_a_token_that_expires_during_an_outage_is_replaced_afterwards():
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


def test_a_denied_path_without_the_right_to_look_up_the_token_costs_few_logins():
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


def test_a_look_up_that_an_outage_interrupts_is_repeated():
    world = World({"app": app_spec(A)})
    answer, unanswered = world.answer, []

    def swallowing(command):
        if isinstance(command, cmd.LookUpToken) and not unanswered:
            unanswered.append(world.now)
            world.post(ev.RequestFailed(command.request_id, Failure(Kind.UNAVAILABLE, "away")), 0.01)
        else:
            answer(command)

    world.write(A)
    world.denied.add(A)
    world.answer = swallowing
    world.run(30.0)
    checks = [at for at, command in world.requests if isinstance(command, cmd.LookUpToken)]
    assert checks[1] - checks[0] < 2


def test_each_of_many_token_revocations_is_detected_within_seconds():
    world = World({"app": app_spec(A)})
    world.write(A)
    world.run(5.0)
    for _ in range(8):
        world.revoke_tokens()
        world.write(A)
        world.run(12.0)
        assert world.live["app"] == world.current("app")


def test_a_revoked_token_and_its_leases_are_replaced_within_three_seconds():
    world = World({"app": app_spec(A, X, Y)})
    world.write(A)
    world.run(30.0)
    world.revoke_tokens()
    world.run(3.0)
    assert world.notified["app"] == world.live["app"] == world.current("app")
    assert {known.token for known in world.leases.values()} == {"t2"}


@pytest.mark.no_cover
@pytest.mark.parametrize("command", [cmd.LookUpToken, cmd.RenewToken])
def test_a_valid_token_without_the_right_to_renew_or_look_itself_up_is_used_until_it_expires(command):
    world = World({"app": app_spec(A, X)}, ttl=100.0)
    world.fail(Kind.UNSUPPORTED, command)
    world.write(A)
    world.run(5.0)
    world.denied.add(A)
    world.write(A)
    world.run(30.0)
    assert world.state.counters.logins == 1
    world.denied.discard(A)
    world.run(120.0)
    assert world.state.counters.logins == (1 if command is cmd.LookUpToken else 2)
    assert world.notified["app"] == world.current("app")
    assert not [line for line in world.log_lines if line[1] in {"token expired", "lease expired", "token rejected"}]


@pytest.mark.no_cover
@pytest.mark.parametrize("kind", [Kind.PATH_ERROR, Kind.RATE_LIMITED])
def test_a_token_whose_renewals_fail_is_replaced_before_its_end(kind):
    world = World({"app": app_spec(A, X)}, ttl=100.0)
    world.fail(kind, cmd.RenewToken)
    world.write(A)
    world.run(300.0)
    assert 3 <= world.state.counters.logins <= 5
    assert not [line for line in world.log_lines if line[1] in {"token expired", "lease expired"}]
    assert len([1 for _, command in world.requests if isinstance(command, cmd.RenewToken)]) <= 60


def test_a_denied_renewal_after_the_token_expired_changes_nothing():
    world = World({"app": app_spec(X)}, ttl=4.0)
    world.run(1.0)
    answer, held = world.answer, []
    world.answer = lambda command: held.append(command) if isinstance(command, cmd.RenewToken) else answer(command)
    world.vault = "hangs"
    world.run(3.1)
    world.vault = "available"
    assert world.state.session.token is None
    world.take(ev.RequestFailed(held[0].request_id, Failure(Kind.DENIED, "permission denied (403)")))
    world.answer = answer
    world.run(10.0)
    assert world.notified["app"] == world.current("app")


@pytest.mark.no_cover
def test_a_revoked_token_is_detected_within_ten_seconds_without_other_requests():
    world = World({"app": app_spec(X)})
    for _ in range(5):
        world.run(333.3)
        world.revoke_tokens()
        world.run(10.0)
        assert world.notified["app"] == world.live["app"] == world.current("app")
    before = len(world.requests)
    world.run(600.0)
    assert len(world.requests) - before <= 90


def test_a_token_without_the_right_to_look_itself_up_is_rarely_looked_up():
    world = World({"app": app_spec(X)})
    world.fail(Kind.UNSUPPORTED, cmd.LookUpToken)
    world.run(3600.0)
    assert len([1 for _, command in world.requests if isinstance(command, cmd.LookUpToken)]) <= 8


def test_a_login_precedes_an_issuance_that_would_expire_with_the_token():
    world = World({"app": app_spec(X)}, ttl=100.0, lease_ttl=100.0)
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
    world.stored_tokens.clear()
    world.boot()
    world.run(1000.0)
    assert world.state.counters.logins == len(world.issued)
    assert 14 <= len(world.issued) <= 20
    assert not [line for line in world.log_lines if line[1] in {"lease expired", "token expired"}]


@pytest.mark.long
def test_a_token_without_ttl_can_be_looked_up():
    world = World({"app": app_spec(A, X)})
    token = world.token

    def endless(name, born_at):
        known = token(name, born_at)
        known.token, known.ends_at = replace(known.token, ttl=0.0, renewable=False), float("inf")
        return known

    world.token = endless
    world.tokens.clear()
    world.stored_tokens.clear()
    world.boot()
    serve = world.serve

    def looking(command):
        if isinstance(command, cmd.LookUpToken):
            return ev.TokenRenewed(command.request_id, world.state.session.token)
        return serve(command)

    world.serve = looking
    world.write(A)
    world.run(5.0)
    world.denied.add(A)
    world.write(A)
    world.run(10_000.0)
    assert world.state.counters.logins == 1
    assert not [1 for _, command in world.requests if isinstance(command, cmd.RenewToken)]
