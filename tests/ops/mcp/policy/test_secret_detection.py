"""Secrets are detected by name and by value; references are not secrets."""

import pytest

from lessee.core.sensitive.literals import is_secret_name
from lessee.ops.mcp.policy.secret_detection import SecretDetector, Verdict

DETECTOR = SecretDetector()


@pytest.mark.parametrize(
    "name",
    [
        "GITHUB_PERSONAL_ACCESS_TOKEN",
        "BRAVE_API_KEY",
        "OPENAI_APIKEY",
        "apiKey",
        "api-key",
        "clientSecret",
        "DB_PASSWORD",
        "db.pass",
        "PGPASSWORD",
        "GITLAB_PAT",
        "SENTRY_DSN",
        "Authorization",
        "X-Auth",
        "AZURE_STORAGE_CONNECTION_STRING",
        "AWS_SECRET_ACCESS_KEY",
        "GOOGLE_APPLICATION_CREDENTIALS",
    ],
)
def test_names_of_secrets_are_detected(name):
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "LOG",
        "MONKEY",
        "TOKEN_LIMIT",
        "KEY_FILE",
        "AUTH_TYPE",
        "SSH_AUTH_SOCK",
        "PUBLIC_KEY",
        "TOKEN_URL",
        "AUTHOR",
        "KEY_ID",
    ],
)
def test_other_names_are_not_detected(name):
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_KEY", "x"),
        ("PASSWORD", "1234"),
        ("URL", "postgres://u:p@h/db"),
        ("URL", "https://:p@h"),
        ("URL", "redis://u:a/b@c@h"),
        ("URL", "https://canary0123456789@h/x.git"),
        ("URL", "https://h/mcp?api_key=x&b=c"),
        ("DB", "host=h password=x"),
        ("HEADERS", '{"Authorization": "Bearer canary-xyz"}'),
        ("HEADERS", '{"X-Api-Key": "canary"}'),
        ("THING", "ghp_" + "a1B2" * 9),
        ("THING", "-----BEGIN RSA PRIVATE KEY-----"),
        ("THING", "aB3" * 12),
        ("KEY", "/9j4AAQ+x="),
        ("PASSWORD", "pa$SWORD"),
        ("PASSWORD", "a $HOME b"),
        ("DB_DSN", "host=h password=x"),
        ("SENTRY_DSN", "x"),
    ],
)
def test_secret_values_are_detected(name, value):
    assert DETECTOR.check(name, value) is Verdict.SECRET


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_KEY", ""),
        ("API_KEY", "true"),
        ("MAX_TOKEN", "4096"),
        ("SSH_KEY", "~/.ssh/id"),
        ("SSH_KEY", "/home/me/key"),
        ("TLS_KEY", "/srv/tls.pem"),
        ("API_KEY", "${API_KEY}"),
        ("API_KEY", "${env:API_KEY}"),
        ("API_KEY", "${input:key}"),
        ("API_KEY", "$API_KEY"),
        ("AUTHORIZATION", "Bearer ${TOKEN}"),
        ("AUTHORIZATION", "Bearer $TOKEN"),
        ("URL", "postgres://u:$PASSWORD@h/db"),
        ("SENTRY_DSN", "postgres://u@h/db"),
        ("DB_DSN", "host=h user=u"),
        ("URL", "postgres://u:${PASSWORD}@h/db"),
        ("URL", "https://localhost:3000/@scope/pkg"),
        ("URL", "https://h/mcp?page=2"),
        ("LOG", "info"),
        ("ID", "0b7d4a36-9e59-4f7d-9a5c-1f4c6f0c2b11"),
    ],
)
def test_public_values_are_not_detected(name, value):
    assert DETECTOR.check(name, value) is Verdict.PUBLIC


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_KEY", "canary-${X}"),
        ("URL", "postgres://u:canary@${HOST}/db"),
        ("A_TOKEN", "${A}:canary"),
    ],
)
def test_a_secret_that_contains_a_reference_is_mixed(name, value):
    assert DETECTOR.check(name, value) is Verdict.MIXED


def test_the_operators_options_take_precedence():
    detector = SecretDetector(frozenset({"LOG"}), frozenset({"API_KEY"}))
    assert detector.check("LOG", "x") is Verdict.SECRET
    assert detector.check("LOG", "${x}") is Verdict.PUBLIC
    assert detector.check("API_KEY", "x") is Verdict.PUBLIC
    assert detector.check_argument("--API_KEY=postgres://u:p@h") is Verdict.PUBLIC


@pytest.mark.parametrize(
    ("argument", "verdict"),
    [
        ("--api-key=x", Verdict.SECRET),
        ("--api-key=${X}", Verdict.PUBLIC),
        ("--api-key=$X", Verdict.PUBLIC),
        ("API_KEY=$API_KEY", Verdict.PUBLIC),
        ("--token=$token", Verdict.PUBLIC),
        ("Authorization: Bearer $TOKEN", Verdict.PUBLIC),
        ("API_KEY=x", Verdict.SECRET),
        ("Authorization: Bearer canary", Verdict.SECRET),
        ("--url=postgres://u:p@h", Verdict.SECRET),
        ("https://h:443", Verdict.PUBLIC),
        ("-y", Verdict.PUBLIC),
        ("@modelcontextprotocol/server-github@2025.4.8", Verdict.PUBLIC),
        ("ghcr.io/github/github-mcp-server@sha256:" + "0a" * 32, Verdict.PUBLIC),
        ("aB3" * 12, Verdict.SECRET),
    ],
)
def test_an_argument_may_contain_its_name(argument, verdict):
    assert DETECTOR.check_argument(argument) is verdict


def test_a_very_long_value_is_checked_quickly():
    assert DETECTOR.check("X", "a://b:" * 100_000) is Verdict.PUBLIC
