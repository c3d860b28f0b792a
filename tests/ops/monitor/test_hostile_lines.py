"""No line makes a sink fail, whatever a client has put into it. The next start would read the line again."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessee.config.grammar import alerts as grammar
from lessee.config.grammar.monitor import AuditSource, Monitor
from lessee.ops.monitor.alert_sink import AlertSink
from lessee.ops.monitor.batch import decode_lines
from lessee.ops.monitor.change_publisher import ChangePublisher
from lessee.ops.monitor.counters import AccessCounter
from lessee.ops.monitor.policy.access import LogEntry

NOW = 1_795_881_600.0
RULES = (
    grammar.Reads(limit=1),
    grammar.Denials(limit=1),
    grammar.FirstRead(learning_period=0.0),
    grammar.OutsideHours(hours=("08:00-18:00",), timezone="Pacific/Kiritimati"),
)
words = st.sampled_from(
    ["", "/", "read", "update", "delete", "login", "secret", "secret/data/production/a", "sys/policies/acl/x", "kv",
     "auth/approle/role/x", "permission denied", "root", "\n\x00\u202e", "x" * 9000, "secret/", "hmac-sha256:0"]
)  # fmt: skip
times = st.one_of(
    st.sampled_from(["1970-01-01T00:00:00Z", "9998-12-31T23:59:59-23:59", "9999-12-31T23:59:59.9+23:59",
                     "0001-01-01T00:00:00", "2026-11-28T16:00:00.123456789Z"]),
    st.datetimes().map(lambda moment: moment.isoformat()),
)  # fmt: skip
numbers = st.one_of(st.none(), st.integers(), st.integers(min_value=2**62, max_value=2**80))
version = st.fixed_dictionaries({"created_time": words, "version": numbers, "current_version": numbers})
lines = st.fixed_dictionaries(
    {
        "time": times,
        "type": st.just("response"),
        "auth": st.fixed_dictionaries(
            {"policies": st.lists(words, max_size=2), "display_name": words,
             "metadata": st.fixed_dictionaries({"role": words})}
        ),
        "request": st.fixed_dictionaries(
            {"id": words, "operation": words, "path": words, "mount_point": words, "mount_type": words,
             "remote_address": words, "namespace": st.fixed_dictionaries({"path": words})}
        ),
        "error": words,
        "response": st.fixed_dictionaries({"data": st.one_of(version, st.fixed_dictionaries({"metadata": version}))}),
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile")


@settings(max_examples=60, deadline=None)
@given(log=st.lists(lines, min_size=1, max_size=8))
def test_no_line_makes_a_sink_fail_and_each_state_can_be_restored(folder, log):
    monitor = Monitor(audit=AuditSource(file="audit.log"), alerts=grammar.Alerts(rules=RULES))
    states = {}
    for _ in range(2):
        sinks = [
            AccessCounter(),
            ChangePublisher([f"unix://{folder}/none/events.sock"], ("production",), lambda: False, 0.2),
            AlertSink(monitor, environment=None, folder=folder, base=folder),
        ]
        for sink in sinks:
            if sink.name in states:
                sink.restore(states[sink.name])
        accesses, _ = decode_lines([json.dumps(line).encode() for line in log], "vault")
        for sink in sinks:
            sink.take([LogEntry("vault", number, access) for number, access in enumerate(accesses, 1)])
            sink.tick(NOW)
            states[sink.name] = msgspec.json.decode(msgspec.json.encode(sink.state()))
            msgspec.json.encode(sink.status())
            sink.close()
