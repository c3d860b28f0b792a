"""Which values are secrets, by their names, their own forms, and their files."""

from base64 import b64encode, urlsafe_b64encode

import pytest

from lessee.ops.scan.policy.classifier import Verdict, classify, is_placeholder_text, is_strong, literal_part
from lessee.ops.scan.policy.places import Kind, place_of

ENV, CONFIG, SOURCE, SHELL = map(place_of, (".env", "compose.yaml", "app.py", "run.sh"))
EXAMPLE = place_of(".env.example")
RANDOM = "q8Zr2Kx9Lm4Tn7Vb5Wc3Yd6Hf1Jg0Ps"
LOGIN = b64encode(b"me:hunter2hunter2").decode()


def jwt(payload):
    return ".".join(
        urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"HS256"}', payload, b"signature-of-it")
    )


SECRET = [
    ("POSTGRES_PASSWORD", "postgres", ENV, "named-secret"),
    ("POSTGRES_PASSWORD", "postgres", CONFIG, "named-secret"),
    ("MYSQL_ROOT_PASSWORD", "my secret phrase", ENV, "named-secret"),
    ("PIN_PASSWORD", "123456", ENV, "named-secret"),
    ("TOKEN", "1276842281407638", ENV, "named-secret"),
    ("OTHER_KEY", "abc1", ENV, "named-secret"),
    ("API_KEY", "abc1", SHELL, "named-secret"),
    ("EXTRA_KEY", "abc1", CONFIG, "named-secret"),
    ("api_key", "abc1", SOURCE, "named-secret"),
    ("db_password", "simba", SOURCE, "named-secret"),
    ("session_token", "qwe-rty-1", SOURCE, "named-secret"),
    ("key", RANDOM, CONFIG, "named-secret"),
    ("PASSWORD", RANDOM, EXAMPLE, "named-secret"),
    ("PASSWORD", "${PASSWORD:-hunter7}", CONFIG, "named-secret"),
    ("VITE_API_SECRET", RANDOM, ENV, "named-secret"),
    ("", RANDOM, CONFIG, "random-value"),
    ("setting", RANDOM, SOURCE, "random-value"),
    ("NEXT_PRIVATE_ENCRYPTION_KEY", "CAFEBABE", ENV, "named-secret"),
    ("X", "Authorization: Bearer q8Zr2Kx9Lm4Tn7Vb5Wc3", CONFIG, "authorization"),
    ("X", f"Basic {LOGIN}", CONFIG, "authorization"),
    ("X", "postgres://app:hunter2@db/app", ENV, "password-in-url"),
    ("X", f"postgres://app:{RANDOM}@db/app", EXAMPLE, "password-in-url"),
    ("X", "postgres://postgres:postgres@db/app", ENV, "password-in-url"),
    ("X", f"https://a:{RANDOM}@example.com/", CONFIG, "password-in-url"),
    ("X", "AKIA" + "4CANARYQ7ZX2WVB5", CONFIG, "known-key"),
    ("X", jwt(b'{"role": "service_role"}'), CONFIG, "known-key"),
    ("X", "-----BEGIN PRIVATE KEY-----", CONFIG, "private-key"),
]
PUBLIC = [
    ("VITE_STRIPE_KEY", "pk_live_51Mabcdef"),
    ("X", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5"),
    ("VITE_MAPS_API_KEY", "AIza" + "SyA1234567890abcdefghijklmnopqrstuv"),
    ("NEXT_PUBLIC_API_TOKEN", "short"),
    ("ANON_KEY", jwt(b'{"role": "anon"}')),
    ("SENTRY_DSN", "https://0123456789abcdef0123456789abcdef@o1.ingest.sentry.io/1"),
]
PLAIN = [
    ("", "", CONFIG),
    ("PASSWORD", "${PASSWORD}", CONFIG),
    ("PASSWORD", "$PASSWORD", CONFIG),
    ("PASSWORD", "{{ password }}", CONFIG),
    ("PASSWORD", "vault:secret/data/a#b", ENV),
    ("PASSWORD_FILE", "/run/secrets/a", ENV),
    ("PASSWORD", "***", ENV),
    ("PASSWORD", "x", ENV),
    ("VITE_TITLE", "My shop", ENV),
    ("primary_key", "abc123def456", CONFIG),
    ("key", "value1", CONFIG),
    ("key_event", RANDOM, CONFIG),
    ("max_token", RANDOM, CONFIG),
    ("NEXT_TOKEN", "page", ENV),
    ("password_field", "user_password1", SOURCE),
    ("password", "user_password", SOURCE),
    ("token", "bearer-word", SOURCE),
    ("password", "required", CONFIG),
    ("token", "the value of the token is secret", SOURCE),
    ("password", "settings.DB_PASSWORD", CONFIG),
    ("commit_id", RANDOM, CONFIG),
    ("path", "/srv/q8Zr2Kx9Lm4Tn7Vb5Wc3Yd6H/Jg0Ps", CONFIG),
    ("X", "Bearer ${TOKEN_OF_IT}", CONFIG),
    ("X", "Bearer something-else", CONFIG),
    ("X", "postgres://app:${PASSWORD}@db/app", CONFIG),
    ("X", "postgres://app:@db/app", CONFIG),
    ("X", "a long text without any secret", CONFIG),
    ("checksum", "eyJhbasdGciOiJIUaddasdasfsasd.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6.", CONFIG),
    ("PASSWORD", "hunter2", EXAMPLE),
]
PLACEHOLDERS = [
    ("PASSWORD", "changeme", ENV),
    ("API_KEY", "your-api-key-here", ENV),
    ("API_KEY", "xxxxxxxxxxxx", ENV),
    ("API_KEY", "111111111111111111", ENV),
    ("X", "AKIAIOSFODNN7EXAMPLE", ENV),
    ("X", "AKIA" + "Z" * 16, ENV),
    ("X", "postgres://user:password@db/app", SOURCE),
    ("X", "postgres://app:app@db/app", SOURCE),
    ("X", "postgres://app:hunter2@db.example.com/app", ENV),
    ("X", "postgres://app:changeme@db/app", ENV),
    ("X", "postgres://app:letmein@db/app", EXAMPLE),
]


@pytest.mark.parametrize(("name", "value", "place", "rule"), SECRET)
def test_a_secret_is_found_by_its_name_or_its_form(name, value, place, rule):
    found = classify(name, value, place, is_quoted=place is not CONFIG)
    assert (found.verdict, found.rule, found.is_placeholder) == (Verdict.SECRET, rule, False)
    assert found.is_finding


@pytest.mark.parametrize(("name", "value"), PUBLIC)
def test_what_is_for_every_visitor_is_public(name, value):
    found = classify(name, value, ENV)
    assert found.verdict is Verdict.PUBLIC
    assert not found.is_finding


@pytest.mark.parametrize(("name", "value", "place"), PLAIN)
def test_other_values_are_plain(name, value, place):
    found = classify(name, value, place, is_quoted=place is SOURCE)
    assert not found.is_finding, found


@pytest.mark.parametrize(("name", "value", "place"), PLACEHOLDERS)
def test_a_placeholder_is_a_secret_that_no_program_uses(name, value, place):
    found = classify(name, value, place)
    assert (found.verdict, found.is_placeholder, found.is_finding) == (Verdict.SECRET, True, False)


def test_a_default_of_compose_is_a_literal():
    assert literal_part("${A:-b}") == "b"
    assert literal_part("${A-'b'}") == "b"
    assert literal_part("${A}") == literal_part("$A") == literal_part("%A%") == literal_part("$(cat a)") == ""
    assert literal_part("a$b") == "a$b"


def test_a_name_alone_is_enough_where_names_are_of_variables():
    assert is_strong("OTHER_KEY", ENV)
    assert not is_strong("other_key", CONFIG)
    assert is_strong("access_key", CONFIG)
    assert not is_strong("key", SOURCE)
    assert not is_strong("", SOURCE)
    assert not is_strong("token_hint", SOURCE)
    assert not is_strong("next_token", SOURCE)
    assert not is_strong("foreign_secret_key", SOURCE)


def test_words_that_authors_leave_to_be_replaced_are_placeholders():
    for text in ("<your key>", "replace-me", "insert-token", "REDACTED", "some-fake-key", ""):
        assert is_placeholder_text(text), text
    for text in ("hunter2", "1111", RANDOM):
        assert not is_placeholder_text(text), text


def test_the_place_of_a_file_follows_from_its_name():
    kinds = {
        ".env": Kind.ENV,
        "web/.env.production": Kind.ENV,
        "prod.env": Kind.ENV,
        "compose.yaml": Kind.CONFIG,
        ".npmrc": Kind.CONFIG,
        "Dockerfile": Kind.SHELL,
        "deploy.sh": Kind.SHELL,
        "a/settings.py": Kind.SOURCE,
        "package-lock.json": Kind.GENERATED,
        "app.min.js": Kind.GENERATED,
        "LICENSE": Kind.TEXT,
    }
    assert {name: place_of(name).kind for name in kinds} == kinds
    examples = {".env.example", "config.yaml.sample", "tests/a.py", "README.md", "a.test.js"}
    assert {name for name in (*kinds, *examples) if place_of(name).is_example} == {*examples, "LICENSE"}
    assert place_of(".env.example").kind is Kind.ENV
