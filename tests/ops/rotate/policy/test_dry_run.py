"""What would be done is told before it is done, without a value."""

import pytest

from lessee.config.parsing import parse
from lessee.core.consumers import Standing
from lessee.ops.rotate.policy.dry_run import Outlook, lacking, lines, needed
from lessee.ops.rotate.policy.journal import Journal, Step
from lessee.ops.rotate.policy.selection import Wish

VALUE = "a-value-of-the-secret"
TEXT = """
environment: production
rotation:
  turns: {kind: postgres, secret: turns, admin: a, roles: [one, two]}
  single: {kind: postgres, secret: single, admin: b, roles: [one]}
  redis: {kind: redis, secret: redis, admin: a}
  named: {kind: redis, secret: named, admin: a, user: simba}
  s3: {kind: s3, secret: s3, admin: a, user: simba, keep: 1h}
  minio: {kind: minio, secret: minio, admin: a}
  key: {kind: api-key, secret: key, recipe: openrouter}
  person: {kind: manual, secret: person, keys: [api_key]}
  random: {kind: vault, secret: random, keys: {key: {generate: 20}, jwt: {previous: old}}}
  role: {kind: vault, secret: role, approle: web}
  own: {kind: command, secret: own, command: [./rotate, fast], consumers: [nala]}
"""
ROTATION = parse(TEXT, source="lessee.yaml", environ={}, blocks=("rotation",)).rotation
NOBODY = Standing()


def outlook(name, wish=Wish.ROTATE, journal=None, standing=NOBODY, version=3, **fields):
    fields = {"password": VALUE, **fields}
    journal = journal or Journal()
    return Outlook(name, ROTATION[name], wish, "secret/production/s", version, fields, journal, standing, 0.0)


@pytest.mark.parametrize(
    ("name", "fields", "told"),
    [
        ("turns", {"username": "two"}, ["from two to the role one, with a new password"]),
        ("turns", {"username": VALUE}, ["from a role that is none of these to the role one, with a new password"]),
        (
            "single",
            {},
            [
                "the role one gets a new password",
                "WARNING: with a single role, logins fail from that moment until the apps have the new one; name two",
            ],
        ),
        ("redis", {}, ["the ACL user of the secret gets a second password, and then loses the first"]),
        ("named", {}, ["the ACL user simba gets a second password, and then loses the first"]),
        ("s3", {}, ["a second key of the user simba is made; the old one is disabled, and removed after 1h"]),
        ("minio", {}, ["a new service account of the admin is made; the old one is disabled, and removed after 1d"]),
        ("key", {}, ["a new key is made and the old one revoked, as openrouter says"]),
        ("person", {}, ["a person makes it, and types in api_key"]),
        (
            "random",
            {},
            ["key: 20 new characters", "jwt: 48 new characters; the old ones stand in old until the next rotation"],
        ),
        ("role", {}, ["a new secret_id of the AppRole approle/web; the old one is destroyed"]),
        ("own", {}, ["as ./rotate does it"]),
    ],
)
def test_of_each_kind_it_is_told_what_becomes_what(name, fields, told):
    first, *rest, last = lines(outlook(name, **fields))
    assert first == f"{name}: would be rotated: secret/production/s (version 3)"
    assert rest == [f"  {one}" for one in told]
    assert last.startswith("  waits 5m at most for ")
    assert VALUE not in "".join((first, *rest, last, repr(outlook(name, **fields))))


@pytest.mark.parametrize(
    ("name", "standing", "who"),
    [
        ("redis", Standing(), "whoever reads it: nobody is known"),
        ("redis", Standing(("b/1",), ("a/1",)), "a/1, b/1"),
        ("own", Standing(("b/1",)), "b/1, nala"),
        ("own", None, "its consumers, who cannot be looked at"),
    ],
)
def test_who_is_waited_for_is_told(name, standing, who):
    *_, last = lines(outlook(name, standing=standing))
    assert last == f"  waits 5m at most for {who}"


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (Step.CREATING, "open since 1970-01-01T00:00:00Z: a new value that was asked for is removed"),
        (Step.CREATED, "open since 1970-01-01T00:00:00Z: a new value is made"),
        (Step.PUBLISHED, "open since 1970-01-01T00:00:00Z: the new value is published"),
        (Step.KEEPING, "the old one of the last rotation, kept until 1970-01-01T00:00:00Z, is removed first"),
    ],
)
def test_what_is_open_is_told(step, told):
    first, second, _ = lines(outlook("redis", Wish.FINISH, Journal(step=step), version=0))
    assert first == "redis: would be finished: secret/production/s (does not exist yet)"
    assert second.startswith(f"  {told}")


def test_where_nothing_is_to_be_done_nothing_is_told():
    assert list(lines(outlook("redis", Wish.NOTHING))) == []


def test_what_the_token_lacks_is_told_by_path():
    wanted = needed("secret", "production/", "production/s", "x")
    assert wanted["secret/data/production/lessee/rotation/x"] == ("read", "create", "update")
    assert lacking(wanted, {path: ["root"] for path in wanted}) == {}
    granted = {path: list(some) for path, some in wanted.items()}
    assert lacking(wanted, granted) == {}
    granted["secret/data/production/s"] = ["read", "update"]
    del granted["secret/metadata/production/s"]
    assert lacking(wanted, granted) == {
        "secret/data/production/s": ["create"],
        "secret/metadata/production/s": ["read", "create", "update"],
    }
