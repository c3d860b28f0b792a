"""A value is what a person calls it who sees the whole project."""

import pytest

from lessee.ops.adopt.policy.classification import classified
from lessee.ops.adopt.policy.model import Image, Origin, Project, Service, Source, Span, Use
from lessee.ops.scan.policy.classifier import Verdict

SECRET, PLAIN = Verdict.SECRET, Verdict.PLAIN
WORDS = "command[{}]"


def use(name, value, *texts, service="web", names=()):
    """`texts`: what the places say that the value is made of."""
    sources = tuple(
        Source(Origin.COMPOSE, (*names, *[name] * len(texts))[at], Span("c", 1, int.from_bytes(text.encode()), 1), text)
        for at, text in enumerate(texts)
    )
    return Use(service, name, value, sources)


def verdicts(*uses):
    services = {one.service: Service(one.service, Image("x")) for one in uses}
    return classified(Project("p", "/p", (), services, uses)).uses


def verdict(name, value):
    [one] = verdicts(use(name, value))
    return one.verdict, one.rule


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("POSTGRES_PASSWORD", "postgres", "named-secret"),
        ("POSTGRES_PASSWORD", "changeme", "named-secret"),
        ("MYSQL_ROOT_PASSWORD", "123", "named-secret"),
        ("SECRET_KEY", "---", "named-secret"),
        ("BULL_AUTH_KEY", "@", "named-secret"),
        ("NEXT_PRIVATE_ENCRYPTION_KEY", "CAFEBABE", "named-secret"),
        ("SALT", "mysalt", "named-secret"),
        ("AUTH_SALT", "put your phrase in here", "named-secret"),
        ("REDIS_CACHE_PASSWORD", "x y", "named-secret"),
        ("DATABASE_URL", "postgres://u:p@db/x", "password-in-url"),
        ("SMTP_FROM", "smtp://u:hunter2@mail", "password-in-url"),
        ("STORAGE", "minio?accessKey=a1&secretKey=b2", "secret-in-text"),
        ("SETTINGS", "db:\n  user: u\n  password: x1\n", "secret-in-text"),
        ("AWS_ACCESS_KEY_ID", "minio", "access-key"),
        ("MINIO_ROOT_USER", "admin", "access-key"),
        ("secrets.db_password", "x", "compose-secret"),
        ("labels.token", "f3b1c9a7d2e8", "named-secret"),
        ("build.args.NPM_TOKEN", "f3b1c9a7d2e8", "named-secret"),
        ("SENTRY_DSN", "https://a:b1c2d3e4f5@sentry.host/1", "password-in-url"),
    ],
)
def test_secrets(name, value, rule):
    assert verdict(name, value) == (SECRET, rule)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POSTGRES_PASSWORD", ""),
        ("MAIL_PASSWORD", "null"),
        ("POSTGRES_PASSWORD_FILE", "/run/secrets/p"),
        ("POSTGRES_USER", "postgres"),
        ("POSTGRES_DB", "app"),
        ("TEST_USER2", "test"),
        ("PW_SMTP_FROM", "a@b.test"),
        ("ADMIN_EMAIL", "a@b.test"),
        ("REDIS_URL", "redis://cache:6379"),
        ("DB_HOST", "db"),
        ("PORT", "8080"),
        ("LOG_LEVEL", "debug"),
        ("JWT_TOKEN_LIFETIME", "3600"),
        ("API_KEY_LIMIT", "60/minute"),
        ("SIGNING_KEY", "/etc/key.pem"),
        ("MAX_TOKENS", "4096"),
        ("NEXT_TOKEN", "page"),
        ("BCRYPT_SALT", "10"),
        ("SALT_ROUNDS", "12"),
        ("BASALT", "rock"),
        ("SENTRY_DSN", "0"),
        ("ACCESS_KEY", "https://docs"),
        ("secrets.db_user", "app"),
        ("secrets.db", ""),
        ("ENABLE_SECRETS", "true"),
    ],
)
def test_plain_values(name, value):
    assert verdict(name, value) == (PLAIN, "")


