"""The views of each service's status, as an HTML page and as lines of text."""

import re
from html.parser import HTMLParser

import pytest

from lessee.status.pages.page import render_page
from lessee.status.pages.plain_text import lines
from lessee.status.pages.views import build_view
from support.models.statuses import (
    LATER,
    NOW,
    PAST,
    REACHABLE,
    SOON,
    UNREACHABLE,
    agent,
    app,
    lease,
    monitor,
    rotator,
    target,
)

EVIL = "<script>\"&'\x1b[2J</script>"


def cells(status, key):
    """The rows of a table as {column: text with notes}."""
    [table] = [table for table in build_view(status, NOW).tables if table.key == key]
    return [
        {
            column: ", ".join(filter(None, (cell.text, cell.note, cell.transient)))
            for column, cell in zip(table.columns, row, strict=True)
        }
        for row in table.rows
    ]


def row(status, key):
    [one] = cells(status, key)
    return one


def facts(status):
    return {fact.name: fact.cell.text for fact in build_view(status, NOW).facts}


def summary(status):
    return build_view(status, NOW).summary.text


def tone(status):
    return build_view(status, NOW).summary.tone


def test_a_healthy_agent():
    status = agent(leases=[lease()])
    assert summary(status) == "Ready and fresh"
    assert facts(status) == {
        "Apps with files": "1 of 1",
        "Pending notifications": "none",
        "Vault": "reachable",
        "Next lease expiry": "in 1 h",
    }
    assert row(status, "apps") == {
        "App": "web", "State": "ready", "Generation": "2", "Published": "1 min ago", "Notified": "1 min ago",
        "Ready": "ready", "Error": "–",  # noqa: RUF001  # An en dash is intended.
    }  # fmt: skip
    assert row(status, "vault")["Token expires"] == "in 1 h"
    assert row(status, "leases")["Expires in"] == "1 h"
    assert row(status, "leases")["Next renewal"] == "in 20 s"
    assert row(status, "secrets")["Version"] == "3"
    [total] = build_view(status, NOW).totals
    assert (total.name, total.cell.text) == ("lease renewals", "1,200")


def test_a_revoked_login_is_a_fact_until_it_is_replaced_and_afterwards():
    def login(**changes):
        identity = agent()["identities"][0]
        identity["revoked_login"] = {"found_at": PAST, "emergency_at": None, "logged_in_at": None} | changes
        view = build_view(agent(identities=[identity]), NOW)
        [cell] = [fact.cell for fact in view.facts if fact.name == "Login"]
        return cell.text, cell.tone

    todo = "no new login: after `lessee emergency`, `lessee setup --output DIR` writes new secret_ids"
    todo += "; else remove old files first"
    assert login() == (f"ended by Vault before its time, found {PAST}; {todo}", "bad")
    assert login(emergency_at=PAST) == (f"revoked by an emergency at {PAST}; {todo}", "bad")
    again = login(emergency_at=PAST, logged_in_at=SOON)
    assert again == (f"revoked by an emergency at {PAST}; logged in again {SOON}", "")
    before = login(found_at=None, emergency_at=PAST, logged_in_at=SOON)
    assert before == (f"revoked by an emergency at {PAST}, before this process started; logged in again {SOON}", "")


def test_an_agents_view_has_the_state_of_its_event_source():
    def events_fact(**events):
        found = [fact for fact in build_view(agent(events=events or None), NOW).facts if fact.name == "Change events"]
        return [(fact.cell.text, fact.cell.tone, fact.cell.note) for fact in found]

    url = "redis://redis:6379/0"
    assert events_fact() == []
    assert events_fact(source=url, live=True, last_at=PAST) == [("connected, last event 1 min ago", "good", url)]
    assert events_fact(source=url, live=True, last_at=None) == [("connected, no event yet", "good", url)]
    disconnected = "not connected; secrets are polled every refresh_interval"
    assert events_fact(source=None, live=False, last_at=PAST) == [(disconnected, "warn", "")]


