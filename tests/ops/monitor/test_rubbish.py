"""Whatever stands in a line, and whoever has written it, no sink stumbles: it would be read again after each start."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessee.config.grammar import alerts as grammar
from lessee.config.grammar.operator import Audit, Monitor
from lessee.ops.monitor.alert_sink import Alerting
from lessee.ops.monitor.batch import decoded
from lessee.ops.monitor.change_publisher import Publishing
from lessee.ops.monitor.counters import Counting
from lessee.ops.monitor.policy.access import Line

NOW = 1_795_881_600.0
RULES = (
    grammar.Reads(limit=1),
    grammar.Denials(limit=1),
    grammar.FirstRead(learn=0.0),
    grammar.OutsideHours(hours=("08:00-18:00",), zone="Pacific/Kiritimati"),
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
    return tmp_path_factory.mktemp("rubbish")


@settings(max_examples=60, deadline=None)
@given(said=st.lists(lines, min_size=1, max_size=8))
def test_no_line_makes_a_sink_stumble_and_what_was_kept_is_taken_up_again(folder, said):
    monitor = Monitor(audit=Audit(file="audit.log"), alerts=grammar.Alerts(rules=RULES))
    kept = {}
    for _ in range(2):
        sinks = [
            Counting(),
            Publishing([f"unix://{folder}/none/events.sock"], ("production",), lambda: False, 0.2),
            Alerting(monitor, environment=None, folder=folder, near=folder),
        ]
        for sink in sinks:
            if sink.name in kept:
                sink.restore(kept[sink.name])
        accesses, _ = decoded([json.dumps(line).encode() for line in said], "vault")
        for sink in sinks:
            sink.take([Line("vault", number, access) for number, access in enumerate(accesses, 1)])
            sink.tick(NOW)
            kept[sink.name] = msgspec.json.decode(msgspec.json.encode(sink.state()))
            msgspec.json.encode(sink.status())
            sink.close()