def test_a_placeholder_that_the_stack_uses_is_a_secret_and_called_one():
    [one] = verdicts(use("SECRET_KEY", "changeme-please"))
    assert (one.verdict, one.is_placeholder) == (SECRET, True)


def commands(*words, more=()):
    uses = [use(WORDS.format(at), word) for at, word in enumerate(words)]
    return [one.verdict is SECRET for one in verdicts(*more, *uses)][len(more) :]


PASSWORD = use("DB_PASSWORD", "hunter2-secret")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["redis-server", "--requirepass", "x1"], [False, False, True]),
        (["redis-server", "--requirepass", "$PASSWORD"], [False, False, False]),
        (["redis-server --requirepass x1 --save 60"], [True]),
        (["redis-server", "--requirepass", "--save"], [False, False, False]),
        (["CMD", "redis-cli", "-a", "x1", "ping"], [False, False, False, True, False]),
        (["tar", "-a", "x1"], [False, False, False]),
        (["mysqladmin", "ping", "-phunter2-secret"], [False, False, True]),
        (["mysqladmin", "ping", "-pother"], [False, False, False]),
        (["mysqladmin ping -pother"], [True]),
        (["sqlcmd -P hunter2-secret -Q x"], [True]),
        (["server --pw=hunter2-secretive"], [False]),
        (["--token=abcdef"], [True]),
        (["curl http://x/?health_token=changeme"], [True]),
        (["mongosh mongodb://root:secret@db"], [True]),
        (["psql -U postgres"], [False]),
        (["echo ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vX7zA9cD1eF3gH5"], [True]),
        ([""], [False]),
        (["--password"], [False]),
    ],
)
def test_words_of_commands(words, expected):
    assert commands(*words, more=[PASSWORD]) == expected


def test_a_word_that_is_also_a_plain_value_is_no_secret():
    uses = [use("DB_PASSWORD", "application"), use("DB_USER", "application"), use("command[0]", "run application")]
    assert [one.verdict for one in verdicts(*uses)] == [SECRET, PLAIN, PLAIN]


def test_the_password_in_a_url_is_known_in_commands_too():
    uses = [use("DATABASE_URL", "postgres://u:hunter2-secret@db/x"), use("command[0]", "wait hunter2-secret")]
    assert [one.verdict for one in verdicts(*uses)] == [SECRET, SECRET]


def test_a_user_of_an_object_store_under_another_name_is_a_secret():
    uses = [
        use("MINIO_ROOT_USER", "rag", "rag", service="minio", names=("MINIO_USER",)),
        use("MINIO_USER", "rag", "rag"),
        use("OTHER_USER", "rag", "other"),
    ]
    assert [one.verdict for one in verdicts(*uses)] == [SECRET, SECRET, PLAIN]


def texts(one):
    return [source.text for source in one.sources]


def test_a_secret_keeps_the_sources_that_have_a_part_of_it():
    [url] = verdicts(use("URL", "postgres://me:p$w@db", "postgres://${U}:${P}@db", "me", "p$$w"))
    assert texts(url) == ["p$$w"]
    [url] = verdicts(use("URL", "postgres://me:pw1@db", "postgres://me:pw1@db"))
    assert texts(url) == ["postgres://me:pw1@db"]
    [escaped] = verdicts(use("A_PASSWORD", "it's", "it''s"))
    assert texts(escaped) == ["it''s"]


def test_a_user_with_the_name_of_its_password_is_no_source():
    [url] = verdicts(use("URL", "postgres://app:app@db", "app", "app ", names=("DB_USER", "DB_PASSWORD")))
    assert texts(url) == ["app "]
    [only] = verdicts(use("TEST_PASSWORD", "test", "test", names=("TEST_USER",)))
    assert texts(only) == ["test"]


def test_a_plain_value_keeps_all_sources():
    [plain] = verdicts(use("HOST", "a-b", "${A}-b", "a"))
    assert texts(plain) == ["${A}-b", "a"]
