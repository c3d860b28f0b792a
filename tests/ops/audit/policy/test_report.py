"""A report is judged from what was seen, and each of its lines names its source."""

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
from lessee.ops.audit.policy.from_config import Age
from lessee.ops.audit.policy.from_monitor import reads_of
from lessee.ops.audit.policy.from_vault import Seen
from lessee.ops.audit.policy.rows import Placed, Row, Section
from lessee.ops.incident.policy.findings import AccessKind, AffectedPolicy, Login, Role
from lessee.ops.incident.policy.targets import affected_policies
from support.models.audit_trails import action

AGENT = Actor("agent", 10001, "", "pride-rock")
NOON = 1764331200.0
"""2025-11-28T12:00:00Z."""


def placed(*acts):
    return [Placed(f"trail:{n}", Entry(n, "", n - 1, made)) for n, made in enumerate(acts, 1)]


def configured(text):
    return parse(text, source="lessee.yaml", environ={}, blocks=("setup", "rotation"))


def said(rows):
    return [(row.environment, row.who, row.what, row.detail, row.source) for row in rows]


def test_entries_of_a_time_are_those_from_its_begin_to_before_its_end():
    moments = (
        "2025-11-28T11:59:59.999Z",
        "2025-11-28T12:00:00.000Z",
        "2025-11-28T13:00:00.000Z",
        "rubbish",
        "0001-01-01",
    )
    entries = placed(*(action(at=at) for at in moments))
    assert [one.where for one in from_audit_trail.within(entries, NOON, NOON + 3600)][:2] == ["trail:2", "trail:4"]


def test_an_act_that_was_done_often_is_one_line_with_its_first_and_last_place():
    entries = placed(action(), action(), action(outcome="failed"), action(actor=AGENT, name="notified", subject={}))
    assert said(from_audit_trail.acts(entries)) == [
        ("testing", "operator rafiki@pride-rock", "published web", "2 times done", "trail:1 … trail:2"),
        ("testing", "operator rafiki@pride-rock", "published web", "failed", "trail:3"),
        ("testing", "agent uid 10001@pride-rock", "notified", "done", "trail:4"),
    ]


def test_what_agents_had_is_told_by_secret_and_version():
    entries = placed(
        action(actor=AGENT, name="read", subject={"secret": "secret/db", "version": 3}),
        action(actor=AGENT, name="read", subject={"secret": "secret/db", "version": 2}),
        action(actor=AGENT, name="read", subject={"secret": "secret/forged", "version": "rubbish"}),
        action(actor=AGENT, name="issued", subject={"path": "database/creds/web"}, environment=None),
        action(actor=AGENT, name="read", subject={}),
        action(actor=AGENT, name="revoked", subject={"path": "database/creds/web"}),
    )
    assert said(from_audit_trail.reads(entries)) == [
        ("testing", "agent uid 10001@pride-rock", "secret/db", "versions 2, 3", "trail:1 … trail:2"),
        ("testing", "agent uid 10001@pride-rock", "secret/forged", "1 times", "trail:3"),
        ("", "agent uid 10001@pride-rock", "database/creds/web", "1 times", "trail:4"),
    ]


