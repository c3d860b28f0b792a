"""The rows of an audit report, each with its source, and the report's formats."""

import csv
import io
import json

import pytest

from lessee.audit_trail.policy.entries import Actor, Entry
from lessee.audit_trail.policy.verification import Finding
from lessee.config.parsing import parse
from lessee.core.errors import UsageError
from lessee.core.immutable import replace
from lessee.ops.access.policy.reach import Region
from lessee.ops.audit.policy import from_audit_trail, from_config, from_vault, report_format
from lessee.ops.audit.policy.from_config import SecretAge
from lessee.ops.audit.policy.from_monitor import rows_of_status
from lessee.ops.audit.policy.from_vault import EnvironmentAccess
from lessee.ops.audit.policy.rows import LocatedEntry, Row, Section
from lessee.ops.incident.policy.findings import AccessKind, AffectedPolicy, Login, Role
from lessee.ops.incident.policy.targets import affected_policies
from support.models.audit_trails import action

AGENT = Actor("agent", 10001, "", "pride-rock")
NOON = 1764331200.0
"""2025-11-28T12:00:00Z."""


def located(*actions):
    return [LocatedEntry(f"trail:{n}", Entry(n, "", n - 1, recorded)) for n, recorded in enumerate(actions, 1)]


def parse_config(text):
    return parse(text, source="lessee.yaml", environ={}, blocks=("setup", "rotation"))


def fields(rows):
    return [(row.environment, row.actor, row.item, row.detail, row.source) for row in rows]


def test_a_period_includes_its_start_and_excludes_its_end():
    timestamps = (
        "2025-11-28T11:59:59.999Z",
        "2025-11-28T12:00:00.000Z",
        "2025-11-28T13:00:00.000Z",
        "invalid",
        "0001-01-01",
    )
    entries = located(*(action(at=at) for at in timestamps))
    assert [entry.where for entry in from_audit_trail.in_period(entries, NOON, NOON + 3600)][:2] == [
        "trail:2",
        "trail:4",
    ]


def test_a_repeated_action_is_one_row_with_its_first_and_last_location():
    entries = located(
        action(), action(), action(outcome="failed"), action(actor=AGENT, name="app notified", subject={})
    )
    assert fields(from_audit_trail.action_rows(entries)) == [
        ("testing", "operator rafiki@pride-rock", "published web", "2 times done", "trail:1 … trail:2"),
        ("testing", "operator rafiki@pride-rock", "published web", "failed", "trail:3"),
        ("testing", "agent uid 10001@pride-rock", "app notified", "done", "trail:4"),
    ]


def test_a_dry_run_is_not_reported_as_done():
    actor, name = Actor("monitor", 10001, "", "pride-rock"), "alert response"
    about = {"target": "token a1", "dry_run": 1}
    entries = located(
        *(action(actor=actor, name=name, subject=about, outcome=outcome) for outcome in ("started", "done", "failed")),
        action(actor=actor, name=name, subject={"target": "token a1", "dry_run": 0}),
    )
    assert [row.detail for row in from_audit_trail.action_rows(entries)] == [
        "dry run started", "dry run: nothing was changed", "dry run failed", "done",
    ]  # fmt: skip


def test_a_response_of_the_monitor_without_an_end_is_an_exception():
    monitor, about = Actor("monitor", 10001, "", "pride-rock"), {"target": "token a1"}
    begun = action(actor=monitor, name="alert response", subject=about, outcome="started")
    [row] = from_audit_trail.exception_rows(located(begun), (), "trail")
    assert "alert response token a1: started, but no end is recorded" in row.item
    ended = action(actor=monitor, name="alert response", subject=about)
    assert list(from_audit_trail.exception_rows(located(begun, ended), (), "trail")) == []


def test_what_an_operator_writes_is_one_row_for_each_secret_and_key():
    written = [{"path": "secret/testing/db", "key": "password"}, {"path": "secret/testing/mcp", "key": "token"}]
    entries = located(*(action(name="set", subject={**one, "step": "version 2"}) for one in written))
    assert [row.item for row in from_audit_trail.action_rows(entries)] == [
        "set secret/testing/db: password (version 2)",
        "set secret/testing/mcp: token (version 2)",
    ]


def test_secret_reads_are_listed_by_secret_and_version():
    entries = located(
        action(actor=AGENT, name="secret read", subject={"secret": "secret/db", "version": 3}),
        action(actor=AGENT, name="secret read", subject={"secret": "secret/db", "version": 2}),
        action(actor=AGENT, name="secret read", subject={"secret": "secret/forged", "version": "invalid"}),
        action(actor=AGENT, name="lease issued", subject={"path": "database/creds/web"}, environment=None),
        action(actor=AGENT, name="secret read", subject={}),
        action(actor=AGENT, name="lease revoked", subject={"path": "database/creds/web"}),
    )
    assert fields(from_audit_trail.read_rows(entries)) == [
        ("testing", "agent uid 10001@pride-rock", "secret/db", "versions 2, 3", "trail:1 … trail:2"),
        ("testing", "agent uid 10001@pride-rock", "secret/forged", "1 times", "trail:3"),
        ("", "agent uid 10001@pride-rock", "database/creds/web", "1 times", "trail:4"),
    ]


