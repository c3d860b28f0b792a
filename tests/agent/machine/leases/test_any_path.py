"""What vault() requests at any path is requested again when its call says so, and is retained until then."""

import pytest

from lessee.agent.machine.kv.event_source import affected_needs
from lessee.agent.machine.leases.renewal import schedule
from lessee.agent.machine.leases.state import HeldLease
from lessee.agent.machine.status.view import IdentityStatus, fresh, problems
from lessee.agent.machine.step import start
from lessee.agent.machine.transaction import Transaction
from lessee.core.change_events import Change
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.core.leases import Lease, digest_of
from lessee.core.paths import DynamicSecret, Input
from lessee.core.secrets import Secret
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from support.models.world import World, app_spec, ref

POLLED = DynamicSecret("team-b/data/x", every=60.0)
ONCE = DynamicSecret("team-b/data/x", every=0.0)
MADE = DynamicSecret("transit/encrypt/app", (("plaintext", "p"),), "POST", every=100.0)
MADE_ONCE = DynamicSecret("transit/encrypt/app", (("plaintext", "p"),), "POST", every=0.0)
CAPPED = DynamicSecret("database/creds/x", every=100.0)


class Answering(World):
    """The world in which a path has an answer that changes at times, and another makes something for each request."""

    value, fails, made, ttl_of_made = 1, None, 0, 0.0

    def issue(self, command):
        need = command.need
        if self.fails is not None:
            return ev.RequestFailed(command.request_id, self.fails)
        self.made += not need.is_polled
        data = {"value": self.value if need.is_polled else f"made {self.made}"}
        name = f"static-{self.value}" if need.is_polled else f"made-{self.made}"
        ttl, static = self.ttl_of_made, need.is_polled
        lease = Lease(
            name,
            need,
            Secret(data),
            "",
            command.token,
            self.now,
            self.now,
            0.0 if static else ttl,
            False,
            static=static,
        )
        return ev.SecretIssued(command.request_id, lease)

    def asked(self):
        return [at for at, command in self.requests if isinstance(command, cmd.IssueSecret)]


@pytest.fixture
def world_of():
    return lambda need, **settings: Answering({"app": app_spec(need, refresh_interval=1.0)}, **settings)


def test_a_path_is_read_as_often_as_its_call_says_and_published_when_its_answer_changes(world_of):
    world = world_of(POLLED)
    world.run(600.0)
    gaps = [after - before for before, after in zip(world.asked(), world.asked()[1:], strict=False)]
    assert len(gaps) >= 9
    assert all(54.0 <= gap <= 61.0 for gap in gaps)
    assert len(world.published) == 1
    world.value = 2
    world.run(61.0)
    assert len(world.published) == 2
    assert [fields["path"] for _, event, fields in world.log_lines if event == "path read"] == [str(POLLED)] * 2
    assert (world.stored_leases, world.state.counters.leases_issued) == ({}, 0)


@pytest.mark.no_cover
def test_a_path_is_read_immediately_when_a_user_or_an_event_source_says_so(world_of):
    world = world_of(ONCE)
    world.run(10_000.0)
    assert len(world.asked()) == 1
    world.take(ev.RefreshRequested(()))
    world.run(1.0)
    assert len(world.asked()) == 2
    for mount, path in {"team-b": "x", "team-b/data": "x"}.items():
        assert affected_needs(world.state, Change(None, mount, path, 2, "update", "")) == {ONCE}
    assert affected_needs(world.state, Change(None, "team-b", "y", 2, "update", "")) == set()
    world.take(ev.SecretsChanged(frozenset({ONCE})))
    world.run(1.0)
    assert len(world.asked()) == 3


def test_an_answer_stays_published_while_its_path_cannot_be_read_and_is_not_fresh(world_of):
    world = world_of(POLLED)
    world.run(10.0)
    assert fresh(world.state, world.now)
    world.fails = Failure(Kind.NOT_FOUND, "not found (404)")
    world.run(400.0)
    [line] = problems(IdentityStatus("id", "address", world.state), world.now)
    assert line == f"{POLLED}: not read: not found (404)"
    assert not fresh(world.state, world.now)
    assert ("path not read", str(POLLED)) in [(event, fields.get("path")) for _, event, fields in world.log_lines]
    assert len(world.published) == 1
    assert world.expired == []
    world.fails = None
    world.run(400.0)
    assert fresh(world.state, world.now)
    assert problems(IdentityStatus("id", "address", world.state), world.now) == []


@pytest.mark.long
def test_an_answer_that_is_read_once_stays_fresh(world_of):
    world = world_of(ONCE)
    world.run(10_000.0)
    assert fresh(world.state, world.now)


def test_a_rollback_may_return_to_the_previous_answer_of_a_path():
    spec = app_spec(POLLED, refresh_interval=1.0, probes=True)
    world = Answering({"app": spec})
    world.run(10.0)
    before = world.live["app"]
    world.is_ready = lambda generation: generation == before
    world.value = 2
    world.run(120.0)
    assert world.live["app"] == before
    assert world.state.counters.rollbacks == 1


def test_what_is_made_remains_over_restarts_until_its_call_says_so(world_of):
    world = world_of(MADE)
    world.run(50.0)
    assert [lease.need for lease in world.stored_leases.values()] == [MADE]
    world.boot()
    world.run(30.0)
    assert (world.made, len(world.published)) == (1, 1)
    world.run(25.0)
    assert (world.made, len(world.published)) == (2, 2)
    world.run(30.0)  # The predecessor is forgotten, and nothing is revoked.
    assert [lease.id for lease in world.stored_leases.values()] == ["made-2"]
    assert not [command for _, command in world.requests if isinstance(command, cmd.RevokeLease)]