def test_failures_alterations_hand_changes_and_acts_without_an_end_are_exceptions():
    started = action(name="set up", subject={}, outcome="started")
    entries = placed(
        started,
        action(name="set up", subject={"step": "! policy testing-ci: changed by hand"}),
        action(name="set up", subject={}),
        started,
        started,
        action(actor=AGENT, name="not published", subject={"app": "web", "reason": "broken"}, outcome="failed"),
        action(actor=AGENT, name="audit trail repaired", subject={"what": "torn"}),
        action(name="rotate", subject={"step": "rotation failed"}, outcome="failed"),
    )
    found = said(from_audit_trail.oddities(entries, [Finding("1.jsonl", 4, 4, "is truncated")], "/trail"))
    operator = "operator rafiki@pride-rock"
    endless = "set up: started, but no end is recorded"
    assert found == [
        ("", "", "the audit trail was altered", "entry 4: is truncated", "/trail/1.jsonl:4"),
        ("testing", operator, "changed by hand", "policy testing-ci: changed by hand", "trail:2"),
        ("testing", operator, endless, "it was killed, or goes on", "trail:4"),
        ("testing", "agent uid 10001@pride-rock", "not published web", "broken", "trail:6"),
        ("testing", "agent uid 10001@pride-rock", "audit trail repaired", "torn", "trail:7"),
        ("testing", operator, "rotate (rotation failed)", "failed", "trail:8"),
        ("testing", operator, endless, "it was killed, or goes on", "trail:5"),
    ]


POLICIES = {
    "testing-app": 'path "secret/data/testing/*" { capabilities = ["read"] }',
    "both": 'path "secret/data/*" { capabilities = ["read", "list"] }',
    "odd": "path {",
    "own": 'path "secret/data/testing/{{identity.entity.id}}" { capabilities = ["read"] }',
    "exact": 'path "secret/data/testing/one" { capabilities = ["read"] }',
}


def seen(name, **fields):
    return Seen(name, affected_policies(POLICIES, [Region(f"secret/data/{name}/")]), **fields)


def test_who_may_do_what_is_told_by_role_and_rule():
    role = Role(mount="approle", name="app", policies=("default", "testing-app", "own", "odd"), secret_ids=())
    login = Login("auth/userpass/users/simba", ("exact",))
    rows = said(from_vault.access(POLICIES, [seen("testing", roles=(role,), logins=(login,))]))
    place = "auth/approle/role/app, sys/policies/acl"
    assert rows == [
        ("testing", "AppRole approle/app", "secret/data/testing/*", "read", f"{place}/testing-app"),
        ("testing", "AppRole approle/app", "secret/data/testing/{{…}}", "read", f"{place}/own"),
        ("testing", "AppRole approle/app", "everything", "the policy cannot be read", f"{place}/odd"),
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
            "no role or user that can be seen gives this policy",
            "sys/policies/acl/both",
        ),
    ]


def test_a_policy_that_reaches_two_environments_is_told():
    rows = said(from_vault.separation([seen("testing"), seen("production")]))
    assert [row[:3] for row in rows] == [
        ("", "policy both", "reaches testing, production"),
        ("", "policy odd", "reaches testing, production"),
        ("testing", "testing", "5 policies reach it, 2 of them another environment too"),
        ("production", "production", "2 policies reach it, 2 of them another environment too"),
    ]
    assert rows[1][3] == "testing: its text cannot be read; production: its text cannot be read"


def test_a_policy_that_reaches_somewhere_unknown_says_so():
    rows = from_vault.access({}, [Seen("testing", (AffectedPolicy("odd", AccessKind.UNREADABLE),))])
    assert [row.what for row in rows] == ["somewhere"]


ROTATED = """
environment: testing
rotation:
  keys: {kind: vault, secret: app/keys, keys: {key: {}}, rotation_period: 24h, jitter: 0s}
  other: {kind: vault, secret: app/other, keys: {key: {}}}
"""


