"""How long the agent's rounds take: from the first read of KV secrets until none is under way."""

import pytest

from lessee.agent.machine.state import ROUND_BOUNDS, Rounds
from lessee.agent.machine.status.view import IdentityStatus, status
from lessee.core.failures import Kind
from lessee.protocol import commands as cmd
from support.models.world import World, app_spec, ref

A, B, C = ref("p/db/a"), ref("p/key/b"), ref("p/other/c")


def world(*needs, latency=0.02):
    made = World({"one": app_spec(*needs)}, latency=latency)
    for need in needs:
        made.write(need)
    return made


def rounds(made):
    identity = IdentityStatus("1", "https://v", made.state)
    return status([identity], made.now, 1_790_000_000.0, environment=None)["rounds"]


def test_a_round_lasts_until_the_last_answer_of_all_that_was_due_together():
    made = world(A, B, C)
    made.run(30.0)
    found = rounds(made)
    # Three folders that are checked each second, in rounds that may overlap, and are one then.
    assert 25 <= found["count"] <= 95
    # An answer takes 10 to 60 ms, and a round has few requests one after another.
    assert 0.01 * found["count"] <= found["sum"] <= 0.5 * found["count"]
    counts = [number for _, number in found["buckets"]]
    assert counts == sorted(counts)
    assert [bound for bound, _ in found["buckets"]] == list(ROUND_BOUNDS)
    assert counts[-1] == found["count"]


def test_a_slow_server_makes_slow_rounds():
    made = world(A, latency=0.6)
    made.run(60.0)
    found = rounds(made)
    upper = dict(found["buckets"])
    assert upper[0.25] == 0
    assert upper[10.0] == found["count"] > 5


def test_a_round_that_ends_in_an_outage_is_not_counted():
    made = world(A)
    made.run(10.0)
    before = rounds(made)
    made.vault = "refuses"
    made.run(120.0)
    # One round may have begun before the outage was noticed.
    assert rounds(made)["count"] <= before["count"] + 1
    assert made.state.rounds.since is None or made.state.requests
    made.vault = "available"
    made.run(60.0)
    assert rounds(made)["count"] > before["count"] + 20


def test_a_denied_path_does_not_keep_a_round_open():
    made = world(A, B)
    made.fail(Kind.DENIED, cmd.ReadMetadata, cmd.ReadSecret, times=3)
    made.run(60.0)
    assert made.state.rounds.since is None or any(
        isinstance(request.command, cmd.ReadingCommand) for request in made.state.requests.values()
    )
    assert rounds(made)["count"] > 20


@pytest.mark.parametrize(("seconds", "index"), [(0.005, 0), (0.0051, 1), (60.0, 12), (61.0, 13), (-5.0, 0)])
def test_each_round_is_in_one_bucket(seconds, index):
    found = Rounds(since=0.0).ended(seconds)
    assert (found.since, found.total, sum(found.counts), found.counts[index]) == (None, max(0.0, seconds), 1, 1)


def test_the_status_has_the_rounds_of_all_identities():
    one, two = world(A), world(B)
    for made in (one, two):
        made.run(10.0)
    both = status(
        [IdentityStatus(str(index), "https://v", made.state) for index, made in enumerate((one, two))],
        one.now,
        1_790_000_000.0,
        environment=None,
    )["rounds"]
    assert both["count"] == rounds(one)["count"] + rounds(two)["count"]
    assert both["sum"] == pytest.approx(rounds(one)["sum"] + rounds(two)["sum"], abs=1e-5)