def test_failures_alterations_manual_changes_and_unfinished_actions_are_exceptions():
    started = action(name="set up", subject={}, outcome="started")
    entries = located(
        started,
        action(name="set up", subject={"step": "! policy testing-ci: changed manually"}),
        action(name="set up", subject={}),
        started,
        started,
        action(
            actor=AGENT, name="generation not published", subject={"app": "web", "reason": "broken"}, outcome="failed"
        ),
        action(actor=AGENT, name="audit trail repaired", subject={"what": "torn"}),
        action(name="rotate", subject={"step": "rotation failed"}, outcome="failed"),
    )
    found = fields(from_audit_trail.exception_rows(entries, [Finding("1.jsonl", 4, 4, "is truncated")], "/trail"))
    operator = "operator rafiki@pride-rock"
    unfinished = "set up: started, but no end is recorded"
    assert found == [
        ("", "", "the audit trail was altered", "entry 4: is truncated", "/trail/1.jsonl:4"),
        ("testing", operator, "manual change", "policy testing-ci: changed manually", "trail:2"),
        ("testing", operator, unfinished, "the program was killed, or is still running", "trail:4"),
        ("testing", "agent uid 10001@pride-rock", "generation not published web", "broken", "trail:6"),
        ("testing", "agent uid 10001@pride-rock", "audit trail repaired", "torn", "trail:7"),
        ("testing", operator, "rotate (rotation failed)", "failed", "trail:8"),
        ("testing", operator, unfinished, "the program was killed, or is still running", "trail:5"),
    ]


POLICIES = {
    "testing-app": 'path "secret/data/testing/*" { capabilities = ["read"] }',
    "both": 'path "secret/data/*" { capabilities = ["read", "list"] }',
    "odd": "path {",
    "own": 'path "secret/data/testing/{{identity.entity.id}}" { capabilities = ["read"] }',
    "exact": 'path "secret/data/testing/one" { capabilities = ["read"] }',
}


def access_of(name, **fields):
    return EnvironmentAccess(name, affected_policies(POLICIES, [Region(f"secret/data/{name}/")]), **fields)


def test_access_is_listed_by_role_and_rule():
    role = Role(mount="approle", name="app", policies=("default", "testing-app", "own", "odd"), secret_ids=())
    login = Login("auth/userpass/users/simba", ("exact",))
    rows = fields(from_vault.access_rows(POLICIES, [access_of("testing", roles=(role,), logins=(login,))]))
    place = "auth/approle/role/app, sys/policies/acl"
    assert rows == [
        ("testing", "AppRole approle/app", "secret/data/testing/*", "read", f"{place}/testing-app"),
        ("testing", "AppRole approle/app", "secret/data/testing/{{…}}", "read", f"{place}/own"),
        ("testing", "AppRole approle/app", "possibly everything", "the policy cannot be parsed", f"{place}/odd"),
        (
            "testing",
            "auth/userpass/users/simba",
            "secret/data/testing/one",
            "read",
            "auth/userpass/users/simba, sys/policies/acl/exact",
        ),
        (
            "testing",
            "policy both",
            "secret/data/testing/",
            "no visible role or login gets this policy",
            "sys/policies/acl/both",
        ),
    ]


def test_a_policy_that_reaches_two_environments_is_listed():
    rows = fields(from_vault.separation_rows([access_of("testing"), access_of("production")]))
    assert [row[:3] for row in rows] == [
        ("", "policy both", "reaches testing, production"),
        ("", "policy odd", "reaches testing, production"),
        ("testing", "testing", "5 policies reach it, 2 of them another environment too"),
        ("production", "production", "2 policies reach it, 2 of them another environment too"),
    ]
    assert rows[1][3] == "testing: the policy cannot be parsed; production: the policy cannot be parsed"


def test_an_unparsable_policy_reaches_unknown_paths():
    rows = from_vault.access_rows({}, [EnvironmentAccess("testing", (AffectedPolicy("odd", AccessKind.UNREADABLE),))])
    assert [row.item for row in rows] == ["unknown paths"]


ROTATED = """
environment: testing
rotation:
  keys: {kind: vault, secret: app/keys, keys: {key: {}}, rotation_period: 24h, jitter: 0s}
  other: {kind: vault, secret: app/other, keys: {key: {}}}
"""


