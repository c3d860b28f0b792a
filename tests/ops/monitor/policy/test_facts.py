"""What services say of themselves is taken as far as it makes sense."""

from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.monitor.policy.facts import Heard, Held, Rotated, Source, heard, source

MOMENT = "2026-11-28T16:25:03.488+00:00"


def test_an_agents_leases_and_a_rotators_targets_are_heard():
    lease = {"path": "database/creds/simba", "expires_at": MOMENT, "renew_at": None, "state": "held", "more": 1}
    static = {"path": "database/static-creds/x", "expires_at": None}
    assert heard({"leases": [lease, static], "apps": {}}) == Heard(
        (Held("database/creds/simba", 1795883103.488, None, "held"),)
    )
    target = {"next": MOMENT, "failures": 3, "error": "away", "open_for": 1.5}
    quiet = {"next": None, "failures": 0, "error": None, "open_for": None}
    assert heard({"targets": {"a": target, "b": quiet}}) == Heard(
        (), (Rotated("a", 1795883103.488, 3, "away", 1.5), Rotated("b", None, 0, "", 0.0))
    )


def test_a_source_of_the_log_is_heard():
    assert source({"name": "one", "error": None, "last_at": MOMENT}) == Source("one", None, 1795883103.488)
    assert source({"name": "one", "error": "no such file", "last_at": 0.0}) == Source("one", "no such file", None)
    assert source({"name": "one", "last_at": 5}) == Source("one", None, 5.0)


rubbish = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["leases", "targets", "expires_at", "renew_at", "next", "failures", "error", "path"]), inner
    ),
    max_leaves=20,
)  # fmt: skip


def test_a_moment_that_no_calendar_has_is_none():
    for moment in (-1, 2**52, "0001-01-01T00:00:00+00:00"):
        assert heard({"targets": {"a": {"next": moment}}}).rotated[0].due_at is None


@given(rubbish)
def test_rubbish_is_left_out(said):
    for status in (said, {"leases": said, "targets": said}, {"leases": [said], "targets": {"x": said}}):
        found = heard(status)
        assert all(isinstance(one.failures, int) for one in found.rotated)
    source(said)
