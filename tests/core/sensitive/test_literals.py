"""One list says which literals look like secrets, to `lessee check --compose` and to `lessee mcp wrap`."""

import pytest

from lessee.core.sensitive.literals import is_random, is_secret
from lessee.ops.lint.policy.compose.rules import looks_secret
from lessee.ops.mcp.policy.secret_detection import SecretDetector, Verdict

SECRET = [
    ("SMTP_PASS", "hunter2"),
    ("DB_PWD", "1234"),
    ("GITLAB_PAT", "x"),
    ("DSN", "postgres://u:hunter2@h/db"),
    ("DB_DSN", "server=h;password=hunter2"),
    ("AZURE_STORAGE_CONNECTION_STRING", "AccountName=a;AccountKey=b"),
    ("NEO4J_AUTH", "neo4j/hunter2"),
    ("HEADER", "Authorization: Bearer hunter2hunter2"),
    ("ANY", "AKIA" + "Q" * 16),
]
PUBLIC = [
    ("LOG", "info"),
    ("", ""),
    ("STRIPE_PUBLISHABLE_KEY", "x"),
    ("SENTRY_DSN", "https://u@h/1"),
    ("USE_TOKEN", "true"),
    ("MAX_TOKEN", "4096"),
    ("TLS_KEY", "./tls.pem"),
    ("AUTHORIZATION", "Bearer "),
]


@pytest.mark.parametrize(("name", "value"), SECRET)
def test_both_commands_find_the_same_secrets(name, value):
    assert is_secret(name, value)
    assert looks_secret(name, value)
    assert SecretDetector().check(name, value) is Verdict.SECRET


@pytest.mark.parametrize(("name", "value"), PUBLIC)
def test_neither_command_calls_another_literal_a_secret(name, value):
    assert not is_secret(name, value)
    assert not looks_secret(name, value)
    assert SecretDetector().check(name, value) is Verdict.PUBLIC


def test_a_long_mix_of_letters_and_digits_is_random():
    assert is_random("aB3" * 12)
    assert not is_random("word" * 12)
