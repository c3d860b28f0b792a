"""No login of a client fails while its credential is rotated, with real agents and servers, and killed rotators."""

from random import Random

import pytest

from support.environments.verified_clients import verified_clients
from support.systems.verified import AgeIdentities, BasicAuthUsers, JwtKeys, SigningKeys, SshKeys, TotpSeeds
from support.thorough import sampled

KILLS = 3
KINDS = [AgeIdentities, BasicAuthUsers, JwtKeys, SigningKeys, SshKeys, TotpSeeds]
"""`make bench BENCHMARKS=verified_clients` kills a rotator of each thirty times."""


@pytest.mark.thorough
@pytest.mark.parametrize("kind", list(sampled(KINDS, of=3, key="verified")))
def test_no_login_fails_while_a_rotator_is_killed_at_random(bao, tmp_path, memory, kind):
    chance = Random(17)  # noqa: S311  # The random moments are no secret.
    with verified_clients(bao, tmp_path, memory, kind) as (target, clients):
        for _ in range(KILLS):
            target.rotate_and_kill_after(chance.uniform(0.0, 1.0), begun=True)
            target.recover()
        target.rotate()
        clients.stop()
        assert clients.failures == []
        assert clients.logins > KILLS
        assert len(clients.used) > 1
        assert target.system.orphans(target.fields()) == set()
