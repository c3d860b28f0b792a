"""One event is one line, and a value is in none."""

import io
import json
import logging

import pytest

from lessee.core.redaction import Redactor
from lessee.telemetry.logs import log, open_log


@pytest.fixture
def said():
    """Open a log into a string; what it holds at the end."""
    root = logging.getLogger()
    before = root.handlers[:], root.level

    def start(redactor=None, **settings):
        stream = io.StringIO()
        open_log(redactor or Redactor(), stream=stream, **settings)
        return stream

    yield start
    root.handlers[:], root.level = before


def test_json_is_a_line_an_event_with_its_fields(said):
    stream = said(form="json")
    log("info", "published", app="web", generation=3)
    log("warning", "not\npublished", reason='a "quoted"\nthing')
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["level"], first["event"], first["app"], first["generation"]) == ("info", "published", "web", 3)
    assert second["reason"] == 'a "quoted"\nthing'


def test_text_is_a_line_an_event_too(said):
    stream = said(form="text")
    log("info", "notified", app="web", how="SIGHUP to 12", note="two\nlines")
    (line,) = stream.getvalue().splitlines()
    assert line.endswith('info    notified app=web how="SIGHUP to 12" note="two\\nlines"')


def test_values_are_hidden_in_every_field_and_in_what_libraries_say(said):
    redactor = Redactor()
    redactor.learn("s", ["canary-value"])
    stream = said(redactor, form="json")
    log("error", "canary-value", reason="x canary-value y")
    logging.getLogger("library").warning("sent %s", "canary-value")
    assert "canary" not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 2


def test_the_level_is_ours_and_libraries_debugging_stays_out(said):
    stream = said(level="debug", form="text")
    log("debug", "ours")
    logging.getLogger("library").debug("theirs")
    assert "ours" in stream.getvalue()
    assert "theirs" not in stream.getvalue()
    stream = said(level="error", form="text")
    log("warning", "hidden")
    assert not stream.getvalue()
