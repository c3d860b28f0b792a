"""Logins first, then tokens, leases, and what Vault rotates itself."""

from lessee.core.config.parsing import parse
from lessee.core.emergency.by_hand import by_hand
from lessee.core.emergency.exposure import Mount, exposure
from lessee.core.emergency.plan import Change, Step, plan, rotations
from lessee.core.emergency.sight import Database, Role


def test_everything_is_done_in_order(sight, token):
    seen = sight(
        tokens=(token("a", "app"), token("b", "other")),
        roles=(Role("approle", "app", ("app",), ("s1", "s2")), Role("approle", "none", ("app",), ())),
        leases={"production/database/": 2, "production/pki/": 0, "database/creds/simba": None},
        databases=(Database("production/database", ("static",), ("simba",)),),
    )
    changes = plan(seen, rotations(seen.exposure, seen.databases))
    assert [(change.step, change.path, change.body) for change in changes] == [
        ("secret_ids", "auth/approle/role/app/secret-id-accessor/destroy", {"secret_id_accessor": "s1"}),
        ("secret_ids", "auth/approle/role/app/secret-id-accessor/destroy", {"secret_id_accessor": "s2"}),
        ("tokens", "auth/token/revoke-accessor", {"accessor": "a"}),
        ("leases", "sys/leases/revoke-prefix/production/database", {}),
        ("leases", "sys/leases/revoke-prefix/database/creds/simba", {}),
        ("rotation", "production/database/rotate-role/static", {}),
        ("rotation", "production/database/rotate-root/simba", {}),
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
