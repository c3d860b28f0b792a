"""The manual steps after a leak, the most important first."""

from lessee.config.parsing import parse
from lessee.ops.incident.policy.exposure import Mount, determine_exposure
from lessee.ops.incident.policy.findings import Login, Role, Secret
from lessee.ops.incident.policy.manual_steps import DAY, manual_steps, unchanged

ROTATION = """
environment: production
secrets: {shared_prefixes: [common/]}
rotation:
  postgres: {kind: postgres, secret: database/postgres, admin_secret: database/admin, roles: [a, b]}
  other: {kind: command, secret: other/thing, command: [./rotate]}
  elsewhere: {kind: command, secret: not/there, command: [./rotate]}
"""
NOW = 100 * DAY


def steps_of(found, text="environment: production", **rotated):
    rotation = parse(text, source="lessee.yaml", environ={}).rotation
    return {step.title: step.lines for step in manual_steps(found, rotation, NOW, **rotated)}


def test_without_findings_there_are_no_manual_steps(findings):
    assert steps_of(findings(policies={})) == {}


def test_secrets_are_listed_by_importance_with_their_age(findings):
    paths = ["zoo", "api-keys/old", "api-keys/new", "database/postgres", "other/thing", "database/admin", "storage/s3"]
    secrets = [Secret(f"secret/production/{path}", 3, NOW - DAY / 2) for path in paths]
    secrets[1] = Secret("secret/production/api-keys/old", 1, NOW - 40 * DAY)
    config = parse(ROTATION, source="lessee.yaml", environ={})
    exposed = determine_exposure(config, "production", None, (Mount("secret/", "kv", 2),), ())
    found = findings(
        exposure=exposed,
        secrets=(*secrets, Secret("secret/production/lessee/setup", 3, NOW), Secret("kv/loose")),
        policies={},
    )
    (lines,) = steps_of(found, ROTATION).values()
    assert lines == (
        "secret/production/database/admin (rotation target postgres, its admin): version 3, from today",
        "secret/production/database/postgres (rotation target postgres): version 3, from today",
        "secret/production/other/thing (rotation target other): version 3, from today",
        "secret/production/api-keys/old: version 1, 40 days old",
        "secret/production/api-keys/new: version 3, from today",
        "secret/production/storage/s3: version 3, from today",
        "kv/loose: age unknown",
        "secret/production/zoo: version 3, from today",
        "secret/common/: a shared folder, which other environments read too",
    )


def test_rotated_secrets_are_listed_only_with_their_unchanged_keys(findings):
    paths = ["database/postgres", "database/admin", "other/thing", "lessee/rotation/postgres", "lessee/consumers/a/b"]
    found = findings(secrets=tuple(Secret(f"secret/production/{path}", 3, NOW) for path in paths), policies={})
    rotated = {"secret/production/database/postgres": (), "secret/production/other/thing": ("salt", "\x1b")}
    lines, _ = steps_of(found, ROTATION, rotated=rotated).values()
    assert lines == (
        "secret/production/database/admin (rotation target postgres, its admin): version 3, from today",
        r"secret/production/other/thing: rotated, except its keys salt, '\x1b'",
    )


def test_sessions_of_old_credentials_are_listed_with_the_command_that_ends_them(findings):
    text = f"""{ROTATION}
  quoted: {{kind: postgres, secret: database/quoted, admin_secret: database/admin, roles: ["it's"]}}
  ended: {{kind: postgres, secret: database/ended, admin_secret: database/admin, roles: [e, f], terminate: true}}
  cache: {{kind: redis, secret: cache/redis, admin_secret: cache/admin, user: default}}
  queue: {{kind: redis, secret: cache/queue, admin_secret: cache/admin, user: worker}}
  shop: {{kind: mysql, secret: database/shop, admin_secret: database/mysql, users: [a, b]}}
  closed: {{kind: mysql, secret: database/closed, admin_secret: database/mysql, users: [c], terminate: true}}
  broker: {{kind: rabbitmq, secret: queue/a, admin_secret: queue/admin, user: deleted}}
  same: {{kind: rabbitmq, secret: queue/b, admin_secret: queue/admin, user: worker, keep_name: true}}
"""
    rotated = ("database/postgres", "database/quoted", "database/ended", "cache/redis", "cache/queue", "other/thing")
    rotated += ("database/shop", "database/closed", "queue/a", "queue/b")
    (lines,) = steps_of(
        findings(policies={}), text, rotated={f"secret/production/{path}": () for path in rotated}
    ).values()
    sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN"
    assert lines == (
        f"postgres: {sql} ('a', 'b'); `terminate: true` does this",
        f"quoted: {sql} ('it''s'); `terminate: true` does this",
        "cache: CLIENT KILL USER default",
        "queue: CLIENT KILL USER worker",
        "shop: KILL USER a (MariaDB); `terminate: true` does this",
        "shop: KILL USER b (MariaDB); `terminate: true` does this",
        "same: rabbitmqctl close_all_user_connections worker leak",
    )


