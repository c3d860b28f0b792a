"""A static role is read again when it rotates; nothing is issued by that."""

import pytest

from lessee.agent.machine.kv.event_source import affected_needs
from lessee.agent.machine.leases.release import is_everything_revoked
from lessee.core.change_events import Change
from lessee.core.leases import Lease
from lessee.core.secrets import Secret
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from support.models.world import World, app_spec, creds, ref

A = ref("p/db/a")
X, Y, Z = creds("x"), creds("y"), creds("z")


class Rotating(World):
    """The world with a static role, whose password changes every 100 s."""

    def issue(self, command):
        number = int((self.now - 1000.0) // 100.0)
        left = 1100.0 + 100.0 * number - self.now
        secret = Secret({"lease": f"password {number}"})
        lease = Lease("static", command.need, secret, "", command.token, self.now, self.now, left, False, static=True)
        return ev.SecretIssued(command.request_id, lease)

    def current(self, app):
        return self.live[app]


def test_a_static_role_is_read_again_when_it_rotates_and_polled_meanwhile():
    world = Rotating({"app": app_spec(X)})
    world.run(95.0)
    looks = [at for at, command in world.requests if isinstance(command, cmd.IssueSecret)]
    assert 9 <= len(looks) <= 12
    assert len(world.published) == 1
    world.run(10.0)
    assert [at for at, *_ in world.published[1:]] == [pytest.approx(1100.5, abs=0.7)]
    assert [fields["path"] for _, event, fields in world.log_lines if event == "static role read"] == [str(X)] * 2
    assert (world.stored_leases, world.state.counters.leases_issued) == ({}, 0)
    before = len(world.requests)
    world.configure({"app": app_spec(X), "two": app_spec(X, compiled_app="r2")})
    world.take(ev.RefreshRequested((X.path,)))
    world.run(1.0)
    assert len(world.requests) == before + 1
    world.configure({"app": app_spec(A)})
    world.write(A)
    world.run(100.0)
    assert world.state.leases == {}
    world.take(ev.Stopping())
    world.run(1.0)
    assert is_everything_revoked(world.state)


def test_a_static_role_removed_from_the_configuration_while_read_leaves_nothing():
    world = Rotating({"app": app_spec(X), "two": app_spec(X, compiled_app="r2")})
    world.run_until_pending(cmd.IssueSecret)
    world.configure({"app": app_spec(A)})
    world.run(1.0)
    assert world.state.leases == {}


def test_a_static_role_read_too_late_changes_nothing():
    world = Rotating({"app": app_spec(X)})
    world.run(5.0)
    late = world.issue(cmd.IssueSecret(10**6, X, "t1"))
    before = world.state.leases
    world.take(late)
    assert world.state.leases == before


def test_a_static_role_is_read_once_immediately_however_often_its_rotation_is_reported():
    world = Rotating({"app": app_spec(X)})
    world.run(15.0)
    name = X.path.removeprefix("database/")
    assert affected_needs(world.state, Change(None, "other", name, None, "rotate", "")) == set()
    affected = affected_needs(world.state, Change(None, "database", name, None, "rotate", ""))
    assert affected == {X}
    before = len(world.requests)
    for _ in range(100):
        world.take(ev.SecretsChanged(affected))
    world.run(0.3)
    assert [command.need for _, command in world.requests[before:]] == [X]


def test_a_lease_remains_whatever_changes_are_reported():
    world = World({"app": app_spec(X)})
    world.run(5.0)
    before = len(world.requests)
    world.take(ev.SecretsChanged(frozenset({X})))
    world.run(2.0)
    assert len(world.requests) == before


class Stuck(Rotating):
    """Its static role is due, and the server does not rotate it."""

    def issue(self, command):
        secret = Secret({"lease": "password"})
        lease = Lease("static", command.need, secret, "", command.token, self.now, self.now, 0.5, False, static=True)
        return ev.SecretIssued(command.request_id, lease)


def test_a_static_role_that_is_never_rotated_is_read_ever_more_rarely():
    world = Stuck({"app": app_spec(X)})
    world.run(60.0)
    reads = [at for at, command in world.requests if isinstance(command, cmd.IssueSecret)]
    assert [at for at in reads if at < reads[0] + 2.5][2:], reads
    assert len(reads) <= 16
    before = len(world.requests)
    world.run(600.0)
    reads = [at for at, command in world.requests[before:] if isinstance(command, cmd.IssueSecret)]
    assert 50 <= len(reads) <= 80
