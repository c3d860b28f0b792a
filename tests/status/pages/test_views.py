"""Each status as people see it, on a page and as lines."""

import re
from html.parser import HTMLParser

import pytest

from lessee.status.pages.page import page
from lessee.status.pages.plain_text import lines
from lessee.status.pages.views import view_of

NOW = 1_790_000_000.0
PAST, SOON, LATER = "2026-09-21T14:12:20.000+00:00", "2026-09-21T14:13:40.000+00:00", "2026-09-21T15:13:20.000+00:00"
ROUGH = "<script>\"&'\x1b[2J</script>"
FINE = {"reachable": True, "address": "https://v", "since": PAST, "next_try": None, "polling": {}}
AWAY = {**FINE, "reachable": False, "next_try": SOON}
TOKEN = {"accessor": "a", "expires_at": LATER}


def app(**said):
    told = {"owed": False, "last": PAST, "error": None}
    secrets = [{"path": "secret/db", "version": 3, "read_at": PAST, "error": None, "next_try": None}]
    return {
        "generation": 2, "published_at": PAST, "state": "confirmed", "degraded": None, "next_try": None, "error": None,
        "secrets": secrets, "notify": told, "proof": {"open": False, "error": None},
    } | said  # fmt: skip


def lease(**said):
    return {
        "path": "db/creds/a", "expires_at": LATER, "renew_at": SOON, "state": "held", "apps": ["web"],
        "error": None, "next_try": None,
    } | said  # fmt: skip


def agent(apps=None, leases=(), *, vault=FINE, token=TOKEN, **said):
    return {
        "version": "1", "environment": "testing", "ready": True, "fresh": True, "problems": [],
        "identities": [{"id": "", "apps": ["web"], "vault": vault, "token": token}],
        "apps": {"web": app()} if apps is None else apps, "leases": list(leases), "totals": {"lease_renewals": 1200},
    } | said  # fmt: skip


def target(**said):
    return {
        "step": "idle", "in_progress": False, "open_seconds": None, "last_rotated_at": PAST, "next_rotation_at": LATER, "rotation_count": 3,
        "propagation_seconds": 1.2, "unconfirmed_consumers": [], "consecutive_failures": 0, "last_failed_at": None, "error": None,
    } | said  # fmt: skip


def rotator(targets, **said):
    return {
        "version": "1", "environment": None, "ready": True, "fresh": True, "problems": [],
        "vault": {"reachable": True, "looked_at": PAST}, "targets": targets,
    } | said  # fmt: skip


def monitor(**said):
    return {"version": "1", "ready": True, "problems": [], "sources": []} | said


def cells(status, key):
    """Of a table: each row as {column: text}, and what is beside it."""
    [table] = [table for table in view_of(status, NOW).tables if table.key == key]
    return [
        {
            column: ", ".join(filter(None, (cell.text, cell.note, cell.passing)))
            for column, cell in zip(table.columns, row, strict=True)
        }
        for row in table.rows
    ]


def row(status, key):
    [one] = cells(status, key)
    return one


def facts(status):
    return {fact.name: fact.cell.text for fact in view_of(status, NOW).facts}


def standing(status):
    return view_of(status, NOW).standing.text


def test_an_agent_at_its_best():
    status = agent(leases=[lease()])
    assert standing(status) == "Ready and fresh"
    assert facts(status) == {
        "Apps with files": "1 of 1",
        "Still to be told": "nobody",
        "Vault": "reachable",
        "First lease ends": "in 1 h",
    }
    assert row(status, "apps") == {
        "App": "web", "State": "confirmed", "Generation": "2", "Published": "1 min ago", "Notified": "1 min ago",
        "ReadinessPassed": "works", "Trouble": "–",  # noqa: RUF001  # A dash is meant.
    }  # fmt: skip
    assert row(status, "vault")["Token ends"] == "in 1 h"
    assert row(status, "leases")["Time left"] == "1 h"
    assert row(status, "leases")["Acts"] == "in 20 s"
    assert row(status, "secrets")["Version"] == "3"
    [total] = view_of(status, NOW).totals
    assert (total.name, total.cell.text) == ("lease renewals", "1,200")


