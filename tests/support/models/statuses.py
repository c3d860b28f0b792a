"""Statuses of an agent, a rotator and a monitor, as their status pages get them."""

NOW = 1_790_000_000.0
PAST, SOON, LATER = "2026-09-21T14:12:20.000+00:00", "2026-09-21T14:13:40.000+00:00", "2026-09-21T15:13:20.000+00:00"
REACHABLE = {"reachable": True, "address": "https://v", "since": PAST, "next_retry_at": None, "polling": {}}
UNREACHABLE = {**REACHABLE, "reachable": False, "next_retry_at": SOON}
TOKEN = {"accessor": "a", "expires_at": LATER}


def app(**fields):
    notify = {"pending": False, "last": PAST, "error": None}
    secrets = [{"path": "secret/db", "version": 3, "read_at": PAST, "error": None, "next_retry_at": None}]
    return {
        "generation": 2, "published_at": PAST, "state": "ready", "degraded": None, "next_retry_at": None, "error": None,
        "secrets": secrets, "notify": notify, "readiness": {"pending": False, "error": None},
    } | fields  # fmt: skip


def lease(**fields):
    return {
        "path": "db/creds/a", "expires_at": LATER, "renew_at": SOON, "state": "held", "apps": ["web"],
        "error": None, "next_retry_at": None,
    } | fields  # fmt: skip


def agent(apps=None, leases=(), *, vault=REACHABLE, token=TOKEN, **fields):
    return {
        "version": "1", "environment": "testing", "ready": True, "fresh": True, "problems": [],
        "identities": [{"id": "", "apps": ["web"], "vault": vault, "token": token}],
        "apps": {"web": app()} if apps is None else apps, "leases": list(leases), "totals": {"lease_renewals": 1200},
    } | fields  # fmt: skip


def target(**fields):
    return {
        "step": "idle",
        "in_progress": False,
        "open_seconds": None,
        "last_rotated_at": PAST,
        "next_rotation_at": LATER,
        "rotation_count": 3,
        "propagation_seconds": 1.2,
        "unconfirmed_consumers": [],
        "consecutive_failures": 0,
        "last_failed_at": None,
        "error": None,
    } | fields


def rotator(targets, **fields):
    return {
        "version": "1", "environment": None, "ready": True, "fresh": True, "problems": [],
        "vault": {"reachable": True, "last_checked_at": PAST}, "targets": targets,
    } | fields  # fmt: skip


def monitor(**fields):
    return {"version": "1", "ready": True, "problems": [], "sources": []} | fields


def troubled_agent():
    """An agent with every state and every problem that its view has a text for."""
    failing = {"error": "permission denied", "next_retry_at": SOON}
    secrets = [
        {"path": "secret/db", "version": None, "read_at": None, **failing},
        {"path": "secret/key", "version": 12, "read_at": PAST, "error": None, "next_retry_at": None},
    ]
    apps = {
        "pending": app(
            state="published", error="disk full", next_retry_at=SOON, degraded="fallback", secrets=secrets,
            notify={"pending": True, "last": None, "error": "no process"}, readiness={"pending": True, "error": None},
        ),
        "waiting": app(generation=None, published_at=None, state="waiting", readiness=None, secrets=[]),
        "failed": app(state="rolled_back", readiness={"pending": True, "error": "503"}),
        "late": app(state="rejected", notify={"pending": True, "last": PAST, "error": None}),
        "notified": app(state="notified", notify={"pending": False, "last": PAST, "error": "timed out once"}),
    }  # fmt: skip
    leases = [
        lease(),
        lease(path="db/creds/b", expires_at=PAST, state="expired", apps=["web", "late"], **failing),
        lease(path="db/creds/c", expires_at=None, renew_at=None, state="retiring", apps=[]),
        lease(path="db/creds/d", expires_at=SOON),
    ]
    never_reached = {**UNREACHABLE, "since": None, "address": "https://other"}
    identities = [
        {"id": "", "apps": ["web", "late"], "vault": UNREACHABLE, "token": {"accessor": None, "expires_at": SOON}},
        {"id": "x", "apps": [], "vault": never_reached, "token": None},
    ]
    events = {"source": "redis://redis:6379/0", "live": False, "last_at": PAST}
    problems = ["https://v: connection refused", "app late: the check exits with 1"]
    return agent(
        apps, leases, ready=False, fresh=False, identities=identities, events=events, problems=problems,
        environment=None, totals={"lease_renewals": 1200, "logins": 2},
    )  # fmt: skip


def troubled_rotator():
    """A rotator with every step and every problem that its view has a text for."""
    targets = {
        "failing": target(consecutive_failures=2, last_failed_at=PAST, error="refused"),
        "never": target(consecutive_failures=1, error="refused", last_rotated_at=None, next_rotation_at=None),
        "unknown": target(error="its journal cannot be read"),
        "waiting": target(
            step="published", open_seconds=120.0, in_progress=True, unconfirmed_consumers=["x", "y"], rotation_count=0
        ),
        "open": target(step="created", open_seconds=5.0, rotation_count=0, propagation_seconds=None),
    }
    vault = {"reachable": False, "last_checked_at": None}
    return rotator(
        targets, vault=vault, ready=False, fresh=False, problems=["vault unavailable"], environment="testing"
    )