def test_ages_are_compared_with_the_rotation_periods():
    ages = [
        SecretAge("testing", "app/keys", NOON - 3600, "journal", "keys"),
        SecretAge("testing", "app/keys", NOON - 86400 * 3, "journal", "keys"),
        SecretAge("testing", "app/keys", 0.0, "journal", "keys"),
        SecretAge("testing", "app/other", NOON - 60, "journal", "other"),
        SecretAge("testing", "app/plain", NOON - 86400 * 9, "metadata"),
        SecretAge("testing", "app/plain", 0.0, "metadata", problem="permission denied"),
    ]
    rows = list(from_config.rotation_rows(parse_config(ROTATED), ages, NOON))
    assert fields(row for row in rows if row.section is Section.ROTATION) == [
        ("testing", "keys", "app/keys", "1h old; every 1d", "journal, rotation.keys.rotation_period"),
        ("testing", "keys", "app/keys", "3d old; every 1d: OVERDUE by 2d", "journal, rotation.keys.rotation_period"),
        ("testing", "keys", "app/keys", "missing; every 1d", "journal, rotation.keys.rotation_period"),
        ("testing", "other", "app/other", "1m old; no rotation_period", "journal"),
        ("testing", "", "app/plain", "9d old; no target rotates it", "metadata"),
    ]
    assert fields(row for row in rows if row.section is Section.EXCEPTIONS) == [
        ("testing", "keys", "app/keys", "3d old; every 1d: OVERDUE by 2d", "journal, rotation.keys.rotation_period"),
        ("testing", "keys", "app/keys", "missing; every 1d", "journal, rotation.keys.rotation_period"),
        ("testing", "other", "app/other", "no rotation: no rotation_period; 1m old", "journal"),
        ("testing", "", "app/plain", "no rotation: no target rotates it; 9d old", "metadata"),
        ("testing", "", "app/plain", "age unknown: permission denied", "metadata"),
    ]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("audit_trail: {directory: /t, key_file: /k, required: true}", []),
        ("audit_trail: {directory: /t, key_file: /k}", ["audit_trail.required"]),
        (
            "vault: {address: 'http://vault:8200', tls_skip_verify: true}",
            ["vault.tls_skip_verify", "vault.address", "audit_trail"],
        ),
        (
            "vault: {address: 'http://127.0.0.1:8200'}\nstatus: {listen: '127.0.0.1:1', allow_unauthenticated: true}",
            ["status.allow_unauthenticated", "audit_trail"],
        ),
        ("allow_disk: true\nstatus: {listen: '0.0.0.0:9105', token_file: /t}", ["allow_disk", "audit_trail"]),
        (
            "environment: testing\napps: {web: {directory: /d, allow_disk: true, files: [{template: a.j2}]}}",
            ["apps.web.allow_disk", "audit_trail"],
        ),
    ],
)
def test_weak_settings_are_exceptions(text, keys):
    rows = from_config.weak_settings(parse_config(text), "lessee.yaml")
    assert [row.source.removeprefix("lessee.yaml: ") for row in rows] == keys


def test_the_monitors_counts_and_alerts_are_listed_with_their_source():
    status = {
        "accesses": {
            "by_path": [{"path": "secret/db", "component": "app", "address": "10.0.0.7", "total": 3}, {"path": "x"}]
        },
        "alerts": [{"rule": "root", "subject": "token", "text": "used", "started_at": "2025-11-28T12:00:00Z"}],
    }
    assert fields(rows_of_status(json.dumps(status).encode(), "m.json")) == [
        ("", "app from 10.0.0.7", "secret/db", "3 times", "m.json: accesses.by_path[0]"),
        ("", "? from ?", "x", "0 times", "m.json: accesses.by_path[1]"),
        ("", "token", "alert root", "used", "m.json: alerts[0]"),
    ]
    assert list(rows_of_status(b'{"accesses": {}}', "m.json")) == []
    for text in (b"", b"[]", b"{}", b'{"apps": {}, "alerts": []}', b'{"accesses": {}, "alerts": [1]}', b"\xff"):
        with pytest.raises(UsageError, match=r"m.json: the file is not the status of a monitor"):
            list(rows_of_status(text, "m.json"))


ROW = Row(Section.ACTIONS, "testing", "=cmd|x", "+a", "two\nlines", "2025-11-28T12:00:00Z", "trail:1")


def test_no_csv_cell_is_a_formula():
    prefixes = ("=", "+", "-", "@", "\t", "\r", " =", "\uff1d")
    rows = [replace(ROW, section=Section.EXCEPTIONS), ROW, *(replace(ROW, actor=f"{prefix}x") for prefix in prefixes)]
    read = list(csv.DictReader(io.StringIO(report_format.as_csv(rows), newline="")))
    assert [row["section"] for row in read] == ["actions"] * 9 + ["exceptions"]
    assert read[0]["actor"] == "'=cmd|x"
    assert read[0]["detail"] == "two\\x0alines"
    assert not any(cell.strip().startswith(prefixes) for row in read for cell in row.values())


def test_text_has_a_source_below_each_row_and_json_has_all_sections():
    text = report_format.as_text({"generated": "now"}, [ROW])
    assert text.startswith("generated: now\n\nACTIONS (1)\n  testing · =cmd|x · +a · two\\x0alines · 2025")
    assert "\n      source: trail:1\n\nCURRENT ACCESS (0)\n  none\n" in text
    data = json.loads(report_format.as_json({"generated": "now"}, [ROW]))
    assert data["actions"][0]["detail"] == "two\nlines"
    assert data["exceptions"] == []