def test_an_agent_says_whether_it_is_told_of_changes_and_by_whom():
    def said(**events):
        found = [fact for fact in view_of(agent(events=events or None), NOW).facts if fact.name == "Changes"]
        return [(fact.cell.text, fact.cell.tone, fact.cell.note) for fact in found]

    url = "redis://redis:6379/0"
    assert said() == []
    assert said(source=url, live=True, last_at=PAST) == [("told, the last 1 min ago", "good", url)]
    assert said(source=url, live=True, last_at=None) == [("told, none yet", "good", url)]
    away = "not told; each secret is looked at within its refresh"
    assert said(source=None, live=False, last_at=PAST) == [(away, "warn", "")]


def test_an_agent_in_trouble_says_what_and_when_it_is_tried_again():
    owed = app(
        state="published", error="disk full", next_try=SOON, degraded="fallback",
        notify={"owed": True, "last": None, "error": "no process"}, proof={"open": True, "error": None},
    )  # fmt: skip
    waiting = app(generation=None, published_at=None, state="waiting", proof=None)
    failed = app(state="rolled_back", proof={"open": True, "error": "503"})
    late = app(notify={"owed": True, "last": PAST, "error": None})
    status = agent({"a": owed, "b": waiting, "c": failed, "d": late}, vault=AWAY, token=None, ready=False)
    assert standing(status) == "Not ready"
    assert facts(status)["Apps with files"] == "3 of 4"
    assert facts(status)["Still to be told"] == "2 apps"
    assert facts(status)["Vault"] == "away, 1 min ago"
    a, b, c, d = cells(status, "apps")
    assert a["State"] == "published, degraded: fallback"
    assert a["Notified"] == "still to be told, no process"
    assert a["ReadinessPassed"] == "being looked at"
    assert a["Trouble"] == "disk full, tried again in 20 s"
    assert b["ReadinessPassed"] == "not asked for"
    assert c["State"] == "rolled back"
    assert c["ReadinessPassed"] == "not ready, 503"
    assert d["Notified"] == "still to be told"
    assert row(status, "vault")["Status"] == "away, 1 min ago, tried again in 20 s"
    assert standing(agent(fresh=False)) == "Ready, not fresh"


def test_what_never_came_about_is_a_dash_and_no_lease_is_said():
    status = agent({}, vault=AWAY | {"since": None, "next_try": None}, token={"accessor": None, "expires_at": None})
    assert row(status, "vault")["Status"] == "not reached yet"
    assert row(status, "vault")["Token ends"] == "–"  # noqa: RUF001  # As above.
    assert facts(status)["First lease ends"] == "no lease has an end"
    nobody = agent(identities=[{"id": "", "apps": [], "vault": FINE, "token": None}])
    assert row(nobody, "vault")["For"] == "nobody any more"


@pytest.mark.parametrize(
    ("said", "left", "tone"),
    [
        ({"expires_at": None}, "no end", "quiet"),
        ({"expires_at": LATER}, "1 h", ""),
        ({"expires_at": SOON}, "20 s", "warn"),
        ({"expires_at": PAST, "state": "expired"}, "ended 1 min ago", "bad"),
    ],
)
def test_the_time_that_a_lease_has_left_warns_before_it_is_over(said, left, tone):
    [table] = [table for table in view_of(agent(leases=[lease(**said)]), NOW).tables if table.key == "leases"]
    assert (table.rows[0][2].text, table.rows[0][2].tone) == (left, tone)


def test_the_lease_that_ends_first_may_have_ended():
    status = agent(leases=[lease(), lease(expires_at=PAST), lease(state="retiring", expires_at=SOON)])
    [first] = [fact.cell for fact in view_of(status, NOW).facts if fact.name == "First lease ends"]
    assert (first.text, first.tone) == ("1 min ago", "bad")


def test_a_rotator_at_its_best():
    status = rotator({"db": target()})
    assert standing(status) == "All is well"
    assert facts(status) == {"Targets": "1", "Failing": "none", "Next rotation": "in 1 h", "Vault": "reachable"}
    assert row(status, "targets") == {
        "Target": "db", "Step": "idle", "Age": "1 min", "Next": "in 1 h", "Last outcome": "rotated",
        "Rotations": "3", "Confirmed": "within 1 s",
    }  # fmt: skip