def test_an_agent_with_problems_lists_errors_and_next_retries():
    pending = app(
        state="published", error="disk full", next_retry_at=SOON, degraded="fallback",
        notify={"pending": True, "last": None, "error": "no process"}, readiness={"pending": True, "error": None},
    )  # fmt: skip
    waiting = app(generation=None, published_at=None, state="waiting", readiness=None)
    failed = app(state="rolled_back", readiness={"pending": True, "error": "503"})
    late = app(notify={"pending": True, "last": PAST, "error": None})
    status = agent({"a": pending, "b": waiting, "c": failed, "d": late}, vault=UNREACHABLE, token=None, ready=False)
    assert summary(status) == "Not ready"
    assert facts(status)["Apps with files"] == "3 of 4"
    assert facts(status)["Pending notifications"] == "2 apps"
    assert facts(status)["Vault"] == "unreachable, since 1 min ago"
    a, b, c, d = cells(status, "apps")
    assert a["State"] == "published, degraded: fallback"
    assert a["Notified"] == "pending, no process"
    assert a["Ready"] == "probing"
    assert a["Error"] == "disk full, next retry in 20 s"
    assert b["Ready"] == "not configured"
    assert c["State"] == "rolled back"
    assert c["Ready"] == "not ready, 503"
    assert d["Notified"] == "pending"
    assert row(status, "vault")["Status"] == "unreachable, since 1 min ago, next retry in 20 s"
    assert summary(agent(fresh=False)) == "Ready, not fresh"


def test_a_missing_time_is_a_dash():
    status = agent(
        {}, vault=UNREACHABLE | {"since": None, "next_retry_at": None}, token={"accessor": None, "expires_at": None}
    )
    assert row(status, "vault")["Status"] == "not reached yet"
    assert row(status, "vault")["Token expires"] == "–"  # noqa: RUF001  # As above.
    assert facts(status)["Next lease expiry"] == "no lease expires"
    unused = agent(identities=[{"id": "", "apps": [], "vault": REACHABLE, "token": None}])
    assert row(unused, "vault")["Apps"] == "none"


@pytest.mark.parametrize(
    ("fields", "left", "tone"),
    [
        ({"expires_at": None}, "never", "quiet"),
        ({"expires_at": LATER}, "1 h", ""),
        ({"expires_at": SOON}, "20 s", "warn"),
        ({"expires_at": PAST, "state": "expired"}, "expired 1 min ago", "bad"),
    ],
)
def test_the_remaining_time_of_a_lease_warns_before_its_expiry(fields, left, tone):
    [table] = [table for table in build_view(agent(leases=[lease(**fields)]), NOW).tables if table.key == "leases"]
    assert (table.rows[0][2].text, table.rows[0][2].tone) == (left, tone)


def test_the_next_lease_expiry_may_be_in_the_past():
    status = agent(leases=[lease(), lease(expires_at=PAST), lease(state="retiring", expires_at=SOON)])
    [first] = [fact.cell for fact in build_view(status, NOW).facts if fact.name == "Next lease expiry"]
    assert (first.text, first.tone) == ("1 min ago", "bad")


def test_a_healthy_rotator():
    status = rotator({"db": target()})
    assert summary(status) == "OK"
    assert facts(status) == {"Targets": "1", "Failing": "none", "Next rotation": "in 1 h", "Vault": "reachable"}
    assert row(status, "targets") == {
        "Target": "db", "Step": "idle", "Age": "1 min", "Next rotation": "in 1 h", "Last result": "rotated",
        "Rotations": "3", "Confirmed": "after 1 s",
    }  # fmt: skip


