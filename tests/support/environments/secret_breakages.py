"""Ways to break secrets, each with the check that must fail."""

import secrets
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from support.environments.app_environment import halves
from support.environments.breakages import CRITICAL, WARNING, Table
from support.environments.server_environment import Authority

ROWS = Table()
broken = ROWS.broken


def with_another_token(policy):
    """Run it with a token that has fewer permissions."""

    @contextmanager
    def run(env):
        env.bao.ask("PUT", "sys/policies/acl/lesser", {"policy": policy})
        with env.with_environ(VAULT_TOKEN=env.token_with("lesser")):
            yield

    return run


LESS = """
path "secret/data/testing/*" { capabilities = ["read"] }
path "secret/data/testing/database/*" { capabilities = ["deny"] }
path "secret/metadata/testing/*" { capabilities = ["read", "list"] }
"""


@broken("secrets", "all-read", WARNING)
def a_secret_may_not_be_read(env):
    return with_another_token(LESS)(env)


@contextmanager
def more(env, path, **fields):
    """Add a secret."""
    env.bao.put(path, **fields)
    yield
    env.bao.ask("DELETE", f"secret/metadata/{path}")


@broken("secrets", "no-placeholders", CRITICAL)
def a_value_is_a_placeholder(env):
    return more(env, "testing/deep/er/x", note="changeme")


@broken("secrets", "no-placeholders", CRITICAL)
def a_value_is_empty(env):
    return more(env, "testing/x", password="")


@broken("secrets", "not-guessable", CRITICAL)
def a_value_is_a_common_password(env):
    return more(env, "testing/x", password="Password123")


@broken("secrets", "not-guessable", CRITICAL)
def a_password_is_its_users_name(env):
    return more(env, "testing/x", username="production-simba", password="production-simba")


@broken("secrets", "long-enough", WARNING)
def a_password_is_short(env):
    env.values.append(secrets.token_hex(5))
    return more(env, "testing/x", password=env.values[-1])


@broken("secrets", "not-repeated", WARNING)
def a_value_is_repeated(env):
    return more(env, "testing/x", token=env.secrets["mcp/memory"]["api_key"])


@broken("secrets", "environments-differ", CRITICAL)
def a_value_is_also_in_production(env):
    return more(env, "production/x", token=env.secrets["mcp/memory"]["api_key"])


def age(env):
    """The age of the database's password, in seconds."""
    created = env.bao.ask("GET", "secret/data/testing/database/postgres")["data"]["metadata"]["created_time"]
    return (datetime.now(UTC) - datetime.fromisoformat(created)).total_seconds()


def with_period(env, seconds):
    block = env.config["rotation"]["postgres"] | {"rotation_period": f"{max(round(seconds * 1000), 100)}ms"}
    return env.with_config(rotation={"postgres": block})


@broken("secrets", "rotated-on-time", WARNING)
def a_password_was_not_rotated(env):
    return with_period(env, (age(env) + 1) * 0.7)


@broken("secrets", "rotated-on-time", CRITICAL)
def a_password_was_not_rotated_twice_in_a_row(env):
    return with_period(env, age(env) / 10)


@broken("secrets", "not-deleted", CRITICAL)
@contextmanager
def a_secret_of_a_template_is_deleted(env):
    env.bao.ask("DELETE", "secret/data/testing/frontend/app")
    yield
    env.write("frontend/app", **env.secrets["frontend/app"])


@broken("secrets", "no-password-in-urls", WARNING)
def a_url_contains_a_password(env):
    return more(env, "testing/x", url=f"postgres://simba:{env.value()}@db:5432/simba")


def issued(days):
    """A certificate that is valid for so many days, with its key."""
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder, "ca.pem"))
        authority.issue(Path(folder, "pair.pem"), days)
        return halves(Path(folder, "pair.pem").read_text())


@broken("secrets", "certificates-valid", WARNING)
def a_certificate_expires_next_week(env):
    return more(env, "testing/x", **issued(7))


@broken("secrets", "certificates-valid", CRITICAL)
def a_certificate_expires_tomorrow(env):
    return more(env, "testing/x", **issued(1))


@broken("secrets", "certificates-valid", CRITICAL)
def a_certificate_is_invalid(env):
    return more(env, "testing/x", pem="-----BEGIN CERTIFICATE-----\ninvalid\n-----END CERTIFICATE-----")


@broken("secrets", "keys-match-certificates", CRITICAL)
def a_private_key_does_not_match(env):
    pair = issued(90) | {"private_key": issued(90)["private_key"]}
    return more(env, "testing/x", **pair)
