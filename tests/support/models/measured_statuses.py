"""Statuses that have every metric: of an agent, a rotator and a monitor."""

from support.models import statuses
from support.models.statuses import LATER, PAST

_TOTALS = (
    "requests", "request_failures", "logins", "leases_issued", "lease_renewals", "leases_revoked", "renders",
    "publications", "notifications", "readiness_passed", "rollbacks",
)  # fmt: skip
_DURATIONS = {"buckets": [[0.5, 3], [1.0, 5]], "count": 6, "sum": 12.5}
_TRAIL = {"audit_trail": {"writable": True}}


def agent():
    app = statuses.app(fresh=True, last_checked_at=PAST, drift={"total": 1})
    events = {"source": "redis://redis:6379/0", "live": True, "last_at": PAST}
    totals = dict.fromkeys(_TOTALS, 1)
    return statuses.agent(
        {"web": app}, [statuses.lease(expires_in=60.0)], rounds=_DURATIONS, events=events, totals=totals, **_TRAIL
    )


def rotator():
    target = statuses.target(
        entry_due=False, rotation_period=86_400.0, failing=False, next_rotation_at=LATER, open_seconds=0.0
    )
    return statuses.rotator({"db": target}, **_TRAIL)


def monitor():
    source = {
        "name": "vault",
        "lines": 1,
        "invalid_lines": 0,
        "gaps": 0,
        "lag_bytes": 0,
        "last_at": PAST,
        "error": None,
    }
    outcomes = {"succeeded": 1, "denied": 0, "failed": 0}
    labels = {"environment": "testing", "component": "web", "path": "secret/db"}
    peer = {"voter": True, "leader": True}
    cluster = {"peers": [peer], "error": None, "storage_bytes": 1, "storage_free_bytes": 1}
    destination = {"published": 1, "dropped": 0, "pending": 0, "reachable": True}
    return statuses.responding_monitor() | {
        "sources": [source],
        "accesses": {"by_operation": {"read": outcomes}},
        "requests": [{"labels": labels} | outcomes],
        "cluster": cluster,
        "read_latency": {"vault": _DURATIONS},
        "destinations": {"redis": destination},
    }


def issuer():
    return statuses.issuer({"testing-web": {"issued": 1, "last_issued_at": PAST}}, refused=1, **_TRAIL)