def test_a_rotator_with_problems():
    status = rotator(
        {
            "a": target(consecutive_failures=2, last_failed_at=PAST, error="refused"),
            "b": target(consecutive_failures=1, error="refused", last_rotated_at=None, next_rotation_at=None),
            "c": target(error="its journal cannot be read"),
            "d": target(
                step="published",
                open_seconds=120.0,
                in_progress=True,
                unconfirmed_consumers=["x", "y"],
                rotation_count=0,
            ),
            "e": target(step="created", open_seconds=5.0, rotation_count=0, propagation_seconds=None),
        },
        vault={"reachable": False, "last_checked_at": None},
    )
    assert summary(status) == "Problems"
    assert facts(status)["Failing"] == "2 targets"
    assert facts(status)["Vault"] == "unreachable"
    a, b, c, d, e = cells(status, "targets")
    assert a["Last result"] == "2 consecutive failures, 1 min ago, refused"
    assert b["Last result"] == "1 consecutive failure, refused"
    assert b["Age"] == "never rotated"
    assert c["Last result"] == "unknown, its journal cannot be read"
    assert d["Step"] == "in progress, published, open for 2 min"
    assert d["Confirmed"] == "2 consumers missing, x, y"
    assert e["Step"] == "created, open for 5 s"
    assert summary(rotator({}, ready=False)) == "Not ready"
    assert summary(rotator({}, problems=["one"])) == "Problems"
    assert facts(rotator({}))["Next rotation"] == "none scheduled"


def test_a_healthy_monitor():
    status = monitor(environment="production")
    assert summary(status) == "No alerts"
    assert facts(status)["Alerts"] == "none"
    keys = ("alerts", "accesses", "rotation", "services", "publishing", "sources")
    assert [cells(status, key) for key in keys] == [[]] * 6
    assert summary(monitor(ready=False)) == "Not ready"
    assert summary(monitor(problems=["x"])) == "Problems"
    assert (tone(status), tone(monitor(ready=False)), tone(monitor(problems=["x"]))) == ("good", "bad", "warn")


def test_a_monitors_view_has_accesses_alerts_and_sources():
    alert = {
        "rule": "reads",
        "subject": "db",
        "started_at": PAST,
        "text": "101 reads",
        "severity": "warning",
        "firing": True,
    }
    access = {"path": "secret/db", "component": "app", "address": "10.0.0.1", "total": 5, "last_at": PAST}
    status = monitor(
        sources=[
            {"name": "one", "kind": "file", "lines": 1200, "lag_bytes": 2_000_000, "last_at": PAST, "error": None},
            {"name": "two", "kind": "stdin", "lines": 5, "lag_bytes": None, "last_at": None, "error": "gone"},
        ],
        accesses={
            "by_path": [{**access, "last_hour": 1}, {**access, "path": "secret/z", "last_hour": 9}],
            "denied": 2,
        },
        alerts=[
            {**alert, "firing": False, "notified": None},
            {**alert, "notified": {"webhook": True, "smtp": False, "alertmanager": "503"}},
        ],
        destinations={
            "redis": {"reachable": True, "published": 7, "pending": 0, "error": None},
            "webhook": {"reachable": False, "published": 0, "pending": 3, "error": "refused"},
            "note": "not a destination",
        },
    )
    assert summary(status) == "1 alert"
    assert facts(status) == {
        "Alerts": "1 alert", "Accesses in the last hour": "10", "Denied requests": "2", "Lines read": "1,205",
    }  # fmt: skip
    firing, resolved = cells(status, "alerts")
    assert firing["State"] == "firing"
    assert firing["Subject"] == "db, 101 reads"
    assert firing["Notified"] == "webhook: yes, smtp: not yet, alertmanager: 503"
    assert resolved["State"] == "resolved"
    assert [one["Path"] for one in cells(status, "accesses")] == ["secret/z", "secret/db"]
    redis, webhook = cells(status, "publishing")
    assert redis["State"] == "reachable"
    assert webhook["Pending"] == "3"
    one, two = cells(status, "sources")
    assert one["Unread"] == "2,000,000 B"
    assert two["Error"] == "gone"


