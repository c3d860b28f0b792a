"""The description of a rotation before it runs, without values."""

import pytest

from lessee.config.parsing import parse
from lessee.core.consumers import ConfirmationStatus
from lessee.ops.rotate.policy.dry_run import Preview, describe, missing_capabilities, required_capabilities
from lessee.ops.rotate.policy.journal import Journal, Step
from lessee.ops.rotate.policy.selection import DueOperation

VALUE = "a-value-of-the-secret"
TEXT = """
environment: production
rotation:
  turns: {kind: postgres, secret: turns, admin_secret: a, roles: [one, two]}
  single: {kind: postgres, secret: single, admin_secret: b, roles: [one]}
  redis: {kind: redis, secret: redis, admin_secret: a, user: simba}
  mysql: {kind: mysql, secret: mysql, admin_secret: a, users: [one, two]}
  dual: {kind: mysql, secret: dual, admin_secret: b, users: [one]}
  broker: {kind: rabbitmq, secret: broker, admin_secret: a, user: shop, delete_delay: 1h}
  same: {kind: rabbitmq, secret: same, admin_secret: b, user: shop, keep_name: true}
  entry: {kind: ldap, secret: entry, admin_secret: a, accounts: [cn=shop]}
  entries: {kind: ldap, secret: entries, admin_secret: a, accounts: [cn=one, cn=two]}
  s3: {kind: s3, secret: s3, admin_secret: a, user: simba, delete_delay: 1h}
  minio: {kind: minio, secret: minio, admin_secret: a}
  key: {kind: api-key, secret: key, recipe: openrouter}
  person: {kind: manual, secret: person, keys: [api_key]}
  random: {kind: vault, secret: random, keys: {key: {generate: 20}, jwt: {previous_key: old}}}
  role: {kind: vault, secret: role, approle: web}
  ssh: {kind: ssh-key, secret: ssh, verifier_secret: ssh-servers}
  jwt: {kind: jwt-key, secret: jwt, verifier_secret: jwks, token_ttl: 1h, verifiers: [api, web]}
  sign: {kind: signing-key, secret: sign, verifier_secret: public}
  age: {kind: age-identity, secret: age, verifier_secret: identities}
  aged: {kind: age-identity, secret: aged, verifier_secret: aged-identities, delete_delay: 90d}
  totp: {kind: totp, secret: totp, verifier_secret: seeds}
  basic: {kind: basic-auth, secret: basic, verifier_secret: users, users: [a, b]}
  pair: {kind: postgres-admins, secret: pair, roles: [one, two]}
  admin: {kind: s3-admin, secret: admin, user: boss, delete_delay: 1h}
  file: {kind: secret-id, secret: file, approle: web, secret_id_file: /etc/secret_id, consumers: [nala]}
  root: {kind: database-root, secret: root, connection: simba}
  repaired: {kind: database-root, secret: repaired, connection: simba, mount: db, admin_secret: a}
  own: {kind: command, secret: own, command: [./rotate, fast], consumers: [nala]}
"""
ROTATION = parse(TEXT, source="lessee.yaml", environ={}, blocks=("rotation",)).rotation
KNOWN = "waits for the servers that have confirmed it before at most 5m before it publishes the new one"
NO_CONSUMERS = ConfirmationStatus()


