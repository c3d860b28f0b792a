"""How secrets are not as they should be, and which check must fail then."""

import secrets
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from support.environments.breakages import CRITICAL, WARNING, Table
from support.environments.premises import halves
from support.environments.sound_environment import Authority

ROWS = Table()
broken = ROWS.broken


def as_another(policy):
    """A way to run it with a token that may do less."""

    @contextmanager
    def run(it):
        it.bao.ask("PUT", "sys/policies/acl/lesser", {"policy": policy})
        with it.with_environ(VAULT_TOKEN=it.token_with("lesser")):
            yield

    return run


LESS = """
path "secret/data/testing/*" { capabilities = ["read"] }
path "secret/data/testing/database/*" { capabilities = ["deny"] }
path "secret/metadata/testing/*" { capabilities = ["read", "list"] }
"""


@broken("secrets", "all-read", WARNING)
def one_of_them_may_not_be_read(it):
    return as_another(LESS)(it)


@contextmanager
def more(it, path, **fields):
    """A secret more."""
    it.bao.put(path, **fields)
    yield
    it.bao.ask("DELETE", f"secret/metadata/{path}")


@broken("secrets", "no-placeholders", CRITICAL)
def a_value_is_a_placeholder(it):
    return more(it, "testing/deep/er/x", note="changeme")


@broken("secrets", "no-placeholders", CRITICAL)
def a_value_is_empty(it):
    return more(it, "testing/x", password="")


@broken("secrets", "not-guessable", CRITICAL)
def a_value_is_a_common_password(it):
    return more(it, "testing/x", password="Password123")


@broken("secrets", "not-guessable", CRITICAL)
def a_password_is_its_users_name(it):
    return more(it, "testing/x", username="production-simba", password="production-simba")


@broken("secrets", "long-enough", WARNING)
def a_password_is_short(it):
    it.values.append(secrets.token_hex(5))
    return more(it, "testing/x", password=it.values[-1])


@broken("secrets", "not-repeated", WARNING)
def a_value_stands_twice(it):
    return more(it, "testing/x", token=it.secrets["mcp/memory"]["api_key"])


@broken("secrets", "environments-differ", CRITICAL)
def a_value_stands_in_production_too(it):
    return more(it, "production/x", token=it.secrets["mcp/memory"]["api_key"])


def age(it):
    """Of the password of the database, in seconds."""
    made = it.bao.ask("GET", "secret/data/testing/database/postgres")["data"]["metadata"]["created_time"]
    return (datetime.now(UTC) - datetime.fromisoformat(made)).total_seconds()


def rotated(it, every):
    block = it.config["rotation"]["postgres"] | {"every": f"{max(round(every * 1000), 100)}ms"}
    return it.with_config(rotation={"postgres": block})


@broken("secrets", "rotated-in-time", WARNING)
def a_password_was_not_rotated(it):
    return rotated(it, (age(it) + 1) * 0.7)


@broken("secrets", "rotated-in-time", CRITICAL)
def a_password_was_not_rotated_twice_in_a_row(it):
    return rotated(it, age(it) / 10)


@broken("secrets", "not-deleted", CRITICAL)
@contextmanager
def what_a_template_reads_is_deleted(it):
    it.bao.ask("DELETE", "secret/data/testing/frontend/app")
    yield
    it.write("frontend/app", **it.secrets["frontend/app"])


@broken("secrets", "no-password-in-urls", WARNING)
def a_url_holds_a_password(it):
    return more(it, "testing/x", url=f"postgres://simba:{it.value()}@db:5432/simba")


def issued(days):
    """A certificate with its key."""
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder, "ca.pem"))
        authority.issue(Path(folder, "pair.pem"), days)
        return halves(Path(folder, "pair.pem").read_text())


@broken("secrets", "certificates-valid", WARNING)
def a_certificate_ends_next_week(it):
    return more(it, "testing/x", **issued(7))


@broken("secrets", "certificates-valid", CRITICAL)
def a_certificate_ends_tomorrow(it):
    return more(it, "testing/x", **issued(1))


@broken("secrets", "certificates-valid", CRITICAL)
def a_certificate_is_rubbish(it):
    return more(it, "testing/x", pem="-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----")


@broken("secrets", "keys-fit-certificates", CRITICAL)
def a_private_key_is_anothers(it):
    pair = issued(90) | {"private_key": issued(90)["private_key"]}
    return more(it, "testing/x", **pair)
