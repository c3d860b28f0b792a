"""The rotator's policy grants what its targets need, and nothing else."""

import json

import pytest

from lessee.config.parsing import parse
from lessee.core.errors import ConfigError
from lessee.ops.access.policy.rotator_policy import of_rotator, rules

SHARED = {
    "secret/data/testing/lessee/rotation/*": "create, read, update",
    "secret/metadata/testing/lessee/rotation/*": "create, read, update",
    "secret/metadata/testing/lessee/consumers/*": "delete, list, read",
    "auth/token/lookup-self": "read",
    "auth/token/renew-self": "update",
    "auth/token/revoke-self": "update",
}
REDIS = {"kind": "redis", "secret": "cache/redis", "admin_secret": "cache/admin"}


def read(**targets):
    said = {"environment": "testing", "rotation": targets}
    return parse(json.dumps(said), source="x", environ={}, blocks=("rotation",))


def granted(**targets):
    made = rules(read(**targets))
    assert [rule.path for rule in made] == sorted({rule.path for rule in made})
    assert all(rule.comments for rule in made)
    found = {rule.path: ", ".join(rule.capabilities) for rule in made}
    assert found.items() >= SHARED.items()
    return {path: capabilities for path, capabilities in found.items() if path not in SHARED}


def test_admin_secrets_are_read_and_app_secrets_written():
    assert granted(cache=REDIS) == {
        "secret/data/testing/cache/redis": "create, read, update",
        "secret/metadata/testing/cache/redis": "read, update",
        "secret/data/testing/cache/admin": "read",
    }


def test_capabilities_of_several_targets_are_merged():
    other = {"kind": "vault", "secret": "cache/admin", "keys": {"password": {}}}
    assert granted(cache=REDIS, admin=other)["secret/data/testing/cache/admin"] == "create, read, update"


def test_what_verifiers_read_is_written_too():
    assert granted(key={"kind": "ssh-key", "secret": "ssh/deploy", "verifier_secret": "ssh/servers"}) == {
        "secret/data/testing/ssh/deploy": "create, read, update",
        "secret/metadata/testing/ssh/deploy": "read, update",
        "secret/data/testing/ssh/servers": "create, read, update",
    }


def test_secret_ids_are_managed_only_for_the_named_role():
    assert granted(own={"kind": "vault", "secret": "auth/own", "approle": "web", "mount": "roles"}) == {
        "secret/data/testing/auth/own": "create, read, update",
        "secret/metadata/testing/auth/own": "read, update",
        "auth/roles/role/web": "read",
        "auth/roles/role/web/role-id": "read",
        "auth/roles/role/web/secret-id": "list, update",
        "auth/roles/role/web/secret-id/lookup": "update",
        "auth/roles/role/web/secret-id-accessor/lookup": "update",
        "auth/roles/role/web/secret-id-accessor/destroy": "update",
    }


@pytest.mark.parametrize(
    "target",
    [
        REDIS | {"secret": "cache/+"},
        REDIS | {"admin_secret": "+/redis"},
        {"kind": "vault", "secret": "auth/own", "approle": "web*"},
        {"kind": "totp", "secret": "totp/client", "verifier_secret": "totp/+"},
    ],
)
def test_a_path_with_a_pattern_is_refused(target):
    with pytest.raises(ConfigError, match=r"^rotation\.cache: a policy cannot contain '.*; rename it$"):
        rules(read(cache=target))


def test_the_policy_names_the_rotator_and_the_purpose_of_each_rule():
    text = of_rotator("testing-rotator", read(cache=REDIS))
    assert text.startswith("# testing-rotator: rotates cache\n\n")
    assert '# cache: the admin credentials for its system\npath "secret/data/testing/cache/admin" {' in text