def test_a_monitors_view_has_rotations_and_services():
    target = {
        "service": "rotator",
        "target": "db",
        "next_rotation_at": LATER,
        "consecutive_failures": 0,
        "error": None,
        "open_seconds": None,
    }
    service = {"name": "agent", "checked_at": PAST, "error": None, "leases": 2, "targets": 0}
    status = monitor(
        rotation=[
            target,
            target
            | {
                "target": "s3",
                "next_rotation_at": PAST,
                "consecutive_failures": 2,
                "error": "refused",
                "open_seconds": 90,
            },
        ],
        services=[service, service | {"name": "rotator", "error": "refused", "leases": None, "targets": None}],
    )
    fine, late = cells(status, "rotation")
    assert list(fine.values()) == ["db", "rotator", "in 1 h", "idle", "–"]  # noqa: RUF001  # As above.
    assert (late["Next rotation"], late["State"], late["Error"]) == (
        "1 min ago",
        "open for 1 min",
        "2 failures, refused",
    )
    reachable, unreachable = cells(status, "services")
    assert list(reachable.values()) == ["agent", "reachable", "1 min ago", "2", "0"]
    assert (unreachable["State"], unreachable["Leases"]) == ("unreachable, refused", "–")  # noqa: RUF001  # As above.


def test_many_paths_are_reduced_to_the_busiest_with_their_number():
    one = {"component": "a", "address": "b", "total": 1, "last_at": PAST}
    paths = [{**one, "path": f"secret/{number}", "last_hour": number} for number in range(500)]
    status = monitor(accesses={"by_path": paths, "denied": 0})
    [table] = [table for table in build_view(status, NOW).tables if table.key == "accesses"]
    assert table.title == "Accesses (200 of 500)"
    assert [len(table.rows), table.rows[0][0].text] == [200, "secret/499"]


def test_of_many_apps_those_with_an_error_are_listed_first():
    apps = {f"app-{number}": app() for number in range(500)} | {"last": app(error="disk full")}
    assert cells(agent(apps), "apps")[0]["App"] == "last"


class Reader(HTMLParser):
    """Collects the elements of a page, and checks that each is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.tags = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in {"meta", "link"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


HOSTILE_STATUSES = [
    agent(
        {EVIL: app(state=EVIL, error=EVIL, degraded=EVIL, notify={"pending": True, "last": None, "error": EVIL})},
        [lease(path=EVIL, state=EVIL, apps=[EVIL], error=EVIL)],
        vault=UNREACHABLE | {"address": EVIL},
        problems=[EVIL],
        environment=EVIL,
        version=EVIL,
        totals={EVIL: 1},
    ),
    rotator(
        {EVIL: target(step=EVIL, error=EVIL, consecutive_failures=1, unconfirmed_consumers=[EVIL])},
        problems=[EVIL],
        version=EVIL,
    ),
    monitor(
        problems=[EVIL],
        sources=[{"name": EVIL, "kind": EVIL, "lines": 1, "lag_bytes": 0, "last_at": PAST, "error": EVIL}],
        accesses={
            "by_path": [{"path": EVIL, "component": EVIL, "address": EVIL, "last_hour": 1, "total": 1, "last_at": None}]
        },
        alerts=[{"rule": EVIL, "subject": EVIL, "started_at": PAST, "text": EVIL, "severity": EVIL, "notified": EVIL}],
        destinations={EVIL: {"error": EVIL}},
        rotation=[
            {
                "service": EVIL,
                "target": EVIL,
                "next_rotation_at": None,
                "consecutive_failures": 1,
                "error": EVIL,
                "open_seconds": None,
            }
        ],
        services=[{"name": EVIL, "checked_at": None, "error": EVIL, "leases": None, "targets": None}],
    ),
]


@pytest.mark.parametrize("status", HOSTILE_STATUSES)
def test_no_text_of_a_status_becomes_markup_or_a_terminal_command(status):
    view = build_view(status, NOW)
    text = render_page(view, style="", script="")
    read = Reader(text)
    assert read.tags.count("script") == 1
    assert len(read.ids) == len(set(read.ids))
    assert "&lt;script&gt;" in text
    assert not re.search(r"\x1b", text)
    assert all(line.isprintable() for line in lines(view))


def test_the_page_has_landmarks_and_headings():
    read = Reader(render_page(build_view(agent(problems=["one"]), NOW), style="a{}", script="b()"))
    assert [read.tags.count(tag) for tag in ("header", "nav", "main", "footer", "h1")] == [1] * 5
    whole = render_page(build_view(agent(problems=["one"]), NOW), style="a{}", script="b()")
    assert '<th scope="col" role="columnheader">App</th>' in whole
    assert 'role="status">Ready and fresh. 1 problem.</p>' in whole
    assert "<style>a{}</style>" in whole
    assert '<p class="empty">There are no leases.</p>' in whole
    assert "Totals since start" in whole
    assert 'class="where"' not in render_page(build_view(agent(environment=None, totals={}), NOW), style="", script="")
    assert "No problems." in render_page(build_view(monitor(), NOW), style="", script="")


def test_an_unchanged_status_gives_the_same_lines():
    retrying = app(next_retry_at=SOON, error="-", readiness=None)
    for status in (
        agent({"web": retrying}, [lease()], problems=["one"]),
        rotator({"a": target(consecutive_failures=2, last_failed_at=PAST, error="e", open_seconds=7.0)}),
    ):
        first, second = (list(lines(build_view(status, NOW + later))) for later in (0.0, 3.0))
        assert first == second
    assert list(lines(build_view(agent({"web": retrying}, problems=["one"]), NOW))) == [
        "lessee agent 1  testing  Ready and fresh",
        "Apps with files: 1 of 1",
        "Pending notifications: none",
        "Vault: reachable",
        "Next lease expiry: no lease expires",
        "! one",
        "Apps",
        f"  web  State: ready  Generation: 2  Published: {PAST}  Notified: {PAST}  Ready: not configured  Error: -",
        "Vault",
        f"  https://v  Status: reachable  Token expires: {LATER}  Apps: web",
        "Leases: There are no leases.",
        "Secrets",
        f"  secret/db  App: web  Version: 3  Read: {PAST}",
    ]
    assert next(lines(build_view(rotator({}), NOW))) == "lessee rotator 1  OK"


def polled(state="fresh", **fields):
    """A watched agent in a monitor's status."""
    return {
        "source": "status", "state": state, "address": "http://web:9105", "apps": ["web", "worker"], "consumers": [],
        "environment": "production", "version": "1.2", "ready": True, "fresh": True, "pending": 0, "problems": 0,
        "last_seen_at": PAST, "error": None, "logged_in_at": None, "last_read_at": None, "last_read": None,
        "outdated": None,
    } | fields  # fmt: skip


