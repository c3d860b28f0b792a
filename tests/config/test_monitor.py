"""The audit logs of the block `monitor`."""

import pytest

from lessee.config.monitor import audit_sources
from lessee.config.parsing import parse
from lessee.core.errors import ConfigError


def read(monitor):
    return parse(f"monitor: {monitor}", source="lessee.yaml", environ={}, blocks=("monitor",)).monitor


def test_one_log_needs_no_name():
    [(name, audit)] = audit_sources(read("{audit: {file: audit.log}}")).items()
    assert (name, audit.file) == ("vault", "audit.log")
    assert list(audit_sources(read("{audit: [{stdin: true}]}"))) == ["vault"]


def test_several_logs_have_names_and_keep_their_order():
    monitor = read(
        "{audit: [{name: b, socket: 'localhost:9000'}, {name: a, socket: /run//audit.sock}, {name: c, stdin: true}]}"
    )
    assert {name: audit.socket for name, audit in audit_sources(monitor).items()} == {
        "b": "localhost:9000",
        "a": "/run/audit.sock",
        "c": None,
    }


def test_without_the_block_there_is_no_monitor():
    assert parse("x-a: 1", source="lessee.yaml", environ={}, blocks=("monitor",)).monitor is None


@pytest.mark.parametrize(
    ("monitor", "problem"),
    [
        ("{}", "lessee.yaml:1: monitor.audit: missing; expected a mapping or a list"),
        ("{audit: []}", "monitor.audit: the list is empty"),
        ("{audit: {}}", "expected exactly one of `file`, `socket`, `stdin`, found none of them"),
        ("{audit: {file: a, stdin: true}}", "found `file`, `stdin`"),
        ("{audit: {socket: rubbish}}", "monitor.audit.socket: expected `host:port` or an absolute path"),
        ("{audit: {socket: /a/../b}}", "expected `host:port` or an absolute path, without `..`"),
        (
            "{audit: [{file: a}, {name: b, file: b}]}",
            "monitor.audit[0].name: missing; several audit logs need names; write",
        ),
        (
            "{audit: [{name: a, file: a}, {name: a, file: b}]}",
            "monitor.audit[1].name: another audit log has this name; give",
        ),
        (
            "{audit: [{name: a, stdin: true}, {name: b, stdin: true}]}",
            "monitor.audit: several audit logs read standard input; leave",
        ),
        (
            "{audit: [{name: a, file: a}, {name: b, file: a}]}",
            "monitor.audit[1].file: another audit log reads it too, so",
        ),
        (
            "{audit: {file: a}, request_metrics: {labels: [path, path]}}",
            "monitor.request_metrics.labels: a label is listed twice; remove one of them",
        ),
        ("{audit: {file: a}, start_at: middle}", "monitor.start_at: expected one of `beginning`, `end`"),
    ],
)
def test_each_mistake_is_reported_with_its_place(monitor, problem):
    with pytest.raises(ConfigError) as caught:
        read(monitor)
    assert problem in str(caught.value)