def preview(name, operation=DueOperation.ROTATE, journal=None, confirmation=NO_CONSUMERS, version=3, **fields):
    fields = {"password": VALUE, **fields}
    journal = journal or Journal()
    return Preview(name, ROTATION[name], operation, "secret/production/s", version, fields, journal, confirmation, 0.0)


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("turns", {"username": "two"}, ["from two to the role one, with a new password"]),
        ("turns", {"username": VALUE}, ["from a role that is not configured to the role one, with a new password"]),
        (
            "single",
            {},
            [
                "the role one gets a new password",
                "WARNING: with one role, logins fail until the apps have the new password; configure two roles",
            ],
        ),
        ("redis", {}, ["the ACL user simba gets a second password, and later loses the first"]),
        ("mysql", {"username": "one"}, ["from one to two, with a new password"]),
        ("mysql", {"username": VALUE}, ["from a user that is not configured to one, with a new password"]),
        ("dual", {}, ["the user one gets a second password, and later loses the first"]),
        (
            "broker",
            {"username": "shop"},
            ["a user shop-… gets the permissions of shop, which is disabled, and deleted after 1h"],
        ),
        (
            "same",
            {},
            [
                "the user shop gets a new password",
                "WARNING: logins fail until the apps have the new password; remove `keep_name`",
            ],
        ),
        ("entry", {}, ["the entry cn=shop gets a second password, and later loses the first"]),
        ("entries", {"dn": "CN = Two"}, ["from cn=two to cn=one, with a new password"]),
        ("entries", {"dn": VALUE}, ["from an entry that is not configured to cn=one, with a new password"]),
        ("s3", {}, ["the user simba gets a second key; the old one is disabled, and deleted after 1h"]),
        (
            "minio",
            {},
            ["the user of the admin gets a new service account; the old one is disabled, and deleted after 1d"],
        ),
        ("key", {}, ["the recipe openrouter creates a new key and revokes the old one"]),
        ("person", {}, ["a user creates the new credential, and enters api_key"]),
        (
            "random",
            {},
            [
                "key: 20 random characters",
                "jwt: 48 random characters; the previous value is stored in old until the next rotation",
            ],
        ),
        ("role", {}, ["the AppRole approle/web gets a new secret_id; the old one is destroyed"]),
        ("ssh", {}, ["ssh-servers gets the new credential, and the old one is removed when all clients use", KNOWN]),
        (
            "jwt",
            {},
            [
                "jwks gets the new public key, and the old one is removed 1h after all signers use",
                "waits for api, web at most 5m before it publishes the new one",
            ],
        ),
        ("sign", {}, ["public gets the new public key, and the old one is removed 1d after all signers use", KNOWN]),
        ("age", {}, ["identities gets the new identity, and the old one stays there", KNOWN]),
        ("aged", {}, ["aged-identities gets the new identity, and the old one is removed after 90d", KNOWN]),
        ("totp", {}, ["seeds gets the new credential, and the old one is removed when all clients use", KNOWN]),
        ("basic", {"username": "a"}, ["users gets the new password of the user b, and the old one is removed", KNOWN]),
        ("basic", {"username": "b"}, ["users gets the new password of the user a, and the old one is removed", KNOWN]),
        ("own", {}, ["the command ./rotate creates a new credential and revokes the old one"]),
        (
            "pair",
            {"username": "two"},
            [
                "from two to the role one, with a new password",
                "the published admin sets the password of the other, which later disables the first",
            ],
        ),
        (
            "admin",
            {},
            ["the admin boss gives itself a second key; with that, it disables the old one, and deletes it after 1h"],
        ),
    ],
)
def test_each_kind_describes_its_changes_without_a_value(name, fields, expected):
    first, *rest, last = describe(preview(name, **fields))
    assert first == f"{name}: would be rotated: secret/production/s (version 3)"
    assert len(rest) == len(expected)
    assert all(line.startswith(f"  {one}") for line, one in zip(rest, expected, strict=True))
    assert last.startswith("  waits at most 5m for ")
    assert VALUE not in "".join((first, *rest, last, repr(preview(name, **fields))))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "file",
            [
                "the AppRole approle/web gets a new secret_id, in /etc/secret_id",
                "the one that it replaces is destroyed 5s after a login with the new one",
            ],
        ),
        (
            "root",
            [
                "Vault sets a new password for the root user of database/simba, and only Vault has it",
                "WARNING: without `admin_secret`, a person must repair the connection if Vault loses the password",
            ],
        ),
        ("repaired", ["Vault sets a new password for the root user of db/simba, and only Vault has it"]),
    ],
)
def test_kinds_without_consumers_wait_for_none(name, expected):
    _, *rest = describe(preview(name))
    assert rest == [f"  {one}" for one in expected]


@pytest.mark.parametrize(
    ("name", "confirmation", "who"),
    [
        ("redis", ConfirmationStatus(), "its consumers, none of which is known"),
        ("redis", ConfirmationStatus(("b/1",), ("a/1",)), "a/1, b/1"),
        ("own", ConfirmationStatus(("b/1",)), "b/1, nala"),
        ("own", None, "its consumers, which cannot be read"),
    ],
)
def test_the_consumers_of_a_rotation_are_listed(name, confirmation, who):
    *_, last = describe(preview(name, confirmation=confirmation))
    assert last == f"  waits at most 5m for {who}"


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Step.CREATING, "open since 1970-01-01T00:00:00Z: an interrupted request for a new credential"),
        (Step.CREATED, "open since 1970-01-01T00:00:00Z: the new credential is verified"),
        (Step.PUBLISHED, "open since 1970-01-01T00:00:00Z: the new credential is published"),
        (Step.RETAINING, "first deletes the previous credential, disabled until 1970-01-01T00:00:00Z"),
    ],
)
def test_an_open_rotation_is_described(step, expected):
    first, second, _ = describe(preview("redis", DueOperation.FINISH, Journal(step=step), version=0))
    assert first == "redis: would be finished: secret/production/s (does not exist yet)"
    assert second.startswith(f"  {expected}")


def test_nothing_is_printed_when_nothing_is_due():
    assert list(describe(preview("redis", DueOperation.NOTHING))) == []


def test_a_verifiers_secret_is_written_too():
    wanted = required_capabilities("secret", "production/", "production/s", "x", ("servers",))
    assert wanted["secret/data/production/servers"] == ("read", "create", "update")


def test_missing_capabilities_are_listed_by_path():
    wanted = required_capabilities("secret", "production/", "production/s", "x")
    assert wanted == {
        "secret/data/production/lessee/rotation/x": ("read", "create", "update"),
        "secret/metadata/production/lessee/rotation/x": ("create", "update"),
        "secret/data/production/s": ("read", "create", "update"),
        "secret/metadata/production/s": ("read", "update"),
        "secret/metadata/production/lessee/consumers/": ("list",),
        "secret/metadata/production/lessee/consumers/APP/INSTANCE": ("read", "delete"),
    }
    assert missing_capabilities(wanted, {path: ["root"] for path in wanted}) == {}
    granted = {path: list(some) for path, some in wanted.items()}
    assert missing_capabilities(wanted, granted) == {}
    granted["secret/data/production/s"] = ["read", "update"]
    del granted["secret/metadata/production/s"]
    assert missing_capabilities(wanted, granted) == {
        "secret/data/production/s": ["create"],
        "secret/metadata/production/s": ["read", "update"],
    }