def test_a_monitors_view_has_its_agents():
    reported = {
        **polled("not_watched", version=None, environment=None, pending=None, problems=None),
        "source": "audit log", "component": "web", "reported_at": PAST,
    }  # fmt: skip
    fleet = {
        "a": polled(),
        "b": polled("unreachable", error="refused", version="1.1"),
        "c": polled("not_ready", problems=2, pending=1),
        "d": polled("fresh", problems=1, pending=3),
        "e": reported,
    }
    status = monitor(
        fleet=fleet, services=[{"name": "a", "checked_at": PAST, "error": None, "leases": 1, "targets": 0}]
    )
    assert facts(status)["Fresh agents"] == "2 of 5"
    assert facts(status)["Agents' versions"] == "1.2: 3, 1.1: 1"
    a, b, c, d, e = cells(status, "agents")
    assert a == {
        "Agent": "a, web, worker", "State": "fresh", "Address": "http://web:9105", "Environment": "production",
        "Version": "1.2", "Pending": "–", "Last login": "–", "Last read": "–",  # noqa: RUF001  # As above.
        "Last seen": "1 min ago",
    }  # fmt: skip
    assert [one["State"] for one in (b, c, d)] == ["unreachable, refused", "not ready, 2 problems", "fresh, 1 problem"]
    assert [one["Pending"] for one in (c, d)] == ["1 app", "3 apps"]
    assert (e["Agent"], e["State"]) == ("e", f"not watched, reported {PAST} as web")
    # What is in this table is in no other.
    assert cells(status, "services") == []
    assert "Agents' versions" not in facts(monitor(fleet={"e": reported}))


