"""What is left for people is told, the most important first."""

from lessee.config.parsing import parse
from lessee.ops.incident.policy.exposure import Mount, exposure
from lessee.ops.incident.policy.findings import Login, Role, Secret
from lessee.ops.incident.policy.manual_steps import DAY, by_hand, unchanged

ROTATION = """
environment: production
secrets: {shared: [common/]}
rotation:
  postgres: {kind: postgres, secret: database/postgres, admin: database/admin, roles: [a, b]}
  other: {kind: command, secret: other/thing, command: [./rotate]}
  elsewhere: {kind: command, secret: not/there, command: [./rotate]}
"""
NOW = 100 * DAY


def told(seen, text="environment: production", **said):
    rotation = parse(text, source="lessee.yaml", environ={}).rotation
    return {task.title: task.lines for task in by_hand(seen, rotation, NOW, **said)}


def test_where_nothing_is_left_nothing_is_told(sight):
    assert told(sight(policies={})) == {}


def test_secrets_are_told_in_the_order_of_their_importance_with_their_age(sight):
    paths = ["zoo", "api-keys/old", "api-keys/new", "database/postgres", "other/thing", "database/admin", "storage/s3"]
    secrets = [Secret(f"secret/production/{path}", 3, NOW - DAY / 2) for path in paths]
    secrets[1] = Secret("secret/production/api-keys/old", 1, NOW - 40 * DAY)
    config = parse(ROTATION, source="lessee.yaml", environ={})
    exposed = exposure(config, "production", None, (Mount("secret/", "kv", 2),), ())
    seen = sight(
        exposure=exposed,
        secrets=(*secrets, Secret("secret/production/lessee/setup", 3, NOW), Secret("kv/loose")),
        policies={},
    )
    (lines,) = told(seen, ROTATION).values()
    assert lines == (
        "secret/production/database/admin (rotation target postgres, its admin): version 3, of today",
        "secret/production/database/postgres (rotation target postgres): version 3, of today",
        "secret/production/other/thing (rotation target other): version 3, of today",
        "secret/production/api-keys/old: version 1, 40 days old",
        "secret/production/api-keys/new: version 3, of today",
        "secret/production/storage/s3: version 3, of today",
        "kv/loose: age unknown",
        "secret/production/zoo: version 3, of today",
        "secret/common/: a shared folder; other environments read it too",
    )


def test_what_was_rotated_is_left_out_but_for_its_other_keys(sight):
    paths = ["database/postgres", "database/admin", "other/thing", "lessee/rotation/postgres", "lessee/consumers/a/b"]
    seen = sight(secrets=tuple(Secret(f"secret/production/{path}", 3, NOW) for path in paths), policies={})
    rotated = {"secret/production/database/postgres": (), "secret/production/other/thing": ("salt", "\x1b")}
    lines, _ = told(seen, ROTATION, rotated=rotated).values()
    assert lines == (
        "secret/production/database/admin (rotation target postgres, its admin): version 3, of today",
        r"secret/production/other/thing: rotated, but not its salt, '\x1b'",
    )


def test_sessions_that_outlive_the_old_credential_are_told_with_how_to_end_them(sight):
    text = f"""{ROTATION}
  quoted: {{kind: postgres, secret: database/quoted, admin: database/admin, roles: ["it's"]}}
  ended: {{kind: postgres, secret: database/ended, admin: database/admin, roles: [e, f], terminate: true}}
  cache: {{kind: redis, secret: cache/redis, admin: cache/admin}}
  queue: {{kind: redis, secret: cache/queue, admin: cache/admin, user: worker}}
"""
    rotated = ("database/postgres", "database/quoted", "database/ended", "cache/redis", "cache/queue", "other/thing")
    (lines,) = told(sight(policies={}), text, rotated={f"secret/production/{path}": () for path in rotated}).values()
    sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN"
    assert lines == (
        f"postgres: {sql} ('a', 'b'); `terminate: true` does it",
        f"quoted: {sql} ('it''s'); `terminate: true` does it",
        "cache: CLIENT KILL USER USERNAME",
        "queue: CLIENT KILL USER worker",
    )


def test_a_key_counts_as_unchanged_only_where_its_value_may_be_secret():
    before = {"password": "old", "api_key": "same", "host": "db", "rotation_count": 1, "deep": {"token": "same"}}
    after = {**before, "password": "new", "added": "x"}
    assert unchanged(before, after) == ("api_key", "deep.token")
    assert unchanged({"password": "", "gone": "x"}, {"password": ""}) == ()


def test_tokens_that_were_spared_are_told(sight, token):
    seen = sight(policies={}, tokens=(token("r", "root"),))
    assert told(seen) == {
        "look at, then revoke with `bao token revoke -accessor ACCESSOR`": ("token r (name-r): it is a root token",)
    }


def test_ways_in_that_stay_open_are_told(sight):
    policies = {
        "app": 'path "secret/data/production/*" { policy = "read" }',
        "deployer": 'path "auth/approle/role/+/secret-id" { capabilities = ["update"] }',
        "guest": 'path "auth/approle/role/open" { capabilities = ["update"] }',
    }
    roles = (
        Role("approle", "closed", ("app",), ()),
        Role("approle", "open", ("app",), (), binds_secret_id=False),
        Role("approle", "fast", ("app",), (), batch=True, ttl=60),
    )
    logins = (Login("auth/userpass/users/eve\x1b", ("app",)), Login("auth/jwt/role/ci", ("app",), batch=True))
    seen = sight(policies=policies, roles=roles, logins=logins, batch_ttl=7200)
    assert told(seen) == {
        "close ways in that are left open": (
            "approle/open lets in without a secret_id: its role_id is enough from its addresses",
            "'auth/userpass/users/eve\\x1b' gives app: change its credential, or take it away",
            "auth/jwt/role/ci gives app: change its credential, or take it away",
            "policy deployer may make secret_ids of approle/closed, approle/open, approle/fast: who has it?",
        ),
        "wait for what cannot be revoked": (
            "approle/fast gives batch tokens, which have no accessor: they end by themselves within 60 s",
            "auth/jwt/role/ci gives batch tokens, which have no accessor: they end by themselves",
            "batch tokens that were made by hand cannot be seen: they end with their parent, or within 2 h",
        ),
    }
    said = told(sight(roles=(Role("approle", "slow", ("app",), (), batch=True),)))
    line, last = said["wait for what cannot be revoked"]
    assert line.endswith("they end by themselves within its mount's default")
    assert last.endswith("they end with their parent, or in their time")


def test_certificates_suspicions_and_namespaces_are_told(sight):
    seen = sight(certificates={"production/pki/": 2, "production/empty/": 0}, namespaces=("team/",))
    said = told(seen)
    assert said["revoke certificates, which stay valid until they expire"] == (
        "production/pki/: 2 issued; `bao list production/pki/certs`, then revoke each, and rotate its CRL",
    )
    assert said["look at policies that are taken to reach the environment"] == (
        "broken: its text cannot be read here; who has it was struck",
        "templated: what its {{…}} stands for depends on who asks; who has it was struck",
    )
    assert said["look elsewhere too"] == ("tokens of other namespaces were not looked at: team/",)
