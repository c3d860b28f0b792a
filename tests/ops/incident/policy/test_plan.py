"""The plan: secret_ids first, then tokens and leases, and rotations last."""

import pytest

from lessee.config.parsing import parse
from lessee.ops.incident.policy.exposure import Mount, determine_exposure
from lessee.ops.incident.policy.findings import Database, Role
from lessee.ops.incident.policy.manual_steps import manual_steps
from lessee.ops.incident.policy.plan import (
    Change,
    Step,
    plan,
    rotated_secrets,
    secret_path,
    target_rotations,
    vault_rotations,
)

CONFIG = parse(
    """
environment: production
rotation:
  db: {kind: postgres, secret: database/app, admin_secret: database/admin, roles: [a, b]}
  s3: {kind: s3, secret: storage/keys, admin_secret: storage/admin, user: simba}
  jwt: {kind: vault, secret: web/jwt, keys: {jwt: {}}}
  csrf: {kind: vault, secret: web/jwt, keys: {csrf: {}}}
  person: {kind: manual, secret: api-keys/other, keys: [key]}
""",
    source="lessee.yaml",
    environ={},
)


def test_changes_are_planned_in_order(findings, token):
    found = findings(
        tokens=(token("a", "app"), token("b", "other")),
        roles=(Role("approle", "app", ("app",), ("s1", "s2")), Role("approle", "none", ("app",), ())),
        leases={"production/database/": 2, "production/pki/": 0, "database/creds/simba": None},
        databases=(Database("production/database", ("static",), ("simba",)),),
    )
    changes = plan(
        found, (*vault_rotations(found.exposure, found.databases), *target_rotations(found.exposure, CONFIG))
    )
    assert [(change.step, change.path, change.body) for change in changes] == [
        ("secret_ids", "auth/approle/role/app/secret-id-accessor/destroy", {"secret_id_accessor": "s1"}),
        ("secret_ids", "auth/approle/role/app/secret-id-accessor/destroy", {"secret_id_accessor": "s2"}),
        ("tokens", "auth/token/revoke-accessor", {"accessor": "a"}),
        ("leases", "sys/leases/revoke-prefix/production/database", {}),
        ("leases", "sys/leases/revoke-prefix/database/creds/simba", {}),
        ("vault_rotations", "production/database/rotate-role/static", {}),
        ("vault_rotations", "production/database/rotate-root/simba", {}),
        ("target_rotations", "secret/production/database/app", {}),
        ("target_rotations", "secret/production/storage/keys", {}),
        ("target_rotations", "secret/production/web/jwt", {}),
        ("target_rotations", "secret/production/web/jwt", {}),
    ]
    assert list(Step) == sorted({change.step for change in changes}, key=list(Step).index)


def test_secret_ids_of_protected_roles_and_policies_are_left(findings):
    roles = (
        Role("approle", "app", ("app",), ("s1",)),
        Role("approle", "break-glass", ("app",), ("s2",)),
        Role("approle", "other", ("app", "operators"), ("s3",)),
    )
    changes = plan(findings(roles=roles, protected=("break-*", "operators")), ())
    assert [change.body for change in changes] == [{"secret_id_accessor": "s1"}]


def test_a_shared_root_credential_is_a_manual_step(findings):
    database = Database("production/database", (), ("own", "common"), {"common": "testing/database/simba"})
    found = findings(databases=(database,), policies={})
    (change,) = vault_rotations(found.exposure, found.databases)
    assert change.path == "production/database/rotate-root/own"
    (step,) = manual_steps(found, {}, 0)
    (line,) = step.lines
    assert line.startswith(
        "root credential of production/database/common: not rotated, since testing/database/simba uses the same user"
    )


def test_with_a_path_only_its_static_role_is_rotated():
    config = parse("environment: production", source="lessee.yaml", environ={})
    mounts = (Mount("secret/", "kv", 2), Mount("production/database/", "database"))
    databases = (Database("production/database", ("one", "two"), ("simba",)),)
    for path, rotated in (("static-creds/two", ["two"]), ("creds/simba", []), ("", ["one", "two"])):
        exposed = determine_exposure(config, "production", f"production/database/{path}", mounts, ())
        assert vault_rotations(exposed, databases) == tuple(
            Change(
                Step.VAULT_ROTATIONS,
                f"static role production/database/{name}",
                f"production/database/rotate-role/{name}",
                {},
            )
            for name in rotated
        )


@pytest.mark.parametrize(
    ("path", "names"),
    [
        (None, ["db", "s3", "jwt", "csrf"]),
        ("database/", ["db"]),
        ("database/admin", ["db"]),
        ("web/jwt", ["jwt", "csrf"]),
        ("web/j", []),
        ("api-keys/other", []),
        ("production/database/creds/simba", []),
    ],
)
def test_targets_with_an_exposed_secret_or_admin_are_rotated(path, names):
    mounts = (Mount("secret/", "kv", 2), Mount("production/database/", "database"), Mount("production/kv/", "kv", 2))
    exposed = determine_exposure(CONFIG, "production", path, mounts, ())
    changes = target_rotations(exposed, CONFIG)
    assert [change.subject for change in changes] == names
    assert [change.name for change in changes] == [
        f"target {name}, {secret_path(CONFIG, CONFIG.rotation[name])}" for name in names
    ]


def test_a_secret_of_several_targets_counts_as_rotated_when_all_were():
    assert rotated_secrets(CONFIG, {"db": ("x",), "jwt": ("csrf",)}) == {"secret/production/database/app": ("x",)}
    assert rotated_secrets(CONFIG, {"jwt": ("csrf", "b", "a"), "csrf": ("jwt", "b", "a")}) == {
        "secret/production/web/jwt": ("a", "b")
    }
    assert rotated_secrets(CONFIG, {}) == {}