def test_a_monitors_view_has_what_the_audit_log_tells_about_an_agent():
    read = {"logged_in_at": PAST, "last_read_at": PAST, "last_read": {"path": "secret/db", "version": 1}}
    outdated = [{"path": "secret/db", "version": 1, "newest": 2, "since": PAST}]
    log = {"source": "audit log", "reported_at": None, "problems": None, "component": "web"}
    fleet = {
        "a": polled(**read),
        "b": polled("not_fresh", **read | log, outdated=outdated),
        "c": polled("not_watched", **read | log | {"last_read": {"path": "database/creds/web", "version": None}}),
        "d": polled("not_fresh", **read, outdated=outdated, problems=2),
    }
    a, b, c, d = cells(monitor(fleet=fleet), "agents")
    assert (a["Last login"], a["Last read"]) == ("1 min ago", "1 min ago, secret/db version 1")
    assert b["State"] == "not fresh, secret/db at version 1, the newest is 2"
    assert (c["State"], c["Last read"]) == ("not watched", "1 min ago, database/creds/web")
    assert d["State"] == "not fresh, 2 problems"


def test_a_monitors_view_has_the_latency_of_reads_if_it_saw_any():
    histogram = {"buckets": [[0.0005, 50], [0.25, 98], [2.5, 99]], "count": 100, "sum": 3.0}
    slow = {"buckets": [[0.0005, 0], [10.0, 1]], "count": 3, "sum": 60.0}
    none = {"buckets": [[0.0005, 0]], "count": 0, "sum": 0.0}
    found = facts(monitor(read_latency={"vault-1": histogram, "vault-2": slow, "vault-3": none}))
    assert found["Reads of vault-1"] == "50% ≤ 0.5 ms, 99% ≤ 2.5 s"
    assert found["Reads of vault-2"] == "50% > 10 s, 99% > 10 s"
    assert "Reads of vault-3" not in found


def test_an_alert_that_stands_for_several_subjects_has_a_row_for_each():
    alert = {
        "rule": "denials", "subject": "a", "subjects": ["a", "b"], "text": "2 subjects", "severity": "warning",
        "started_at": PAST, "firing": True, "notified": None,
    }  # fmt: skip
    assert [one["Subject"] for one in cells(monitor(alerts=[alert]), "alerts")] == ["a, 2 subjects", "b"]
    assert summary(monitor(alerts=[alert])) == "1 alert"


def test_an_agents_view_has_what_another_program_changed():
    def state(**drift):
        return row(agent({"web": app(drift={"total": 0, "last": None, "found": None, "error": None} | drift)}), "apps")

    assert state()["State"] == "ready"
    changed = f"files changed by another program 2 times, last {PAST}: a.txt: altered"
    assert state(total=2, last=PAST, found="a.txt: altered")["State"] == f"ready, {changed}"
    both = app(degraded="fallback", drift={"total": 2, "last": PAST, "found": "a.txt: altered", "error": None})
    assert row(agent({"web": both}), "apps")["State"] == f"ready, degraded: fallback; {changed}"


def test_a_monitors_view_has_the_cluster_if_it_polls_one():
    peers = [
        {"node": "node0", "voter": True, "leader": True},
        {"node": "node1", "voter": True, "leader": False},
        {"node": "node2", "voter": False, "leader": False},
    ]
    cluster = {"peers": peers, "checked_at": PAST, "error": None}
    sized = {**cluster, "storage_bytes": 3 * 2**19, "storage_free_bytes": 5 * 2**30}
    assert facts(monitor(cluster=sized))["Raft peers"] == "2 voters, leader node0"
    assert facts(monitor(cluster=sized))["Vault's storage"] == "1.5 MiB, 5.0 GiB free"
    empty = {**cluster, "storage_bytes": 4096, "storage_free_bytes": 0}
    assert facts(monitor(cluster=empty))["Vault's storage"] == "4 KiB, 0 KiB free"
    [fact] = [
        fact
        for fact in build_view(monitor(cluster={**cluster, "peers": peers[1:], "error": "denied"}), NOW).facts
        if fact.name == "Raft peers"
    ]
    assert (fact.cell.text, fact.cell.tone, fact.cell.note) == ("1 voter, no leader", "bad", "denied")
    # Another storage than raft has no peers.
    assert {"Raft peers", "Vault's storage"}.isdisjoint(facts(monitor(cluster={**cluster, "peers": None})))