@pytest.mark.long
def test_what_is_made_once_is_made_again_only_for_another_call(world_of):
    world = world_of(MADE_ONCE)
    world.run(10_000.0)
    world.boot()
    world.run(10_000.0)
    assert (world.made, world.expired) == (1, [])
    world.configure({"app": app_spec(MADE)})
    world.run(1.0)
    assert world.made == 2


A = ref("p/db/a")
DERIVED = DynamicSecret("transit/decrypt/x", (), "POST", every=0.0, inputs=(Input("ciphertext", A, ("v",)),))
MISSING = DynamicSecret("transit/decrypt/x", (), "POST", every=0.0, inputs=(Input("ciphertext", A, ("v", "w")),))


class Deriving(World):
    """The world in which a path returns what it was sent, or refuses it."""

    refuses = frozenset()
    sent = ()

    def issue(self, command):
        self.sent = (*self.sent, command.inputs)
        if command.inputs["ciphertext"] in self.refuses:
            return ev.RequestFailed(command.request_id, Failure(Kind.INVALID, "Vault refused the request (400)"))
        secret = Secret({"clear": command.inputs["ciphertext"]})
        name = f"made-{len(self.sent)}"
        digest = digest_of(command.inputs)
        lease = Lease(name, command.need, secret, "", command.token, self.now, self.now, 0.0, False, inputs=digest)
        return ev.SecretIssued(command.request_id, lease)


def deriving(need=DERIVED, **settings):
    world = Deriving({"app": app_spec(need, A)}, **settings)
    world.write(A)
    return world


def test_another_value_of_a_parameter_makes_another_request_and_both_are_published_together():
    world = deriving()
    world.run(100.0)
    assert [inputs["ciphertext"] for inputs in world.sent] == [1]
    world.write(A)
    world.run(10.0)
    assert [inputs["ciphertext"] for inputs in world.sent] == [1, 2]
    assert len(world.published) == 2
    world.run(60.0)
    assert len(world.stored_leases) == 1


def test_what_was_made_for_the_value_of_a_parameter_is_made_again_after_a_restart_only_for_another():
    world = deriving()
    world.run(10.0)
    world.boot()
    world.run(100.0)
    assert len(world.sent) == 1
    world.write(A)
    world.boot()
    world.run(10.0)
    assert [inputs["ciphertext"] for inputs in world.sent] == [1, 2]
    assert len(world.published) == 2


@pytest.mark.no_cover
def test_a_value_that_is_refused_leaves_the_files_and_the_next_one_is_tried_at_once():
    world = deriving()
    world.run(10.0)
    world.refuses = frozenset({2})
    world.write(A)
    world.run(300.0)
    assert len(world.published) == 1
    assert [line for line in problems(IdentityStatus("id", "address", world.state), world.now) if "refused" in line]
    world.write(A)
    world.run(3.0)
    assert len(world.published) == 2
    assert world.sent[-1] == {"ciphertext": 3}
    assert problems(IdentityStatus("id", "address", world.state), world.now) == []


def test_nothing_is_requested_while_the_secret_of_a_parameter_is_not_known():
    world = deriving()
    world.delete(A)
    world.run(100.0)
    assert (world.sent, world.published) == ((), [])
    world.write(A)
    world.run(60.0)
    assert len(world.published) == 1
    world.delete(A)
    world.run(100.0)
    assert (len(world.sent), len(world.published)) == (1, 1)


def test_a_field_that_a_secret_does_not_have_is_reported_to_the_engine():
    world = deriving(MISSING)
    world.run(10.0)
    assert world.sent[0] == {"ciphertext": None}  # The engine refuses it, and names the field.


@pytest.mark.no_cover
def test_a_value_that_changes_during_the_request_makes_another_one():
    world = deriving(latency=5.0)
    world.run_until_pending(cmd.IssueSecret)
    world.write(A)
    world.run(60.0)
    assert [inputs["ciphertext"] for inputs in world.sent] == [1, 2]
    assert 1 <= len(world.published) <= 2


@pytest.mark.no_cover
def test_an_outage_longer_than_the_token_ends_nothing_that_has_no_end(world_of):
    for need in MADE, POLLED:
        world = world_of(need, ttl=60.0)
        world.run(10.0)
        world.vault = "refuses"
        world.run(10_000.0)
        assert (world.expired, len(world.published)) == ([], 1)
        assert problems(IdentityStatus("id", "address", world.state), world.now)
        world.vault, world.value = "available", 2
        world.run(300.0)
        assert len(world.published) >= 2
        assert fresh(world.state, world.now)


@pytest.mark.no_cover
def test_what_has_an_end_is_made_again_before_it_and_as_often_as_its_call_says(world_of):
    world = world_of(CAPPED)
    world.ttl_of_made = 10_000.0
    world.run(1000.0)
    assert 10 <= world.made <= 12
    world = world_of(CAPPED)
    world.ttl_of_made = 50.0
    world.run(1000.0)
    assert 28 <= world.made <= 41
    assert world.expired == []


def test_a_renewable_lease_is_replaced_as_often_as_its_call_says_and_renewed_until_then():
    tx = Transaction(start(1), 1000.0)
    for every, until in {100.0: 1100.0, 10_000.0: 4240.0}.items():
        need = DynamicSecret("database/creds/x", every=every)
        lease = Lease("l", need, Secret({}), "database/creds/x/l", "t", 1000.0, 1000.0, 3600.0, renewable=True)
        held = schedule(tx, HeldLease(lease))
        assert 2800.0 <= held.renew_at <= 3520.0
        assert 0.88 * until <= held.replace_at <= until
    renewed = schedule(tx, HeldLease(replace(lease, need=CAPPED, sent_at=1090.0)))
    assert renewed.replace_at <= 1100.0
