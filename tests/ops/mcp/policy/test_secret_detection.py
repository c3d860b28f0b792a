"""What is a secret is found by what it is called, or by what it looks like; references are none."""

import pytest

from lessee.ops.mcp.policy.secret_detection import Judge, Verdict, is_secret

JUDGE = Judge()


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
def test_such_a_name_is_a_secrets(name):
    assert is_secret(name)


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
def test_such_a_name_is_none(name):
    assert not is_secret(name)


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
    ],
)
def test_such_a_value_moves(name, value):
    assert JUDGE.of(name, value) is Verdict.MOVE


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
        ("URL", "postgres://u:${PASSWORD}@h/db"),
        ("URL", "https://localhost:3000/@scope/pkg"),
        ("URL", "https://h/mcp?page=2"),
        ("LOG", "info"),
        ("ID", "0b7d4a36-9e59-4f7d-9a5c-1f4c6f0c2b11"),
    ],
)
def test_such_a_value_stays(name, value):
    assert JUDGE.of(name, value) is Verdict.LEAVE


@pytest.mark.parametrize(
    ("name", "value"),
    [("API_KEY", "canary-${X}"), ("URL", "postgres://u:canary@${HOST}/db"), ("A_TOKEN", "${A}:canary")],
)
def test_a_secret_with_a_reference_in_it_is_told(name, value):
    assert JUDGE.of(name, value) is Verdict.MIXED


def test_the_operator_knows_better():
    judge = Judge(frozenset({"LOG"}), frozenset({"API_KEY"}))
    assert judge.of("LOG", "x") is Verdict.MOVE
    assert judge.of("LOG", "${x}") is Verdict.LEAVE
    assert judge.of("API_KEY", "x") is Verdict.LEAVE
    assert judge.of_argument("--API_KEY=postgres://u:p@h") is Verdict.LEAVE


@pytest.mark.parametrize(
    ("word", "verdict"),
    [
        ("--api-key=x", Verdict.MOVE),
        ("--api-key=${X}", Verdict.LEAVE),
        ("API_KEY=x", Verdict.MOVE),
        ("Authorization: Bearer canary", Verdict.MOVE),
        ("--url=postgres://u:p@h", Verdict.MOVE),
        ("https://h:443", Verdict.LEAVE),
        ("-y", Verdict.LEAVE),
        ("@modelcontextprotocol/server-github@2025.4.8", Verdict.LEAVE),
        ("ghcr.io/github/github-mcp-server@sha256:" + "0a" * 32, Verdict.LEAVE),
        ("aB3" * 12, Verdict.MOVE),
    ],
)
def test_an_argument_has_its_name_with_it(word, verdict):
    assert JUDGE.of_argument(word) is verdict


def test_a_very_long_value_takes_no_time():
    assert JUDGE.of("X", "a://b:" * 100_000) is Verdict.LEAVE
