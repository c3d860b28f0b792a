"""What has no lease, such as a certificate, ends by itself, whatever becomes of the token that it was issued to."""

import pytest

from lessee.core.leases import Lease
from lessee.core.secrets import Secret
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from support.models.world import World, app_spec, creds

X = creds("x")
VALID = 3600.0


class Issuing(World):
    """The world with a role that issues certificates without leases."""

    def issue(self, command):
        self.issued.append((self.now, command.need))
        name = f"c{len(self.issued)}"
        lease = Lease(name, command.need, Secret({"lease": name}), "", command.token, self.now, self.now, VALID, False)
        return ev.SecretIssued(command.request_id, lease)


def events(world):
    return {event for _, event, _ in world.log_lines}


@pytest.mark.no_cover
def test_it_outlives_the_tokens_that_reach_their_max_ttl_and_these_are_revoked_without_waiting_for_it():
    world = Issuing({"app": app_spec(X)}, ttl=60.0, token_max_ttl=100.0)
    world.run(VALID * 0.49)
    assert world.state.counters.logins > 10
    assert (len(world.issued), len(world.published), world.expired) == (1, 1, [])
    assert any(isinstance(command, cmd.RevokeToken) for _, command in world.requests)
    assert len(world.tokens) == 1
    world.run(VALID * 0.5)
    assert len(world.issued) == 2, "its successor is issued in time before its own end"
    assert "lease expired" not in events(world)


@pytest.mark.parametrize("how", ["outage", "revoked", "crash"])
def test_it_outlives_a_token_that_ends(how):
    world = Issuing({"app": app_spec(X)}, ttl=60.0)
    world.run(5.0)
    if how != "revoked":
        world.vault = "refuses"
        world.run(120.0)
        assert world.state.session.token is None
    if how == "crash":
        world.boot()
        world.run(30.0)
    world.revoke_tokens()
    world.run(30.0)
    assert world.expired == []
    world.vault = "available"
    world.run(60.0)
    assert world.state.session.token is not None
    assert (len(world.issued), len(world.published)) == (1, 1)
    assert "lease expired" not in events(world)


def test_it_ends_by_itself_in_an_outage_that_is_longer():
    world = Issuing({"app": app_spec(X)}, ttl=60.0)
    world.run(5.0)
    world.vault = "refuses"
    world.run(VALID - 10.0)
    assert world.expired == []
    world.run(10.0)
    assert len(world.expired) == 1
    assert "lease expired" in events(world)
