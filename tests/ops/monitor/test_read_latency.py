"""The sinks that measure reads and know agents: what they count, and what a state of another form does."""

import pytest

from lessee.ops.monitor.fleet_sink import FleetSink
from lessee.ops.monitor.policy.access import Access, LogEntry
from lessee.ops.monitor.read_latency import ReadLatency


def entry(path="secret/data/production/db", operation="read", *, duration=0.002, error=None, source="vault"):
    access = Access(
        1_790_000_000.0, "id", operation, path, "secret", "kv", "", "10.0.0.1", "", "", "web", "", (),
        root=False, error=error, denied=False, version=None, server=source, duration=duration,
    )  # fmt: skip
    return LogEntry(source, 1, access)


def counts(sink):
    return {source: histogram["count"] for source, histogram in sink.status()["read_latency"].items()}


def test_only_answered_reads_of_secrets_are_measured_for_each_log():
    sink = ReadLatency()
    sink.take([entry(), entry(), entry(source="other"), entry(duration=None), entry(error="permission denied")])
    sink.take([entry(operation="update"), entry("secret/metadata/production/db")])
    assert counts(sink) == {"vault": 2, "other": 1}
    restored = ReadLatency()
    restored.restore(sink.state())
    assert restored.status() == sink.status()


@pytest.mark.parametrize("state", [None, [], {"vault": None}, {"vault": [[1], 0]}, {"vault": ["x", "y", "z"]}])
def test_a_state_of_another_form_is_refused(state):
    sink = ReadLatency()
    with pytest.raises(ValueError, match=r"^$"):
        sink.restore(state)
    assert counts(sink) == {}


@pytest.mark.parametrize(
    "state",
    [
        None,
        [["a", "b", "c", "d", "1", "2"]],
        {"reporters": []},
        {"reporters": [["name"]], "clients": {}},
        {"reporters": [["a", "b", "c", "d", "e", "f"]], "clients": {}},
        {"reporters": [], "clients": {"clients": [7], "newest": {}}},
    ],
)
def test_agents_of_another_form_are_refused(state):
    sink = FleetSink(())
    with pytest.raises(ValueError, match=r"^$"):
        sink.restore(state)
    assert sink.status() == {"fleet": {}}
