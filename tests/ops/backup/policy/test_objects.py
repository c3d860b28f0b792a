"""Server objects in a backup: what is saved, when it differs, and what cannot be restored."""

import pytest

from lessee.ops.backup.policy.kv_reader import Read, secret_from, versions_to_read
from lessee.ops.backup.policy.object_restore import Change, Conflict, Unrestorable, change
from lessee.ops.backup.policy.objects import contacts_other_systems, gaps, has_known_path, missing_secret, settings
from lessee.ops.backup.policy.records import ServerObject, fingerprint

KEY = b"k" * 32
KV = {
    "type": "kv",
    "options": {"version": "2"},
    "config": {"max_lease_ttl": 60, "default_lease_ttl": 0},
    "local": False,
}
MOUNTS = {"secret/": "kv", "db/": "database", "auth/jwt/": "jwt", "auth/userpass/": "userpass", "t/": "transit"}


def server_object(kind, path, **data):
    return ServerObject(kind, path, data)


def test_read_only_fields_are_left_out():
    assert settings("policy", {"policy": "x", "version": 5, "modified": "now"}) == {"policy": "x"}
    assert settings("mount", {"type": "kv", "uuid": "u", "accessor": "a", "options": None}) == {"type": "kv"}
    assert settings("auth", {"type": "jwt", "uuid": "u"}) == {"type": "jwt"}
    assert settings("auth", {"type": "ns_token"}) == {"type": "token"}
    assert settings("config", {"status": "valid", "a": 1, "b": None}) == {"a": 1}


def test_a_role_is_written_only_where_it_differs():
    role = server_object("role", "auth/jwt/role/ci", token_policies=["a"], claims={}, leeway=0)
    assert change(role, {"token_policies": ["a"], "claims": None, "more": 1}) is None
    found = change(role, {"token_policies": ["b"]})
    assert found == Change(role, role.path, dict(role.data), new=False)
    assert change(role, None) == Change(role, role.path, dict(role.data), new=True)


def test_objects_without_their_password_are_reported():
    user = server_object("user", "auth/userpass/users/anna", token_policies=["a"])
    assert change(user, None) == Unrestorable(user.path, "its password")
    assert isinstance(change(user, {"token_policies": []}), Change)
    reference = server_object("reference", "db/config/main", plugin_name="x")
    assert change(reference, None) == Unrestorable(reference.path, "settings without a password")
    assert change(reference, {}) is None
    oidc = server_object("config", "auth/jwt/config", oidc_client_id="x", oidc_discovery_url="https://x")
    assert change(oidc, None) == Unrestorable(oidc.path, "its oidc_client_secret")
    assert change(oidc, dict(oidc.data)) is None
    assert missing_secret(server_object("config", "c", token_reviewer_jwt_set=True)) == "its token_reviewer_jwt"


def test_a_mount_is_created_tuned_or_a_conflict():
    mount = ServerObject("mount", "secret/", KV)
    created = change(mount, None)
    assert (created.path, created.new) == ("sys/mounts/secret", True)
    assert created.body == {"type": "kv", "options": {"version": "2"}, "config": {"max_lease_ttl": "60s"}}
    assert change(mount, KV | {"description": ""}) is None
    tuned = change(mount, KV | {"config": {"max_lease_ttl": 30}})
    assert (tuned.path, tuned.body, tuned.new) == (
        "sys/mounts/secret/tune",
        {"max_lease_ttl": "60s", "description": ""},
        False,
    )
    assert change(mount, KV | {"options": {"version": "1"}}) == Conflict(
        "secret/", "the server has kv 1, and the archive kv 2"
    )
    method = server_object("auth", "jwt/", type="jwt", description="ours")
    assert change(method, None).path == "sys/auth/jwt"
    assert change(method, {"type": "cert"}).what == "the server has cert, and the archive jwt"


@pytest.mark.parametrize(
    ("kind", "path", "known"),
    [
        ("mount", "team/kv/", True),
        ("mount", "sys/", False),
        ("mount", "secret", False),
        ("auth", "jwt/", True),
        ("policy", "sys/policies/acl/app", True),
        ("policy", "sys/seal", False),
        ("config", "auth/jwt/config", True),
        ("config", "secret/config", True),
        ("config", "db/config", False),
        ("config", "auth/userpass/config", False),
        ("role", "db/roles/a", True),
        ("role", "db/static-roles/a", False),
        ("reference", "db/static-roles/a", True),
        ("role", "auth/jwt/role/a", True),
        ("user", "auth/userpass/users/a", True),
        ("role", "t/keys/a", False),
        ("role", "secret/data/a", False),
    ],
)
def test_an_object_s_path_must_fit_its_kind(kind, path, known):
    assert has_known_path(server_object(kind, path), MOUNTS) == known


