"""GitHub's runner gets masks that hide values but not the log, and variables that can hold any value."""

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


def masked(text, values):
    """The text as the runner would log it, line by line."""
    found, _ = masks(values)
    for mask in sorted(found, key=len, reverse=True):
        text = text.replace(mask, "***")
    return text


def test_a_command_is_always_one_line():
    assert command("add-mask", "100%\r\n") == "::add-mask::100%25%0D%0A"
    assert command("error", "a", {"file": "a,b:c", "line": ""}) == "::error file=a%2Cb%3Ac::a"


@given(st.text(min_size=SHORTEST).filter(lambda text: len(text.strip()) >= SHORTEST and len(text.splitlines()) == 1))
def test_any_one_line_value_is_masked_and_no_mask_has_two_lines(value):
    found, short = masks([value])
    assert short == 0
    if value.strip() not in {"false", "False", "FALSE", "localhost", "127.0.0.1"}:
        assert value.strip() in found
    assert not [mask for mask in found if "\n" in mask or "\r" in mask]


def test_each_line_of_a_value_is_masked_except_lines_that_occur_anywhere():
    log = "\n".join(masked(line, [KEY]) for line in KEY.splitlines())
    assert log == "***\n  ***\n{\n==========\n***\n***"
    for form in (base64.b64encode(KEY.encode()).decode(), json.dumps(KEY)[1:-1], repr(KEY)[1:-1]):
        assert masked(f"got {form}.", [KEY]) == "got ***."


def test_a_value_is_masked_in_base64_without_padding():
    value = "canary~~?>"
    encoded = base64.b64encode(value.encode()).decode()
    assert "/" in encoded  # In base64 for URLs, it is another text.
    assert masked(f"got {encoded.rstrip('=')}.", [value]) == "got ***."


def test_the_parts_of_a_json_or_base64_value_are_masked():
    account = json.dumps(
        {"private_key": KEY, "ids": ["canary-id", 7], "on": True, "off": None, "ratio": 1.125}, indent=2
    )
    encoded = base64.b64encode(b"canary-plain").decode()
    found, _ = masks([{"account": account, "encoded": encoded, "pins": (123456, False), "raw": object()}])
    assert {"canaryQIBADANBg", "canary-id", "canary-plain", "123456", "1.125"} <= set(found)
    assert masks([base64.b64encode(b"\x00\x01\x02\x03\x04").decode()])[0][-1] != "\x00\x01\x02\x03\x04"
    assert masks(["[" * 100_000])[1] == 0


def test_short_values_are_counted_and_common_words_are_not_masked():
    found, short = masks(["abcd", "", "  ", "a\nb", "false", 12])
    assert "false" not in found
    assert "abcd" not in found
    assert short == 2


@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
def test_a_variable_can_hold_any_value(value):
    text = assignment("A", value, "lessee-0123") + assignment("B", "2", "lessee-4567")
    assert assignments(text) == {"A": value, "B": "2"}


@pytest.mark.parametrize("name", ["NODE_OPTIONS", "CI", "GITHUB_TOKEN", "RUNNER_TEMP", "ACTIONS_ID_TOKEN_REQUEST_URL"])
def test_a_reserved_variable_is_an_error(name):
    with pytest.raises(UsageError, match="the runner does not let a step set this variable"):
        assignment(name, "x", "lessee-0123")