def responding_monitor():
    """A monitor with responses: those that cannot run, that wait for an approval, and that were done."""
    budget = {
        "rule": "reads", "action": "revoke-token", "max_per_hour": 3, "used": 0, "dry_run": False, "error": None,
    }  # fmt: skip
    one = {
        "id": "r0", "at": PAST, "response": "revoke-token.reads", "action": "revoke-token", "rule": "reads",
        "subject": "simba", "target": "token a1 (simba)", "event": "done", "dry_run": False, "text": "token a1: done",
    }  # fmt: skip
    asked = one | {"id": "r1", "event": "asked", "text": "token a2 waits for approval"}
    waiting = asked | {
        "expires_at": SOON, "request": "lessee response", "approvers": ["alice", "bob"],
        "command": "lessee monitor approve r1", "rejected": None,
    }  # fmt: skip
    alert = {
        "rule": "reads", "subject": "simba", "started_at": PAST, "text": "101 reads", "severity": "warning",
        "firing": True, "notified": None,
    }  # fmt: skip
    fleet = {
        "testing/web/host-1": {
            "source": "audit log", "state": "not_watched", "address": "10.0.0.1", "apps": ["web"], "version": None,
            "environment": "testing", "component": "web", "pending": None, "problems": None, "reported_at": PAST,
            "last_seen_at": PAST, "error": None, "logged_in_at": PAST, "last_read_at": PAST, "outdated": [],
            "last_read": {"path": "secret/testing/db", "version": 3},
        }
    }  # fmt: skip
    return monitor(
        problems=["the response disable-role.reads cannot run: there is no token"],
        alerts=[
            alert | {"responses": ["token a1: done"]},
            alert | {"subject": "nala", "responses": [f"token a{number}: done" for number in range(7)]},
        ],
        fleet=fleet,
        responses={
            "budgets": {
                "revoke-token.reads": budget | {"used": 3},
                "disable-role.reads": budget | {"error": "there is no token"},
                "command.reads": budget | {"dry_run": True},
                "emergency.reads": budget,
            },
            "pending": [
                waiting | {"id": "r2", "expires_at": LATER, "dry_run": True, "rejected": "it is no SSH signature"},
                waiting,
            ],
            "recent": [
                asked,
                one,
                one | {"event": "done", "dry_run": True, "text": "dry run: would revoke-token token a1"},
                *(one | {"event": event} for event in ("counted", "failed", "undone", "of a later version")),
            ],
        },
    )


def busy_monitor():
    """A monitor with every table, and each state of its rows."""
    alert = {"rule": "reads", "subject": "db", "started_at": PAST, "text": "101 reads", "severity": "warning"}
    access = {"path": "secret/db", "component": "app", "address": "10.0.0.1", "total": 5, "last_at": PAST}
    rotation = {
        "service": "rotator", "target": "db", "next_rotation_at": LATER, "consecutive_failures": 0, "error": None,
        "open_seconds": None,
    }  # fmt: skip
    service = {"name": "agent", "checked_at": PAST, "error": None, "leases": 2, "targets": 0}
    return monitor(
        environment="production",
        problems=["the webhook does not answer"],
        sources=[
            {"name": "one", "kind": "file", "lines": 1200, "lag_bytes": 2_000_000, "last_at": PAST, "error": None},
            {"name": "two", "kind": "stdin", "lines": 5, "lag_bytes": None, "last_at": None, "error": "gone"},
        ],
        accesses={
            "by_path": [{**access, "last_hour": 1}, {**access, "path": "secret/z", "last_hour": 9, "last_at": None}],
            "denied": 2,
        },
        alerts=[
            {**alert, "firing": False, "notified": None},
            {**alert, "firing": True, "notified": {"webhook": True, "smtp": False, "alertmanager": "503"}},
            {**alert, "firing": True, "severity": "critical", "subject": "", "notified": {}},
            {**alert, "firing": True, "severity": "info", "notified": None},
        ],
        destinations={
            "redis": {"reachable": True, "published": 7, "pending": 0, "error": None},
            "webhook": {"reachable": False, "published": 0, "pending": 3, "error": "refused"},
            "note": "not a destination",
        },
        rotation=[
            rotation,
            rotation
            | {
                "target": "s3",
                "next_rotation_at": PAST,
                "consecutive_failures": 2,
                "error": "refused",
                "open_seconds": 90,
            },
            rotation | {"target": "new", "next_rotation_at": None, "consecutive_failures": 1},
        ],
        services=[service, service | {"name": "rotator", "error": "refused", "leases": None, "targets": None}],
    )


def issuer(roles, **changes):
    return {
        "version": "1.0",
        "format": 1,
        "environment": "testing",
        "ready": True,
        "fresh": True,
        "roles": roles,
        "refused": 0,
        "problems": [],
    } | changes


STATUSES = {
    "agent-healthy": agent(leases=[lease()], events={"source": "redis://redis:6379/0", "live": True, "last_at": PAST}),
    "agent-not-fresh": agent(
        fresh=False, problems=["one"], events={"source": "the socket", "live": True, "last_at": None}
    ),
    "agent-troubled": troubled_agent(),
    "agent-empty": agent({}, identities=[], totals={}),
    "rotator-healthy": rotator({"db": target()}),
    "rotator-troubled": troubled_rotator(),
    "rotator-empty": rotator({}),
    "issuer-healthy": issuer(
        {"testing-web": {"issued": 2, "last_issued_at": PAST}, "testing-db": {"issued": 0, "last_issued_at": None}}
    ),
    "issuer-troubled": issuer({}, fresh=False, refused=7, problems=["secret_id not issued: Vault is away"]),
    "monitor-busy": busy_monitor(),
    "monitor-empty": monitor(),
    "monitor-not-ready": monitor(ready=False),
    "monitor-pending": monitor(responses=responding_monitor()["responses"] | {"budgets": {}}),
    "monitor-responding": responding_monitor(),
}
"""Each view in each state."""
