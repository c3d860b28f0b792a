"""Variables in lessee.yaml expand like in Docker Compose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.config.expansion import check, expand
from lessee.core.errors import ConfigError

ENVIRON = {"NAME": "value", "EMPTY": "", "OTHER": "${NAME}"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${NAME}", "value"),
        ("a${NAME}b${NAME}c", "avaluebvaluec"),
        ("${EMPTY}", ""),
        ("${NAME:-default}", "value"),
        ("${EMPTY:-default}", "default"),
        ("${EMPTY-default}", ""),
        ("${UNSET:-default}", "default"),
        ("${UNSET-default}", "default"),
        ("${UNSET:-}", ""),
        ("${NAME:?message}", "value"),
        ("${EMPTY?message}", ""),
        ("${UNSET:-${EMPTY:-${NAME}}}", "value"),
        ("${UNSET:-a${NAME}b}", "avalueb"),
        ("${UNSET:-{environment}/}", "{environment}/"),
        ("${UNSET:-$${x}}", "${x}"),
        ("${UNSET:-a:-b}", "a:-b"),
        ("${NAME:-${UNSET}}", "value"),
    ],
)
def test_a_variable_expands_as_in_compose(text, expected):
    assert expand(text, ENVIRON) == expected


@pytest.mark.parametrize("text", ["$NAME", "$$", "$$NAME", "a$", "{NAME}", "}{", "$ {NAME}", "$(NAME)", ""])
def test_only_a_dollar_with_a_brace_is_special(text):
    assert expand(text, ENVIRON) == text


@given(st.text(alphabet="ab${}:-?NAME\n"))
def test_an_escaped_text_expands_to_itself(text):
    assert expand(text.replace("${", "$${"), {}) == text


def test_a_value_is_not_expanded_again():
    assert expand("${OTHER}", ENVIRON) == "${NAME}"


@given(st.text())
def test_a_value_is_inserted_unchanged(value):
    assert expand("<${X?}>${X-y}", {"X": value}) == f"<{value}>{value}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${UNSET}", r"\$\{UNSET\} is not set; set it, or write \$\{UNSET:-default\}"),
        ("${UNSET?}", r"\$\{UNSET\} is not set; set it"),
        ("${UNSET:?ask the operator}", r"\$\{UNSET\} is not set; ask the operator"),
        ("${EMPTY:?ask the operator}", r"\$\{EMPTY\} is empty; ask the operator"),
        ("${UNSET:-${ALSO_UNSET}}", r"\$\{ALSO_UNSET\} is not set"),
        ("${", "invalid variable after \\${"),
        ("${}", "invalid variable after \\${"),
        ("${1}", "invalid variable after \\${"),
        ("${NAME:+x}", "invalid variable after \\${"),
        ("${NAME", "invalid variable after \\${"),
        ("${NAME:-", "unclosed \\${"),
        ("${NAME:-{}", "unclosed \\${"),
        ("${A-" * 21 + "}" * 21, "more than 20 deep; simplify the defaults$"),
        ("${A-" * 9999, "more than 20 deep"),
    ],
)
def test_an_invalid_or_missing_variable_is_reported(text, expected):
    with pytest.raises(ConfigError, match=expected):
        expand(text, ENVIRON)


def test_an_error_contains_no_value():
    with pytest.raises(ConfigError) as caught:
        expand("${PASSWORD}${UNSET:?${PASSWORD}}", {"PASSWORD": "hunter2"})
    assert "hunter2" not in str(caught.value)


@given(st.text(alphabet="ab${}:-?N"))
def test_a_checked_text_fails_to_expand_only_for_unset_variables(text):
    try:
        check(text)
    except ConfigError:
        with pytest.raises(ConfigError):
            expand(text, {})
        return
    try:
        expand(text, {})
    except ConfigError as exc:
        assert "is not set" in str(exc)  # noqa: PT017  # It need not fail.
