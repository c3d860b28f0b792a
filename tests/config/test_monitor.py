"""`monitor:` in lessee.yaml."""

import pytest

from lessee.config.monitor import sources
from lessee.config.parsing import parse
from lessee.core.errors import ConfigError


def read(monitor):
    return parse(f"monitor: {monitor}", source="lessee.yaml", environ={}, blocks=("monitor",)).monitor


def test_one_log_needs_no_name():
    [(name, audit)] = sources(read("{audit: {file: audit.log}}")).items()
    assert (name, audit.file) == ("vault", "audit.log")
    assert list(sources(read("{audit: [{stdin: true}]}"))) == ["vault"]


def test_several_have_names_in_their_order():
    said = read(
        "{audit: [{name: b, socket: 'localhost:9000'}, {name: a, socket: /run//audit.sock}, {name: c, stdin: true}]}"
    )
    assert {name: audit.socket for name, audit in sources(said).items()} == {
        "b": "localhost:9000",
        "a": "/run/audit.sock",
        "c": None,
    }


def test_a_file_without_monitor_is_none():
    assert parse("x-a: 1", source="lessee.yaml", environ={}, blocks=("monitor",)).monitor is None


@pytest.mark.parametrize(
    ("monitor", "problem"),
    [
        ("{}", "lessee.yaml:1: monitor.audit: missing; expected a mapping or a list"),
        ("{audit: []}", "monitor.audit: the list is empty"),
        ("{audit: {}}", "expected exactly one of `file`, `socket`, `stdin`, found none"),
        ("{audit: {file: a, stdin: true}}", "found `file`, `stdin`"),
        ("{audit: {socket: rubbish}}", "monitor.audit.socket: expected `host:port` or an absolute path"),
        ("{audit: {socket: /a/../b}}", "expected `host:port` or an absolute path, without `..`"),
        ("{audit: [{file: a}, {name: b, file: b}]}", "monitor.audit[0].name: missing, and there are several; write"),
        ("{audit: [{name: a, file: a}, {name: a, file: b}]}", "monitor.audit[1].name: another has this name; give"),
        ("{audit: [{name: a, stdin: true}, {name: b, stdin: true}]}", "monitor.audit: there is one stdin; leave"),
        ("{audit: [{name: a, file: a}, {name: b, file: a}]}", "monitor.audit[1].file: another reads it, and all"),
        ("{audit: {file: a}, begin: middle}", "monitor.begin: expected one of `end`, `start`"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_place(monitor, problem):
    with pytest.raises(ConfigError) as caught:
        read(monitor)
    assert problem in str(caught.value)
