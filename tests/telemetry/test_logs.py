"""Each event is one line, and no line contains the value of a secret."""

import base64
import io
import json
import logging
import re
import traceback
from pathlib import Path

import pytest

from lessee.core.redaction import Redactor
from lessee.telemetry import logs
from lessee.telemetry.logs import log, open_log


@pytest.fixture
def opened_log():
    """Open a log that writes to a string stream."""
    root, own = logging.getLogger(), logging.getLogger("lessee")
    before, level, redactors = (root.handlers[:], root.level), own.level, logs._REDACTORS[:]

    def start(redactor=None, **settings):
        stream = io.StringIO()
        open_log(redactor or Redactor(), stream=stream, **settings)
        return stream

    yield start
    root.handlers[:], root.level = before
    # The level is stored for each logger; a test of another file would log nothing.
    own.setLevel(level)
    logs._REDACTORS[:] = redactors


def fail(error):
    raise error


def test_json_has_one_line_for_each_event_with_its_fields(opened_log):
    stream = opened_log(form="json")
    log("info", "published", app="web", generation=3)
    log("warning", "not\npublished", reason='a "quoted"\nthing')
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["level"], first["event"], first["app"], first["generation"]) == ("info", "published", "web", 3)
    assert second["reason"] == 'a "quoted"\nthing'


def test_text_has_one_line_for_each_event(opened_log):
    stream = opened_log(form="text")
    log("info", "notified", app="web", how="SIGHUP to 12", note="two\nlines")
    (line,) = stream.getvalue().splitlines()
    assert line.endswith('info    notified app=web how="SIGHUP to 12" note="two\\nlines"')


class Screen(io.StringIO):
    """A stream to a terminal."""

    def isatty(self):
        return True


def screen_of(monkeypatch, form="text", **environ):
    """What a terminal gets of two events."""
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    stream = Screen()
    open_log(Redactor(), stream=stream, form=form)
    log("info", "notified", app="web")
    log("error", "denied", path="\x1b[2J")
    return stream.getvalue()


