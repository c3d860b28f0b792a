"""A diff shows each change and no value of a secret, and its edits are exactly what changes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.lint.policy.fixes.diff import diff, edits, is_secret_word, without_secrets

CANARY = "HUNTER2-c4n4ry"
COMPOSE = f"""\
# DB_PASSWORD: {CANARY}
x-env: &env {{A_TOKEN: {CANARY}, LEVEL: debug, <<: {{}}}}
services:
  web:
    environment: *env
    command: [serve, "--dsn=postgresql://u:{CANARY}@db/x"]
    build: {{args: ["NPM_TOKEN={CANARY}", PLAIN=x, ONLY]}}
    labels:
      API_KEY: |
        {CANARY}
        {CANARY}
      HIDDEN: {CANARY} # a name that no rule knows
      EMPTY_TOKEN:
      ? [a, b]
      : c
"""


def test_values_of_secrets_are_masks_also_in_comments():
    hidden = without_secrets(COMPOSE, {"HIDDEN"})
    assert CANARY not in hidden
    assert "LEVEL: debug" in hidden
    assert "A_TOKEN: ***," in hidden
    assert "PLAIN=x, ONLY" in hidden
    assert "# a name that no rule knows" in hidden
    assert without_secrets(f"\ufeffA_TOKEN: {CANARY}\n") == "\ufeffA_TOKEN: ***\n"
    assert without_secrets("- no mapping") == "- no mapping"


@pytest.mark.parametrize(
    ("words", "secret"),
    [
        (["x", "--password", CANARY], True),
        (["--password", "--verbose"], False),
        (["--password", "$NAME"], False),
        (["--password", ""], False),
        (["--level", CANARY], False),
        (["--password=" + CANARY], True),
        (["--level=" + CANARY], False),
        (["--password="], False),
        (["redis-cli -a " + CANARY + " ping"], True),
        (["redis-server", "--requirepass", CANARY], True),
        (["redis-server --requirepass " + CANARY], True),
        (["mysqladmin", "ping", "-p" + CANARY], True),
        (["ssh", "-p22"], False),
        (["mysql", "-p"], False),
        (["mysql", "-u"], False),
        ([CANARY], False),
        (["a b c"], False),
    ],
)
def test_a_word_of_a_command_is_a_secret_by_the_words_before_it(words, secret):
    assert is_secret_word(words) is secret
    assert (CANARY in without_secrets(f"a: {{b: {json.dumps(words)}}}\n")) is (CANARY in str(words) and not secret)


def test_a_command_in_a_context_line_has_no_value():
    before = f"services:\n  web:\n    command: [x, --password, {CANARY}]\n    image: a\n"
    lines = list(diff("compose.yaml", before, before + "    pid: host\n", (), is_env_file=False))
    assert "     command: [x, --password, ***]" in lines


def test_a_diff_has_names_and_no_values():
    before = f"services:\n  web:\n    environment:\n      A_TOKEN: {CANARY}\n      B: c\n"
    after = "services:\n  web:\n    environment:\n      B: c\n    pid: host\n"
    lines = list(diff("compose.yaml", before, after, (), is_env_file=False))
    assert lines[:2] == ["--- compose.yaml before", "+++ compose.yaml after"]
    assert "-      A_TOKEN: ***" in lines
    assert "+    pid: host" in lines
    assert not any(CANARY in line for line in lines)


def test_a_diff_of_an_env_file_has_no_value_at_all():
    before = f"# a comment\nexport A={CANARY}\nB='{CANARY}\n{CANARY}'\n# C={CANARY}\n\n"
    lines = list(diff(".env", before, before.replace(f"export A={CANARY}\n", ""), (), is_env_file=True))
    assert "-export A=***" in lines
    assert {" # a comment", " ***", " B=***"} <= set(lines)
    assert not any(CANARY in line for line in lines)


def test_edits_name_only_the_bytes_that_change():
    [edit] = edits("f", "é: [a:b]\nc: d\n", "é: [a:b:ro]\nc: d\n")
    assert (edit.start, edit.end, edit.text) == (8, 8, ":ro")
    assert edits("f", "a\nb\nc\n", "b\nc\nd\n")[0].text == ""
    assert edits("f", "a", "a") == ()


def test_an_edit_that_would_repeat_a_secret_is_left_out():
    assert edits("f", f"X: [A_TOKEN={CANARY}]\n", f"X: [B,\n A_TOKEN={CANARY}]\nY: A_TOKEN={CANARY}\n") == ()


@given(st.text(alphabet="ab:\né\r ", max_size=40), st.text(alphabet="ab:\né\r ", max_size=40))
def test_edits_make_one_text_of_the_other_and_touch_no_other_byte(before, after):
    text = before.encode()
    made, last = b"", 0
    for edit in edits("f", before, after):
        assert last <= edit.start <= edit.end
        made += text[last : edit.start] + edit.text.encode()
        last = edit.end
    assert made + text[last:] == after.encode()