def test_a_rotator_in_trouble():
    status = rotator(
        {
            "a": target(consecutive_failures=2, last_failed_at=PAST, error="refused"),
            "b": target(consecutive_failures=1, error="refused", last_rotated_at=None, next_rotation_at=None),
            "c": target(error="its journal cannot be read"),
            "d": target(step="published", open_seconds=120.0, in_progress=True, unconfirmed_consumers=["x", "y"], rotation_count=0),
            "e": target(step="created", open_seconds=5.0, rotation_count=0, propagation_seconds=None),
        },
        vault={"reachable": False, "looked_at": None},
    )
    assert standing(status) == "Not all is well"
    assert facts(status)["Failing"] == "2 targets"
    assert facts(status)["Vault"] == "away"
    a, b, c, d, e = cells(status, "targets")
    assert a["Last outcome"] == "2 failures in a row, 1 min ago, refused"
    assert b["Last outcome"] == "1 failure in a row, refused"
    assert b["Age"] == "never rotated"
    assert c["Last outcome"] == "not known, its journal cannot be read"
    assert d["Step"] == "under way, published, open for 2 min"
    assert d["Confirmed"] == "2 readers missing, x, y"
    assert e["Step"] == "created, open for 5 s"
    assert standing(rotator({}, ready=False)) == "Not ready"
    assert standing(rotator({}, problems=["one"])) == "Not all is well"
    assert facts(rotator({}))["Next rotation"] == "none is planned"


def test_a_monitor_at_its_best_has_nothing_to_tell():
    status = monitor(environment="production")
    assert standing(status) == "All is quiet"
    assert facts(status)["Alerts"] == "none"
    keys = ("alerts", "accesses", "rotation", "services", "publishing", "sources")
    assert [cells(status, key) for key in keys] == [[]] * 6
    assert standing(monitor(ready=False)) == "Not ready"
    assert standing(monitor(problems=["x"])) == "Not all is well"


def test_a_monitor_shows_who_read_what_its_alerts_and_how_far_it_is():
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
            "note": "no table",
        },
    )
    assert standing(status) == "1 alert"
    assert facts(status) == {
        "Alerts": "1 alert", "Accesses in the last hour": "10", "Denied": "2", "Lines read": "1,205",
    }  # fmt: skip
    firing, resolved = cells(status, "alerts")
    assert firing["State"] == "firing"
    assert firing["Subject"] == "db, 101 reads"
    assert firing["Notified"] == "webhook: yes, smtp: not yet, alertmanager: 503"
    assert resolved["State"] == "resolved"
    assert [one["Path"] for one in cells(status, "accesses")] == ["secret/z", "secret/db"]
    redis, webhook = cells(status, "publishing")
    assert redis["State"] == "reachable"
    assert webhook["Waiting"] == "3"
    one, two = cells(status, "sources")
    assert one["Behind"] == "2,000,000 B"
    assert two["Trouble"] == "gone"


def test_a_monitor_shows_how_rotation_goes_and_who_of_those_it_asks_is_silent():
    target = {"service": "rotator", "target": "db", "next_rotation_at": LATER, "consecutive_failures": 0, "error": None, "open_seconds": None}
    service = {"name": "agent", "checked_at": PAST, "error": None, "leases": 2, "targets": 0}
    status = monitor(
        rotation=[target, target | {"target": "s3", "next_rotation_at": PAST, "consecutive_failures": 2, "error": "refused", "open_seconds": 90}],
        services=[service, service | {"name": "rotator", "error": "refused", "leases": None, "targets": None}],
    )
    fine, late = cells(status, "rotation")
    assert list(fine.values()) == ["db", "rotator", "in 1 h", "idle", "–"]  # noqa: RUF001  # As above.
    assert (late["Next"], late["State"], late["Trouble"]) == ("1 min ago", "open for 1 min", "2 failures, refused")
    answers, silent = cells(status, "services")
    assert list(answers.values()) == ["agent", "answers", "1 min ago", "2", "0"]
    assert (silent["State"], silent["Leases"]) == ("silent, refused", "–")  # noqa: RUF001  # As above.


def test_of_very_many_paths_the_busiest_are_shown_and_their_number_told():
    one = {"component": "a", "address": "b", "total": 1, "last_at": PAST}
    paths = [{**one, "path": f"secret/{number}", "last_hour": number} for number in range(500)]
    status = monitor(accesses={"by_path": paths, "denied": 0})
    [table] = [table for table in view_of(status, NOW).tables if table.key == "accesses"]
    assert table.title == "Who read what (200 of 500)"
    assert [len(table.rows), table.rows[0][0].text] == [200, "secret/499"]


