"""The requests for secrets are counted by environment, component and path, for a bounded number of series."""

import json
from itertools import count

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lessee.config.grammar.monitor import RequestMetrics
from lessee.ops.monitor.policy.access import LogEntry
from lessee.ops.monitor.policy.rates import OTHER
from lessee.ops.monitor.request_counter import RequestCounter
from support.models.alert_rules import access, denied
from support.programs.monitor import Audited, Monitor

SECRET = "secret/production/database/postgres"
numbers = count(1)


def counter(**config):
    return RequestCounter(RequestMetrics(**config), {"production"})


def take(counting, *accesses):
    counting.take([LogEntry("one", next(numbers), each) for each in accesses])
    rows = counting.status()["requests"]
    return {tuple(row["labels"].values()): (row["succeeded"], row["denied"], row["failed"]) for row in rows}


def test_each_combination_has_its_own_count_and_its_environment():
    found = take(
        counter(),
        access(),
        access(operation="update"),
        denied(),
        access(error="no such version"),
        access(role="web", path="secret/data/shared/one"),
        access(path="database/creds/production", mount_type="database"),
        access(path="kv/data/production/one", mount="team/kv", mount_type="kv", namespace="team"),
    )
    assert found == {
        ("production", "simba", SECRET): (2, 1, 1),
        ("", "web", "secret/shared/one"): (1, 0, 0),
        ("", "simba", "database/creds/production"): (1, 0, 0),
        ("production", "team/simba", "team/kv/production/one"): (1, 0, 0),
    }


def test_only_requests_for_secrets_count():
    counting = counter()
    assert take(
        counting,
        access(path="sys/health", mount_type="system"),
        access(path="auth/approle/login", operation="update"),
        access(path="secret/metadata/production/one"),
        access(path="secret/config"),
        access(path="kv/metadata/production/one", mount="team/kv", mount_type="kv", namespace="team"),
    ) == {}  # fmt: skip


def test_what_exceeds_the_cap_is_other_and_denied_paths_take_no_place():
    counting = counter(labels=("path",), max_series=2)
    take(counting, *[denied(path=f"secret/data/{n}") for n in range(100)])
    found = take(counting, *[access(path=f"secret/data/{n}") for n in range(5)], denied(path="secret/data/0"))
    assert found == {(OTHER,): (4, 100, 0), ("secret/0",): (1, 1, 0)}
    found = take(counter(labels=("path",), max_series=2), *[access(path=f"secret/data/{n}") for n in range(5)])
    assert found == {("secret/0",): (1, 0, 0), ("secret/1",): (1, 0, 0), (OTHER,): (3, 0, 0)}


def test_a_restart_keeps_the_counts_and_other_labels_begin_at_zero():
    counting = counter()
    before = take(counting, access(), denied())
    state = json.loads(json.dumps(counting.state()))
    other = counter()
    other.restore(state)
    assert take(other) == before
    other = counter(labels=("path",))
    other.restore(state)
    assert take(other) == {}
    with pytest.raises(ValueError, match=r"^$"):
        other.restore({"labels": 1})


def test_a_real_log_gives_samples_with_these_labels(tmp_path, memory):
    with Audited(tmp_path) as bao:
        monitor = Monitor(tmp_path / "monitor", memory, {"file": str(bao.audit)}, request_metrics={"max_series": 2})
        monitor.config["environment"] = "production"
        with monitor:
            for path in ("production/one", "production/two", "testing/three"):
                bao.put(path, value="canary-of-the-counter")
            monitor.start().until(lambda status: status["ready"] and len(status.get("requests", ())) == 3)
            text = monitor.get("/metrics")[1]
    samples = {
        tuple(sample.labels[label] for label in ("environment", "component", "path", "outcome")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "lessee_monitor_requests_total" and sample.value
    }
    assert samples == {
        ("production", "token", "secret/production/one", "succeeded"): 1,
        ("production", "token", "secret/production/two", "succeeded"): 1,
        (OTHER, OTHER, OTHER, "succeeded"): 1,
    }
    assert "canary" not in text
