"""What GitHub's runner is told: masks that hide a value and not the log, and variables that hold any value."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.errors import UsageError
from lessee.core.github_actions import assignment, command, masks
from lessee.core.redaction import SHORTEST
from support.programs.github_runner import assignments

KEY = "-----BEGIN KEY-----\n  canaryQIBADANBg\r\n{\n==========\nkqhkcanaryBAQEF\n-----END KEY-----\n"


def hidden(text, values):
    """The text as the runner would log it, line by line."""
    found, _ = masks(values)
    for mask in sorted(found, key=len, reverse=True):
        text = text.replace(mask, "***")
    return text


def test_a_command_is_one_line_whatever_it_says():
    assert command("add-mask", "100%\r\n") == "::add-mask::100%25%0D%0A"
    assert command("error", "a", {"file": "a,b:c", "line": ""}) == "::error file=a%2Cb%3Ac::a"


@given(st.text(min_size=SHORTEST).filter(lambda text: len(text.strip()) >= SHORTEST and len(text.splitlines()) == 1))
def test_any_value_of_one_line_is_hidden_and_no_mask_has_two_lines(value):
    found, short = masks([value])
    assert short == 0
    if value.strip() not in {"false", "False", "FALSE", "localhost", "127.0.0.1"}:
        assert value.strip() in found
    assert not [mask for mask in found if "\n" in mask or "\r" in mask]


def test_of_a_value_of_several_lines_each_is_hidden_but_none_that_would_take_others_along():
    shown = "\n".join(hidden(line, [KEY]) for line in KEY.splitlines())
    assert shown == "***\n  ***\n{\n==========\n***\n***"
    for form in (base64.b64encode(KEY.encode()).decode(), json.dumps(KEY)[1:-1], repr(KEY)[1:-1]):
        assert hidden(f"got {form}.", [KEY]) == "got ***."


def test_what_a_value_holds_as_json_or_base64_is_hidden_by_itself():
    account = json.dumps(
        {"private_key": KEY, "ids": ["canary-id", 7], "on": True, "off": None, "ratio": 1.125}, indent=2
    )
    encoded = base64.b64encode(b"canary-plain").decode()
    found, _ = masks([{"account": account, "encoded": encoded, "pins": (123456, False), "raw": object()}])
    assert {"canaryQIBADANBg", "canary-id", "canary-plain", "123456", "1.125"} <= set(found)
    assert masks([base64.b64encode(b"\x00\x01\x02\x03\x04").decode()])[0][-1] != "\x00\x01\x02\x03\x04"
    assert masks(["[" * 100_000])[1] == 0


def test_what_is_too_short_is_counted_and_what_is_no_secret_is_not_hidden():
    found, short = masks(["abcd", "", "  ", "a\nb", "false", 12])
    assert "false" not in found
    assert "abcd" not in found
    assert short == 2


@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
def test_a_variable_holds_any_value_as_it_is(value):
    text = assignment("A", value, "lessee-0123") + assignment("B", "2", "lessee-4567")
    assert assignments(text) == {"A": value, "B": "2"}


@pytest.mark.parametrize("name", ["NODE_OPTIONS", "CI", "GITHUB_TOKEN", "RUNNER_TEMP", "ACTIONS_ID_TOKEN_REQUEST_URL"])
def test_what_the_runner_keeps_to_itself_is_refused(name):
    with pytest.raises(UsageError, match="the runner takes this variable from nobody"):
        assignment(name, "x", "lessee-0123")