def test_of_very_many_apps_none_that_is_in_trouble_is_left_out():
    apps = {f"app-{number}": app() for number in range(500)} | {"last": app(error="disk full")}
    assert cells(agent(apps), "apps")[0]["App"] == "last"


class Reader(HTMLParser):
    """Which elements there are, and whether each is closed in its turn."""

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


ROUGHEST = [
    agent(
        {ROUGH: app(state=ROUGH, error=ROUGH, degraded=ROUGH, notify={"owed": True, "last": None, "error": ROUGH})},
        [lease(path=ROUGH, state=ROUGH, apps=[ROUGH], error=ROUGH)],
        vault=AWAY | {"address": ROUGH}, problems=[ROUGH], environment=ROUGH, version=ROUGH, totals={ROUGH: 1},
    ),
    rotator({ROUGH: target(step=ROUGH, error=ROUGH, consecutive_failures=1, unconfirmed_consumers=[ROUGH])}, problems=[ROUGH], version=ROUGH),
    monitor(
        problems=[ROUGH],
        sources=[{"name": ROUGH, "kind": ROUGH, "lines": 1, "lag_bytes": 0, "last_at": PAST, "error": ROUGH}],
        accesses={
            "by_path": [
                {"path": ROUGH, "component": ROUGH, "address": ROUGH, "last_hour": 1, "total": 1, "last_at": None}
            ]
        },
        alerts=[{"rule": ROUGH, "subject": ROUGH, "started_at": PAST, "text": ROUGH, "severity": ROUGH, "notified": ROUGH}],
        destinations={ROUGH: {"error": ROUGH}},
        rotation=[{"service": ROUGH, "target": ROUGH, "next_rotation_at": None, "consecutive_failures": 1, "error": ROUGH, "open_seconds": None}],
        services=[{"name": ROUGH, "checked_at": None, "error": ROUGH, "leases": None, "targets": None}],
    ),
]  # fmt: skip


@pytest.mark.parametrize("status", ROUGHEST)
def test_nothing_in_a_status_becomes_part_of_the_page_or_moves_the_terminal(status):
    view = view_of(status, NOW)
    text = page(view, style="", script="")
    read = Reader(text)
    assert read.tags.count("script") == 1
    assert len(read.ids) == len(set(read.ids))
    assert "&lt;script&gt;" in text
    assert not re.search(r"\x1b", text)
    assert all(line.isprintable() for line in lines(view))


def test_the_page_has_what_a_reader_finds_its_way_by():
    read = Reader(page(view_of(agent(problems=["one"]), NOW), style="a{}", script="b()"))
    assert [read.tags.count(tag) for tag in ("header", "nav", "main", "footer", "h1")] == [1] * 5
    whole = page(view_of(agent(problems=["one"]), NOW), style="a{}", script="b()")
    assert '<th scope="col" role="columnheader">App</th>' in whole
    assert 'role="status">Ready and fresh. 1 problem.</p>' in whole
    assert "<style>a{}</style>" in whole
    assert '<p class="empty">It holds no lease.</p>' in whole
    assert "Since its start" in whole
    assert 'class="where"' not in page(view_of(agent(environment=None, totals={}), NOW), style="", script="")
    assert "No problems." in page(view_of(monitor(), NOW), style="", script="")


def test_two_looks_at_one_state_are_the_same_lines():
    owed = app(next_try=SOON, error="-", proof=None)
    for status in (
        agent({"web": owed}, [lease()], problems=["one"]),
        rotator({"a": target(consecutive_failures=2, last_failed_at=PAST, error="e", open_seconds=7.0)}),
    ):
        first, second = (list(lines(view_of(status, NOW + later))) for later in (0.0, 3.0))
        assert first == second
    assert list(lines(view_of(agent({"web": owed}, problems=["one"]), NOW))) == [
        "lessee agent 1  testing  Ready and fresh",
        "Apps with files: 1 of 1",
        "Still to be told: nobody",
        "Vault: reachable",
        "First lease ends: no lease has an end",
        "! one",
        "Apps",
        f"  web  State: confirmed  Generation: 2  Published: {PAST}  Notified: {PAST}  Ready: not asked for  Error: -",
        "Vault",
        f"  https://v  Status: reachable  Token ends: {LATER}  For: web",
        "Leases: It holds no lease.",
        "Secrets",
        f"  secret/db  App: web  Version: 3  Read: {PAST}",
    ]
    assert next(lines(view_of(rotator({}), NOW))) == "lessee rotator 1  All is well"
