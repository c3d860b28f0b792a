"""With an event source, the agent reads what it names immediately, and polls the rest rarely."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessee.agent.machine.kv.event_source import PATH_BURST, PATH_INTERVAL, TOTAL_BURST, TOTAL_INTERVAL, affected_needs
from lessee.agent.machine.status.view import fresh
from lessee.core.change_events import Change
from lessee.core.paths import Ref
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from support.models.world import World, app_spec, creds, folder, ref

A, B, C, D = ref("p/db/a"), ref("p/db/b"), ref("p/key/c"), ref("p/db/d")
POLL = 60.0
FEW = 30
"""Examples of a long world: as many as the others' time allows."""


def world(*needs, written=(A, B, C), live=True, refresh_interval=1.0, **more):
    """An agent that has read all secrets and, if `live`, has an event source."""
    it = World({"app": app_spec(*needs, refresh_interval=refresh_interval)}, **more)
    for secret in written:
        it.write(secret)
    it.run(5.0)
    if live:
        it.set_event_source(live=True)
        it.run(POLL + 4.0)
    it.requests.clear()
    return it


def reads(it, ref=None):
    return [c for _, c in it.requests if isinstance(c, cmd.ReadSecret) and ref in {None, c.ref}]


def affected(it, operation, path, mount="secret"):
    return affected_needs(it.state, Change(None, mount, path, None, operation, ""))


def test_a_change_in_a_namespace_is_known_to_each_login_above_it():
    own, below, deep = (Ref(f"{namespace}kv", "p/a") for namespace in ("", "team/", "org/team/"))
    it = world(own, below, deep, written=(own, below, deep))

    def read(namespace):
        return affected_needs(it.state, Change(None, "kv", "p/a", None, "update", "", namespace))

    assert read("") == {own}
    assert read("other/team") == {own, below}
    assert read("org/team") == {own, below, deep}


def test_a_reported_change_is_published_after_one_read():
    it = world(A, B, C)
    it.write(B)
    it.report_change(B)
    it.run(0.1)
    assert it.live["app"] == it.current("app")
    assert [type(c) for _, c in it.requests] == [cmd.ReadSecret]


def test_with_an_event_source_the_agent_polls_once_a_minute():
    many = [ref(f"p/many/s{n}") for n in range(100)]
    it = world(*many, written=many)
    it.run(600.0)
    assert 10 <= len(it.requests) <= 12


def test_an_unreported_change_is_detected_by_the_next_poll():
    it = world(A)
    it.write(A)
    it.run(POLL + 1.0)
    assert it.live["app"] == it.current("app")


def test_without_its_event_source_the_agent_detects_a_change_within_refresh_interval():
    it = world(A, B, C)
    it.set_event_source(live=False)
    it.write(A)
    it.write(C)
    it.run(1.1)
    assert it.live["app"] == it.current("app")
    assert fresh(it.state, it.now)
    it.requests.clear()
    it.run(10.0)
    assert len(it.requests) >= 18  # of two folders


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_of_the_event_source_delays_no_check(seed):
    it = world(A, C, refresh_interval=100.0, seed=seed)
    due = {ref: it.state.secrets[ref].next_at for ref in (A, C)}
    it.set_event_source(live=False)
    assert all(it.state.secrets[ref].next_at <= at for ref, at in due.items())


@pytest.mark.no_cover
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("silent", "within"), [(0.0, 10.0), (7.0, 3.0), (60.0, 2.5)])
def test_a_change_while_the_source_was_silent_is_detected_within_refresh_interval_of_the_silence(silent, within, seed):
    it = world(A, C, refresh_interval=10.0, seed=seed)
    it.write(A)  # the source does not report it
    it.write(C)
    it.set_event_source(live=False, silent_for=silent)
    soon = [it.state.secrets[ref].next_at - it.now for ref in (A, C)]
    assert all(0 <= wait <= within for wait in soon)
    assert len(set(soon)) == 2  # they are spread out
    it.run(within + 0.1)
    assert it.live["app"] == it.current("app")


def test_with_an_event_source_from_the_start_each_secret_is_read_once():
    it = World({"app": app_spec(A, B)})
    for secret in (A, B):
        it.write(secret)
    it.set_event_source(live=True)  # the login is under way
    it.run(30.0)
    assert it.live["app"] == it.current("app")
    assert len(reads(it)) == 2


def test_a_change_before_the_source_was_live_is_detected_within_refresh_interval():
    it = world(A, B, live=False)
    it.write(A)
    it.set_event_source(live=True)
    it.run(1.1)
    assert it.live["app"] == it.current("app")


@pytest.mark.parametrize(("needs", "asked"), [((A,), cmd.ReadMetadata), ((A, B), cmd.ListFolder)])
def test_reads_that_were_pending_when_the_source_became_live_are_repeated(needs, asked):
    it = world(*needs, live=False, latency=0.4)
    while not any(isinstance(call.command, asked) for call in it.state.requests.values()):
        it.run(0.01)
    # It has been answered, and the answer is still on its way.
    it.write(A)
    it.set_event_source(live=True)
    it.run(5.0)
    assert it.live["app"] == it.current("app")
    it.requests.clear()
    it.run(120.0)
    assert len(it.requests) <= 3


@pytest.mark.no_cover
def test_a_burst_of_a_thousand_writes_costs_few_reads_and_the_last_is_published():
    it = world(A)
    for _ in range(1000):
        it.write(A)
        it.report_change(A)
        it.run(0.001)
    it.run(PATH_INTERVAL + 0.1)
    assert it.live["app"] == it.current("app")
    assert len(reads(it)) <= PATH_BURST + 1 / PATH_INTERVAL + 1