def test_ages_are_held_against_their_periods():
    ages = [
        Age("testing", "app/keys", NOON - 3600, "journal", "keys"),
        Age("testing", "app/keys", NOON - 86400 * 3, "journal", "keys"),
        Age("testing", "app/keys", 0.0, "journal", "keys"),
        Age("testing", "app/other", NOON - 60, "journal", "other"),
        Age("testing", "app/plain", NOON - 86400 * 9, "metadata"),
        Age("testing", "app/plain", 0.0, "metadata", missing="permission denied"),
    ]
    rows = list(from_config.ages(configured(ROTATED), ages, NOON))
    assert said(row for row in rows if row.section is Section.ROTATION) == [
        ("testing", "keys", "app/keys", "1h old; every 1d", "journal, rotation.keys.every"),
        ("testing", "keys", "app/keys", "3d old; every 1d: OVERDUE by 2d", "journal, rotation.keys.every"),
        ("testing", "keys", "app/keys", "not there; every 1d", "journal, rotation.keys.every"),
        ("testing", "other", "app/other", "1m old; no period", "journal"),
        ("testing", "nobody", "app/plain", "9d old; no target rotates it", "metadata"),
    ]
    assert [row.detail for row in rows if row.section is Section.EXCEPTIONS] == [
        "3d old; every 1d: OVERDUE by 2d",
        "not there; every 1d",
        "no rotation: no period; 1m old",
        "no rotation: no target rotates it; 9d old",
        "not known: permission denied",
    ]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("audit_trail: {directory: /t, key_file: /k, required: true}", []),
        ("audit_trail: {directory: /t, key_file: /k}", ["audit_trail.required"]),
        ("vault: {address: 'http://vault:8200', tls_skip_verify: true}", ["vault.tls_skip_verify", "vault.address", "audit_trail"]),
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
def test_settings_that_weaken_it_are_exceptions(text, keys):
    rows = from_config.weaknesses(configured(text), "lessee.yaml")
    assert [row.source.removeprefix("lessee.yaml: ") for row in rows] == keys


def test_what_the_monitor_counted_is_told_with_its_place():
    status = {
        "accesses": {
            "by_path": [{"path": "secret/db", "component": "app", "address": "10.0.0.7", "total": 3}, {"path": "x"}]
        },
        "alerts": [{"rule": "root", "subject": "token", "text": "used", "started_at": "2025-11-28T12:00:00Z"}],
    }
    assert said(reads_of(json.dumps(status).encode(), "m.json")) == [
        ("", "app from 10.0.0.7", "secret/db", "3 times", "m.json: accesses.by_path[0]"),
        ("", "? from ?", "x", "0 times", "m.json: accesses.by_path[1]"),
        ("", "token", "alert root", "used", "m.json: alerts[0]"),
    ]
    assert list(reads_of(b'{"accesses": {}}', "m.json")) == []
    for text in (b"", b"[]", b"{}", b'{"apps": {}, "alerts": []}', b'{"accesses": {}, "alerts": [1]}', b"\xff"):
        with pytest.raises(UsageError, match=r"m.json: it is no status of the monitor"):
            list(reads_of(text, "m.json"))


ROW = Row(Section.ACTS, "testing", "=cmd|x", "+a", "two\nlines", "2025-11-28T12:00:00Z", "trail:1")


def test_no_cell_of_a_spreadsheet_is_a_formula():
    signs = ("=", "+", "-", "@", "\t", "\r", " =", "\uff1d")
    rows = [replace(ROW, section=Section.EXCEPTIONS), ROW, *(replace(ROW, who=f"{sign}x") for sign in signs)]
    read = list(csv.DictReader(io.StringIO(report_format.as_csv(rows), newline="")))
    assert [row["section"] for row in read] == ["acts"] * 9 + ["exceptions"]
    assert read[0]["who"] == "'=cmd|x"
    assert read[0]["detail"] == "two\\x0alines"
    assert not any(cell.strip().startswith(signs) for row in read for cell in row.values())


def test_a_text_has_a_source_below_each_line_and_a_program_gets_all_sections():
    text = report_format.as_text({"made": "now"}, [ROW])
    assert text.startswith("made: now\n\nWHAT WAS DONE (1)\n  testing · =cmd|x · +a · two\\x0alines · 2025")
    assert "\n      source: trail:1\n\nWHO MAY DO WHAT, NOW (0)\n  nothing\n" in text
    said_ = json.loads(report_format.as_json({"made": "now"}, [ROW]))
    assert said_["acts"][0]["detail"] == "two\nlines"
    assert said_["exceptions"] == []