def test_a_key_counts_as_unchanged_only_if_it_may_be_secret():
    before = {"password": "old", "api_key": "same", "host": "db", "rotation_count": 1, "deep": {"token": "same"}}
    after = {**before, "password": "new", "added": "x"}
    assert unchanged(before, after) == ("api_key", "deep.token")
    assert unchanged({"password": "", "gone": "x"}, {"password": ""}) == ()


def test_skipped_tokens_are_listed(findings, token):
    found = findings(policies={}, tokens=(token("r", "root"),))
    assert steps_of(found) == {
        "check, then revoke with `bao token revoke -accessor ACCESSOR`": ("token r (name-r): it is a root token",)
    }


def test_protected_roles_are_listed(findings):
    roles = (Role("approle", "rotator", ("app",), ("s1",)),)
    steps = steps_of(findings(policies={}, roles=roles, protected=("rotator",)))
    assert steps["close logins that are still open"] == (
        "approle/rotator is protected by --protect, and its secret_ids are left",
    )


def test_open_logins_are_listed(findings):
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
    found = findings(policies=policies, roles=roles, logins=logins, batch_token_ttl=7200)
    assert steps_of(found) == {
        "close logins that are still open": (
            "approle/open needs no secret_id: its role_id is enough from the bound addresses",
            "'auth/userpass/users/eve\\x1b' grants app: change its credential, or delete it",
            "auth/jwt/role/ci grants app: change its credential, or delete it",
            (
                "policy deployer may create secret_ids of approle/closed, approle/open, approle/fast:"
                " check which clients have it"
            ),
        ),
        "wait for tokens that cannot be revoked": (
            "approle/fast issues batch tokens, which have no accessor: they expire within 60 s",
            "auth/jwt/role/ci issues batch tokens, which have no accessor: wait until they expire",
            "batch tokens that were created manually cannot be listed: they expire with their parent, or within 2 h",
        ),
    }
    steps = steps_of(findings(roles=(Role("approle", "slow", ("app",), (), batch=True),)))
    line, last = steps["wait for tokens that cannot be revoked"]
    assert line.endswith("they expire within its mount's default TTL")
    assert last.endswith("they expire with their parent, or after their TTL")


def test_certificates_uncertain_policies_and_namespaces_are_listed(findings):
    found = findings(certificates={"production/pki/": 2, "production/empty/": 0}, namespaces=("team/",))
    steps = steps_of(found)
    assert steps["revoke certificates, which stay valid until they expire"] == (
        "production/pki/: 2 issued; `bao list production/pki/certs`, then revoke each, and rotate its CRL",
    )
    assert steps["check policies that may grant access to the environment"] == (
        "broken: it cannot be parsed; access of all clients that have it was revoked",
        "templated: its {{…}} depends on the client; access of all clients that have it was revoked",
    )
    assert steps["check other namespaces"] == ("tokens of other namespaces were not checked: team/",)


def test_a_secret_of_servers_is_listed_with_the_target_that_rotates_it(findings):
    text = f"{ROTATION}\n  ssh: {{kind: ssh-key, secret: ssh/deploy, verifier_secret: ssh/servers}}\n"
    found = findings(secrets=(Secret("secret/production/ssh/servers", 3, NOW),), policies={})
    (lines,) = steps_of(found, text).values()
    assert lines == ("secret/production/ssh/servers (rotation target ssh): version 3, from today",)
