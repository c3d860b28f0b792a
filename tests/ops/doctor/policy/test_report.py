"""A report is bounded, printable, and without keys."""

import json

import pytest

from lessee.ops.doctor.policy.report import fit, fit_text, log_events, summary_of_status, text_of

SAME = str


def test_keys_of_known_formats_and_known_values_are_hidden():
    token = "hvs." + "Ab1" * 9
    assert fit_text(f"a {token} b hunter2 c", lambda text: text.replace("hunter2", "***")) == "a *** b *** c"
    assert fit({f"x {token}": [token, {"a": token}]}, SAME) == {"x ***": ["***", {"a": "***"}]}


def test_a_text_is_one_printable_line_of_a_bounded_length():
    assert fit_text("\x1b]0;evil\x07\n\u202e\x9b2J", SAME) == "\\u001b]0;evil\\u0007\\n\\u202e\\u009b2J"
    assert fit_text("x" * 1_000_000, SAME) == "x" * 400 + "…"
    assert len(fit_text("\x1b" * 1_000_000, SAME)) == 401


def test_collections_are_bounded_in_each_direction():
    deep = [[]]
    for _ in range(100):
        deep = [deep]
    assert json.dumps(fit(deep, SAME)).count("[") <= 9
    assert len(fit(list(range(1000)), SAME)) < 500
    assert fit(list(range(1000)), SAME)[-1].endswith(" more")
    wide = fit({str(number): number for number in range(1000)}, SAME)
    assert len(wide) < 500
    assert wide["…"].endswith(" more")
    assert fit([1, 2.5, True, None, ("a",), object(), b"x"], SAME) == [1, 2.5, True, None, ["a"], "object", "bytes"]


def test_of_a_status_the_report_has_states_counts_and_problems():
    status = {
        "version": "1", "ready": False, "fresh": True, "secret": "hunter2", "leases": [{}, {}], "targets": {"a": {}},
        "problems": ["web: not ready"], "identities": 7,
        "apps": {
            "web": {"state": "waiting", "error": None, "generation": 3, "secrets": [{"path": "a"}], "x": 1},
            "db": 5,
        },
    }  # fmt: skip
    assert summary_of_status(status) == {
        "version": "1", "ready": False, "fresh": True, "number of apps": 2, "number of leases": 2,
        "number of targets": 1, "problems": ["web: not ready"],
        "apps": {"web": {"state": "waiting", "generation": 3, "number of secrets": 1}, "db": "unknown format"},
    }  # fmt: skip
    assert summary_of_status({"apps": {"web": {"secrets": 1}}, "problems": "x"}) == {
        "number of apps": 1,
        "apps": {"web": {}},
    }
    assert summary_of_status({"apps": [1]}) == {}


def test_of_a_log_the_report_has_events_and_the_names_of_fields():
    line = {"time": "t", "level": "info", "event": "lease renewed", "path": "a/b", "value": "hunter2"}
    bare = {"time": "t", "level": "info", "event": "agent stopped"}
    assert log_events([line, None, [1], {"time": "t"}, line | {"event": 5}, bare]) == [
        {"time": "t", "level": "info", "event": "lease renewed", "fields": "path, value"},
        bare,
    ]


@pytest.mark.parametrize(
    ("section", "lines"),
    [
        ({"a": {"b": 1, "c": []}, "d": None}, ["  a:", "    b: 1", "    c: none", "  d: -"]),
        ({"a": ["x", {"y": True, "z": [1, 2]}]}, ["  a:", "    - x", "    - y=yes, z=1, 2"]),
        ("text", ["  text"]),
        ([{}, False], ["  - ", "  - no"]),
        ({"a": {}}, ["  a: none"]),
    ],
)
def test_the_text_is_indented(section, lines):
    assert list(text_of({"title": section})) == ["", "title", *lines]
