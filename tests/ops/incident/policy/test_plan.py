"""Logins first, then tokens, leases, and what Vault rotates itself."""

import pytest

from lessee.config.parsing import parse
from lessee.ops.incident.policy.exposure import Mount, exposure
from lessee.ops.incident.policy.findings import Database, Role
from lessee.ops.incident.policy.manual_steps import by_hand
from lessee.ops.incident.policy.plan import Change, Step, place, plan, renewed, rotations, targets

CONFIG = parse(
    """
environment: production
rotation:
  db: {kind: postgres, secret: database/app, admin: database/admin, roles: [a, b]}
  s3: {kind: s3, secret: storage/keys, admin: storage/admin, user: simba}
  jwt: {kind: vault, secret: web/jwt, keys: {jwt: {}}}
  csrf: {kind: vault, secret: web/jwt, keys: {csrf: {}}}
  person: {kind: manual, secret: api-keys/other, keys: [key]}
""",
    source="lessee.yaml",
    environ={},
)


def test_everything_is_done_in_order(sight, token):
    seen = sight(
        tokens=(token("a", "app"), token("b", "other")),
        roles=(Role("approle", "app", ("app",), ("s1", "s2")), Role("approle", "none", ("app",), ())),
        leases={"production/database/": 2, "production/pki/": 0, "database/creds/simba": None},
        databases=(Database("production/database", ("static",), ("simba",)),),
    )
    changes = plan(seen, (*rotations(seen.exposure, seen.databases), *targets(seen.exposure, CONFIG)))
    assert [(change.step, change.path, change.body) for change in changes] == [
        ("secret_ids", "auth/approle/role/app/secret-id-accessor/destroy", {"secret_id_accessor": "s1"}),
        ("secret_ids", "auth/approle/role/app/secret-id-accessor/destroy", {"secret_id_accessor": "s2"}),
        ("tokens", "auth/token/revoke-accessor", {"accessor": "a"}),
        ("leases", "sys/leases/revoke-prefix/production/database", {}),
        ("leases", "sys/leases/revoke-prefix/database/creds/simba", {}),
        ("rotation", "production/database/rotate-role/static", {}),
        ("rotation", "production/database/rotate-root/simba", {}),
        ("targets", "secret/production/database/app", {}),
        ("targets", "secret/production/storage/keys", {}),
        ("targets", "secret/production/web/jwt", {}),
        ("targets", "secret/production/web/jwt", {}),
    ]
    assert list(Step) == sorted({change.step for change in changes}, key=list(Step).index)


def test_a_root_credential_that_others_log_in_with_is_left_to_people(sight):
    database = Database("production/database", (), ("own", "common"), {"common": "testing/database/simba"})
    seen = sight(databases=(database,), policies={})
    (change,) = rotations(seen.exposure, seen.databases)
    assert change.path == "production/database/rotate-root/own"
    (task,) = by_hand(seen, {}, 0)
    (line,) = task.lines
    assert line.startswith(
        "root credential of production/database/common: not rotated, for testing/database/simba logs"
    )


def test_of_one_path_only_its_own_static_role_is_rotated():
    config = parse("environment: production", source="lessee.yaml", environ={})
    mounts = (Mount("secret/", "kv", 2), Mount("production/database/", "database"))
    databases = (Database("production/database", ("one", "two"), ("simba",)),)
    for path, rotated in (("static-creds/two", ["two"]), ("creds/simba", []), ("", ["one", "two"])):
        exposed = exposure(config, "production", f"production/database/{path}", mounts, ())
        assert rotations(exposed, databases) == tuple(
            Change(
                Step.ROTATION, f"static role production/database/{name}", f"production/database/rotate-role/{name}", {}
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
def test_targets_are_rotated_whose_secret_or_admin_is_exposed(path, names):
    mounts = (Mount("secret/", "kv", 2), Mount("production/database/", "database"), Mount("production/kv/", "kv", 2))
    exposed = exposure(CONFIG, "production", path, mounts, ())
    changes = targets(exposed, CONFIG)
    assert [change.about for change in changes] == names
    assert [change.what for change in changes] == [
        f"target {name}, {place(CONFIG, CONFIG.rotation[name])}" for name in names
    ]


def test_a_secret_of_several_targets_is_renewed_when_all_are():
    assert renewed(CONFIG, {"db": ("x",), "jwt": ("csrf",)}) == {"secret/production/database/app": ("x",)}
    assert renewed(CONFIG, {"jwt": ("csrf", "b", "a"), "csrf": ("jwt", "b", "a")}) == {
        "secret/production/web/jwt": ("a", "b")
    }
    assert renewed(CONFIG, {}) == {}