def test_the_first_changes_of_a_path_are_published_without_a_wait():
    it = world(A)
    for _ in range(PATH_BURST):
        it.write(A)
        it.report_change(A)
        it.run(0.05)
        assert it.live["app"] == it.current("app")


def test_a_change_during_a_read_causes_one_more_read():
    it = world(A, latency=0.2)
    it.write(A)
    it.report_change(A)
    it.write(A)  # after the server has answered
    it.report_change(A)
    it.report_change(A)
    it.run(1.5)
    assert it.live["app"] == it.current("app")
    assert len(reads(it)) == 2


@pytest.mark.no_cover
def test_a_forged_event_costs_one_read_and_a_flood_of_them_a_few_per_second():
    it = world(A)
    it.report_change(A)
    it.run(5.0)
    assert len(it.requests) == 1
    it.requests.clear()
    for _ in range(2000):
        it.report_change(A)
        it.run(0.005)
    assert len(it.requests) <= PATH_BURST + 10 / PATH_INTERVAL + 2


@pytest.mark.no_cover
def test_a_flood_of_events_about_all_paths_is_bounded_too():
    many = [ref(f"p/many/s{n}") for n in range(200)]
    it = world(*many, written=many)
    for _ in range(20):
        for one in many:
            it.report_change(one)
        it.run(0.1)
    assert len(it.requests) <= TOTAL_BURST + 2 / TOTAL_INTERVAL + 5


def test_an_event_about_an_unknown_path_is_ignored():
    it = world(A, folder("p/key/"), creds("web"))
    assert affected(it, "update", "p/db/unknown") == set()
    assert affected(it, "update", "p/db/a", mount="other") == set()
    assert affected(it, "update", "policies/acl/a", mount="sys") == set()
    assert affected(it, "rotate", "creds/other", mount="database") == set()
    assert affected(it, "update", "p/db/a") == {A}


def test_a_pinned_secret_does_not_change():
    pinned = Ref("secret", "p/db/a", 1)
    it = world(pinned, B)
    it.take(ev.SecretsChanged(frozenset({pinned, D, folder("p/none/"), creds("unknown")})))
    it.run(1.0)
    assert not it.requests


def test_added_and_removed_secrets_of_a_folder_change_its_files():
    it = world(folder("p/db/"))
    it.write(D)
    it.report_change(D)
    it.run(0.2)
    assert it.live["app"] == it.current("app")
    assert len(it.requests) == 2  # the list, and the new one
    it.take(*[ev.SecretsChanged(frozenset({folder("p/db/")}))] * 5)
    it.run(1.0)
    assert len(it.requests) == 2 + PATH_BURST - 2  # several together are one
    it.delete(A)
    it.report_change(A, "remove")
    it.run(0.2)
    assert it.live["app"] == it.current("app")


def test_a_known_secret_of_a_folder_is_read_without_a_list():
    it = world(folder("p/db/"))
    it.write(A)
    it.report_change(A)
    it.run(0.2)
    assert it.live["app"] == it.current("app")
    assert len(it.requests) == 1


def test_a_restored_secret_is_read_immediately():
    it = world(A)
    it.delete(A)
    it.report_change(A, "delete")
    it.run(1.0)
    assert it.state.secrets[A].failure is not None
    it.write(A)
    it.report_change(A)
    it.run(0.5)
    assert it.live["app"] == it.current("app")


def test_secrets_without_readable_metadata_are_read_when_reported_and_otherwise_rarely():
    for more in ({"version": 1}, {"lists_metadata": False}):
        it = world(A, B, **more)
        it.run(600.0)
        assert len(it.requests) <= 2 * 12
        it.write(A)
        it.report_change(A)
        it.run(0.1)
        assert it.live["app"] == it.current("app")


def test_the_jitter_spreads_the_reads_of_many_agents():
    times = []
    for seed in range(40):
        it = world(A, seed=seed)
        it.set_event_source(live=True, jitter=2.0)
        began = it.now
        it.report_change(A)
        it.run(2.5)
        assert len(it.requests) == 1
        times.append(it.requests[0][0] - began)
    assert max(times) <= 2.1
    assert sum(time < 1.0 for time in times) in range(10, 31)


def test_events_wait_for_the_end_of_an_outage():
    it = world(A)
    it.vault = "refuses"
    it.write(A)
    it.report_change(A)
    it.run(30.0)
    for _ in range(100):
        it.report_change(A)
    it.run(30.0)
    assert len(it.requests) <= 15
    it.repair()
    it.run(61.0)
    assert it.live["app"] == it.current("app")


def test_the_status_is_fresh_while_the_source_is_live():
    it = world(A)
    it.run(50.0)
    assert fresh(it.state, it.now)
    it.set_event_source(live=False)
    it.vault = "hangs"
    it.run(5.0)
    assert not fresh(it.state, it.now)


@pytest.mark.long
@settings(max_examples=FEW if os.environ.get("HYPOTHESIS_PROFILE") != "search" else 500, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    lists_metadata=st.booleans(),
    version=st.sampled_from([1, 2]),
    acts=st.lists(
        st.tuples(
            st.sampled_from([0.001, 0.01, 0.3, 5.0]),
            st.sampled_from(["write", "delete"]),
            st.sampled_from([A, B, C, D]),
        ),
        max_size=20,
    ),
)
def test_with_every_change_reported_all_is_published_without_a_poll(seed, lists_metadata, version, acts):
    it = world(A, B, C, folder("p/db/"), seed=seed, lists_metadata=lists_metadata, version=version)
    for pause, act, secret in acts:
        it.act(act, secret)
        it.report_change(secret, "update" if act == "write" else "delete")
        it.run(pause)
    it.run(8.0)
    expected = it.current("app")
    assert expected is None or it.live["app"] == expected