@pytest.mark.usefixtures("opened_log")
def test_on_a_terminal_the_level_alone_has_a_color(monkeypatch):
    first, second = screen_of(monkeypatch).splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d \x1b\[36minfo   \x1b\[0m notified app=web", first)
    assert re.fullmatch(r'\d\d:\d\d:\d\d \x1b\[1;31merror  \x1b\[0m denied path="\\u001b\[2J"', second)


@pytest.mark.usefixtures("opened_log")
@pytest.mark.parametrize(
    ("form", "environ", "has_colors"),
    [
        ("text", {}, True),
        ("text", {"NO_COLOR": "1"}, False),
        ("text", {"NO_COLOR": ""}, True),
        ("text", {"TERM": "dumb"}, False),
        ("text", {"TERM": "xterm"}, True),
        ("json", {}, False),
    ],
)
def test_no_color_json_and_dumb_terminals_have_no_colors(monkeypatch, form, environ, has_colors):
    assert ("\x1b" in screen_of(monkeypatch, form, **environ)) == has_colors


def test_text_that_is_no_terminals_has_the_day_and_the_zone(opened_log):
    stream = opened_log(form="text")
    log("warning", "vault unavailable", address="https://vault:8200")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ warning vault unavailable address=https://vault:8200\n", stream.getvalue()
    )


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_log_line_holds_no_control_character_and_no_change_of_direction(opened_log, form):
    hostile = "\x1b[2J\x9b0m\u202eevil\u2066\r\x7f"
    stream = opened_log(form=form)
    log("info", f"event {hostile}", reason=hostile, more=f"two words {hostile}")
    logging.getLogger("library").warning("read %s", hostile)
    spelled = r"\u001b[2J\u009b0m\u202eevil\u2066\r\u007f"
    lines = stream.getvalue().split("\n")[:-1]
    assert len(lines) == 2
    for line, times in zip(lines, (3, 1), strict=True):
        assert line.isprintable()
        assert line.count(spelled) == times
    if form == "json":
        assert json.loads(lines[0])["reason"] == hostile


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_value_with_control_characters_is_redacted_before_they_are_spelled_out(opened_log, form):
    redactor = Redactor()
    redactor.learn("s", ["canary\x9b\u202e-\x7fvalue"])
    stream = opened_log(redactor, form=form)
    log("info", "read", reason="canary\x9b\u202e-\x7fvalue", more="is canary\x9b\u202e-\x7fvalue")
    assert "canary" not in stream.getvalue()
    assert "value" not in stream.getvalue()


def test_values_are_redacted_in_every_field_and_in_log_lines_of_libraries(opened_log):
    redactor = Redactor()
    redactor.learn("s", ["canary-value"])
    stream = opened_log(redactor, form="json")
    log("error", "failed", reason="x canary-value y", apps=["a", "canary-value"], by={"x": "canary-value"})
    logging.getLogger("library").warning("sent %s", "canary-value")
    assert "canary" not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 2


STRUCTURE = [
    '"level": "',
    '", "event": "',
    "published",
    "level",
    "event",
    "info",
    "reason=",
    " info ",
    "library",
    '": "',
]
"""What a secret's author could write into it, so that it is hidden in the log."""


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_value_that_is_a_part_of_a_lines_structure_changes_no_line(opened_log, form):
    redactor = Redactor()
    lines = []
    for values in [], STRUCTURE:
        redactor.learn("s", values)
        stream = opened_log(redactor, form=form)
        log("info", "published", app="web", generation=3, reason='of "a" b', is_fresh=True, nothing=None, names=["a"])
        lines.append(stream.getvalue())
    without, hidden = ([re.sub(r"[0-9:.T+-]{8,}", "TIME", line)] for line in lines)
    assert hidden == without
    if form == "json":
        assert json.loads(lines[1])["event"] == "published"


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize(
    "value",
    [
        'canary"quoted"',
        "canary\nline two",
        "canary\\back\\slash",
        "canary \u00e9\u4e2d\U0001f600",
        "canary\tand\x00nul",
        "12345678",
    ],
)
@pytest.mark.parametrize(
    "printed", [str, repr, json.dumps, lambda value: base64.b64encode(f"u:{value}".encode()).decode()]
)
def test_a_value_that_a_line_spells_otherwise_is_found_in_every_field(opened_log, form, value, printed):
    redactor = Redactor()
    redactor.learn("s", [value])
    stream = opened_log(redactor, form=form)
    text = printed(value)
    log("info", "read", reason=f"is {text}!", names=[text, {"a": text}], error=ValueError(text), path=Path(f"/{text}"))
    log("info", "read", count=int(value) if value.isdigit() else 0, more=(text,))
    logging.getLogger("library").warning("sent %s", text)
    try:
        fail(ValueError(text))
    except ValueError:
        logging.getLogger("library").exception("failed")
        log("error", "failed", reason=traceback.format_exc())
    written = stream.getvalue()
    # Spelled out, a value would be there as one of these.
    for part in {value, value[:12], repr(value)[1:-1], json.dumps(value)[1:-1], text, json.dumps(text)[1:-1]}:
        assert part not in written
    assert written.count("***") >= 8


def test_a_line_of_a_field_that_is_no_string_keeps_its_type(opened_log):
    redactor = Redactor()
    redactor.learn("s", ["canary-value", "12345678"])
    stream = opened_log(redactor, form="json")
    fields = {"a": 1, "b": 2.5, "c": True, "d": None, "e": [1, "x"], "f": {"g": [False]}}
    log("info", "read", **fields, h=12345678)
    read = json.loads(stream.getvalue())
    assert {name: read[name] for name in fields} == fields
    assert read["h"] == "***"


def test_the_level_applies_to_lessee_and_not_to_libraries(opened_log):
    stream = opened_log(level="debug", form="text")
    log("debug", "ours")
    logging.getLogger("library").debug("theirs")
    assert "ours" in stream.getvalue()
    assert "theirs" not in stream.getvalue()
    stream = opened_log(level="error", form="text")
    log("warning", "hidden")
    assert not stream.getvalue()
