"""Literal values in Compose files that look like secrets."""

import pytest

from lessee.ops.lint.policy.compose.rules import looks_secret


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POSTGRES_PASSWORD", "hunter2"),
        ("db_passwd", "hunter2"),
        ("BAO_TOKEN", "quickstart"),
        ("AUTH_SECRET", "x"),
        ("AUTH_SECRET2", "x"),
        ("OPENAI_API_KEY", "sk-x"),
        ("OPENAI_APIKEY", "sk-x"),
        ("KEY", "x"),
        ("SECRET_KEY_BASE", "x"),
        ("AWS_CREDENTIALS", "x"),
        ("POSTGRES_PASSWORD", "1234"),
        ("POSTGRES_PASSWORD", "${POSTGRES_PASSWORD:-hunter2}"),
        ("POSTGRES_PASSWORD", "${POSTGRES_PASSWORD-hunter2}"),
        ("POSTGRES_PASSWORD", "a$$b"),
        ("DATABASE_URL", "postgresql://simba:simba_password@postgres:5432/simba"),
        ("DSN", "redis://:hunter2@redis:6379/0"),
        ("DATABASE_URL", "postgresql://${USER}:hunter2@db/${NAME}"),
        ("DATABASE_URL", "${URL:-postgresql://a:b@db/c}"),
        ("ANY", "amqp://a:b$$c@mq"),
        ("SMTP_PASS", "hunter2"),
        ("DB_PWD", "hunter2"),
        ("GITLAB_PAT", "x"),
        ("MSSQL_DSN", "server=db;user id=sa;password=hunter2"),
        ("NEO4J_AUTH", "neo4j/hunter2"),
        ("PROXY_HEADER", "Authorization: Bearer hunter2hunter2"),
        ("OPTIONS", "--api-key=hunter2"),
    ],
)
def test_literals_with_a_secret_name_or_a_password_in_a_url_are_secrets(name, value):
    assert looks_secret(name, value)


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POSTGRES_PASSWORD", ""),
        ("POSTGRES_PASSWORD", "${POSTGRES_PASSWORD}"),
        ("POSTGRES_PASSWORD", "$POSTGRES_PASSWORD"),
        ("POSTGRES_PASSWORD", "${POSTGRES_PASSWORD:?say a password}"),
        ("POSTGRES_PASSWORD", "${POSTGRES_PASSWORD:-}"),
        ("POSTGRES_PASSWORD", "${A:-${B}}"),
        ("POSTGRES_PASSWORD", "x${B}"),
        ("POSTGRES_PASSWORD", "/run/secrets/password"),
        ("POSTGRES_PASSWORD_FILE", "password"),
        ("JWT_PUBLIC_KEY", "x"),
        ("AWS_ACCESS_KEY_ID", "AKIA"),
        ("TOKEN_TTL", "3600"),
        ("VITE_ENABLE_API_KEYS", "true"),
        ("USE_TOKEN", "True"),
        ("MONKEY", "x"),
        ("DATABASE_URL", "postgresql://simba@postgres/simba"),
        ("DATABASE_URL", "postgresql://simba:${PASSWORD}@postgres/simba"),
        ("API_KEY", "https://a:${B}@c"),
        ("URL", "http://web:80/a@b"),
        ("A", "b"),
        ("STRIPE_PUBLISHABLE_KEY", "pk_x"),
        ("DB_DSN", "postgresql://simba@postgres/simba"),
        ("PWD", "/app"),
        ("SSH_AUTH_SOCK", "x"),
        ("MAX_TOKEN", "4096"),
    ],
)
def test_variables_and_harmless_literals_are_not_secrets(name, value):
    assert not looks_secret(name, value)