def test_configurations_that_contact_other_systems_are_recognized():
    assert contacts_other_systems(server_object("config", "c", jwks_url="https://x"))
    assert contacts_other_systems(server_object("config", "c", kubernetes_host="https://x"))
    assert not contacts_other_systems(server_object("config", "c", jwks_url="", more=1))
    assert not contacts_other_systems(server_object("role", "c", jwks_url="https://x"))


def test_each_gap_is_reported_once():
    found = gaps(
        [
            server_object("mount", "pki/", type="pki"),
            server_object("mount", "t/", type="transit"),
            server_object("mount", "secret/", type="kv"),
            server_object("auth", "approle/", type="approle"),
            server_object("auth", "ldap/", type="ldap"),
            server_object("auth", "jwt/", type="jwt"),
            server_object("user", "auth/userpass/users/a"),
            server_object("user", "auth/userpass/users/b"),
            server_object("reference", "db/config/a"),
            server_object("reference", "db/static-roles/a"),
            server_object("config", "auth/jwt/config", oidc_client_id="x"),
            server_object("config", "secret/config"),
            server_object("policy", "sys/policies/acl/a"),
        ],
        ["team/"],
        entities=True,
    )
    assert found == (
        "keys and certificates of pki/ (pki)",
        "everything in t/ (transit)",
        "secret_ids of auth/approle/",
        "everything in auth/ldap/ (ldap)",
        "passwords of auth/userpass/users/",
        "passwords of database connections; settings of connections and static roles are saved for reference",
        "auth/jwt/config: its oidc_client_secret",
        "tokens and leases",
        "identity: entities, groups and aliases",
        "the namespace team/",
    )
    assert gaps([], [], entities=False) == ("tokens and leases",)
    assert gaps([], None, entities=False)[1] == "child namespaces, if any: the token may not list them"


def marks(deleted="", *, destroyed=False):
    return {"created_time": "t", "deletion_time": deleted, "destroyed": destroyed}


def test_the_newest_version_is_read_first_and_destroyed_ones_are_skipped():
    versions = {"1": marks(destroyed=True), "2": marks(), "10": marks()}
    assert versions_to_read({"current_version": 10, "versions": versions}) == [10, 2]
    assert versions_to_read({"current_version": 0, "versions": None}) == []


def test_consistent_answers_make_a_secret():
    versions = {"1": marks(destroyed=True), "2": marks("later"), "3": marks()}
    metadata = {"current_version": 3, "versions": versions, "max_versions": 5, "custom_metadata": None}
    reads = {3: Read({"v": 3}, marks()), 2: Read(None, marks("later"))}
    found = secret_from("secret/", "a", metadata, reads, KEY)
    assert found.settings == {"max_versions": 5}
    assert [(one.number, one.data, one.destroyed, one.deleted) for one in found.versions] == [
        (1, None, True, ""),
        (2, None, False, "later"),
        (3, {"v": 3}, False, ""),
    ]
    assert found.versions[2].fingerprint == fingerprint(KEY, "secret/", "a", {"v": 3})
    assert "{'v'" not in repr(reads[3])


@pytest.mark.parametrize(
    ("reads", "strict", "lax"),
    [
        ({2: Read({"v": 2}, marks()), 1: Read(None, marks("just now"))}, False, False),
        ({2: Read({"v": 2}, marks()), 1: Read(None, {})}, False, True),
        ({2: Read(None, {}), 1: Read({"v": 1}, marks())}, False, False),
        ({2: Read({"v": 2}, marks()), 1: Read({"v": 1}, marks())}, True, True),
    ],
    ids=["deleted meanwhile", "dropped meanwhile", "missing", "unchanged"],
)
def test_a_secret_that_changed_meanwhile_is_read_again(reads, strict, lax):
    metadata = {"current_version": 2, "versions": {"1": marks(), "2": marks()}}
    assert (secret_from("secret/", "a", metadata, reads, KEY) is not None) == strict
    assert (secret_from("secret/", "a", metadata, reads, KEY, strict=False) is not None) == lax
