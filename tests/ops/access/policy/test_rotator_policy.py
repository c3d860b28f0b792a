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
REDIS = {"kind": "redis", "secret": "cache/redis", "admin_secret": "cache/admin", "user": "app"}


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
        "secret/metadata/testing/ssh/servers": "update",
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


def test_the_secret_id_of_a_file_needs_what_an_approle_needs():
    target = {"kind": "secret-id", "secret": "admin/own", "approle": "rotator", "secret_id_file": "/etc/secret_id"}
    of_vault = {"kind": "vault", "secret": "admin/own", "approle": "rotator"}
    assert granted(own=target) == granted(own=of_vault)


def test_root_credentials_need_their_connection_alone():
    target = {
        "kind": "database-root",
        "secret": "database/root",
        "connection": "simba",
        "admin_secret": "database/admin",
    }
    assert granted(root=target) == {
        "secret/data/testing/database/root": "create, read, update",
        "secret/metadata/testing/database/root": "read, update",
        "secret/data/testing/database/admin": "read",
        "database/config": "list",
        "database/config/+": "read",
        "database/config/simba": "read, update",
        "database/rotate-root/simba": "update",
    }


def test_a_rotator_gets_no_right_on_the_roles_and_engines_of_another_environment():
    targets = {
        "own": {"kind": "secret-id", "secret": "a", "approle": "production-rotator", "secret_id_file": "/etc/id"},
        "web": {"kind": "vault", "secret": "b", "approle": "Production-web"},
        "root": {"kind": "database-root", "secret": "c", "connection": "simba", "mount": "production/database"},
    }
    said = {"environment": "testing", "rotation": targets, "setup": {"environments": ["testing", "production"]}}
    made = rules(parse(json.dumps(said), source="x", environ={}, blocks=("rotation", "setup")))
    assert {rule.path for rule in made} == SHARED.keys()
    said["environment"] = "production"
    of_production = {rule.path for rule in rules(parse(json.dumps(said), source="x", environ={}, blocks=("rotation",)))}
    assert {"auth/approle/role/production-rotator/secret-id", "production/database/config/simba"} <= of_production


def test_an_admin_that_rotates_itself_needs_only_its_secret():
    assert granted(admin={"kind": "s3-admin", "secret": "storage/admin", "user": "boss"}) == {
        "secret/data/testing/storage/admin": "create, read, update",
        "secret/metadata/testing/storage/admin": "read, update",
    }


@pytest.mark.parametrize(
    "target",
    [
        {"kind": "database-root", "secret": "a", "connection": "web*"},
        {"kind": "secret-id", "secret": "a", "approle": "web*", "secret_id_file": "/etc/secret_id"},
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
