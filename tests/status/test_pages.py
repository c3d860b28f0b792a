"""The page of a monitor in a real browser, and the imports of a service whose page is never requested."""

import subprocess
import sys
from contextlib import closing

import pytest

from lessee.config import Listen
from lessee.host.openbao import free_port
from lessee.status.server import StatusServer
from support.models.status_source import StaticStatus
from support.programs.browser import BrowserPage, chromium, screenshots
from support.thorough import THOROUGH

AT = "2026-09-21T14:13:20.000+00:00"
ACCESS = {"component": "app-production", "address": "10.20.30.40", "last_hour": 12, "total": 3456, "last_at": AT}
STATUS = {
    "version": "0.1.0",
    "environment": "production",
    "ready": True,
    "problems": ["alerts cannot be sent by webhook: connection refused"],
    "sources": [
        {"name": "vault-1", "kind": "file", "lines": 1_234_567, "lag_bytes": 0, "last_at": AT, "error": None},
        {"name": "vault-2", "kind": "socket", "lines": 0, "lag_bytes": 0, "last_at": None, "error": "away"},
    ],
    "accesses": {
        "by_path": [{**ACCESS, "path": f"secret/data/production/{'a-long-folder/' * 5}{name}"} for name in range(8)],
        "denied": 3,
    },
    "alerts": [
        {
            "rule": "consecutive-denials",
            "subject": "app-production from 10.20.30.40",
            "text": "6 denials in a row",
            "started_at": AT,
            "severity": "critical",
            "firing": True,
            "notified": {"webhook": False, "alertmanager": True},
        },
    ],
    "destinations": {"redis": {"reachable": True, "published": 17, "pending": 0, "error": None}},
}


@pytest.fixture(scope="module")
def browser():
    with chromium() as one:
        yield one


def test_a_monitors_page_is_accessible_at_both_widths_in_both_schemes(browser, tmp_path):
    port = free_port()
    listen = Listen(address=f"127.0.0.1:{port}", token_file=None, allowed_hosts=())
    url = f"http://127.0.0.1:{port}/"
    with closing(StatusServer(tmp_path / "s.sock", listen, StaticStatus(STATUS))):
        assert screenshots(browser, url, tmp_path, "monitor") == []
        page = BrowserPage(browser, url)
        assert page.page.title().startswith("1 alert")
        assert page.page.locator("#accesses tbody tr").count() == 8
        assert "consecutive-denials" in page.page.text_content("#alerts")
        policy = page.response.headers["content-security-policy"]
        page.close()
    for word in ("default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"):
        assert word in policy
    assert "unsafe" not in policy


def many():
    """A status with 1,000 alerts and 200 agents, and everything else that is long."""
    rules = [f"rule-{number}" for number in range(20)]
    states = ["fresh"] * 17 + ["not_fresh", "unreachable", "not_watched"]
    alerts = [
        {**STATUS["alerts"][0], "rule": rules[number % 20], "subject": f"client-{number} from 10.20.30.{number % 256}"}
        for number in range(1000)
    ]
    agents = {
        f"simba-{number}": {
            "source": "status", "state": states[number % 20], "address": f"http://simba-{number}:9105", "apps": ["web"],
            "consumers": [], "environment": "production", "version": "0.1.0", "ready": True, "fresh": True,
            "pending": number % 3, "problems": number % 2, "last_seen_at": AT, "reported_at": AT, "component": "simba",
            "logged_in_at": AT, "last_read_at": AT, "last_read": {"path": "secret/production/db", "version": 3},
            "outdated": [],
            "error": "connection refused" if states[number % 20] == "unreachable" else None,
        }
        for number in range(200)
    }  # fmt: skip
    rotation = [
        {
            "service": "rotator", "target": f"target-{number}", "next_rotation_at": AT,
            "consecutive_failures": number % 2, "error": "refused" if number % 2 else None, "open_seconds": None,
        }
        for number in range(100)
    ]  # fmt: skip
    services = [
        {"name": f"other-{number}", "checked_at": AT, "error": None, "leases": 0, "targets": 1} for number in range(100)
    ]
    paths = [
        {**ACCESS, "component": f"app-{number % 40}", "path": f"secret/production/{number}"} for number in range(200)
    ]
    response = {"rule": "rule-1", "action": "revoke-token", "max_per_hour": 3, "used": 1, "dry_run": False}
    done = {
        "at": AT, "response": "revoke-token.rule-1", "action": "revoke-token", "rule": "rule-1", "subject": "client-1",
        "target": "token 8bUSeaSy8bUSeaSy8bUSeaSy (simba-production)", "event": "done", "dry_run": False,
        "text": "revoke-token token 8bUSeaSy8bUSeaSy8bUSeaSy (simba-production): done", "expires_at": AT,
        "request": "", "approvers": ["alice", "bob"], "rejected": None,
    }  # fmt: skip
    responses = {
        "budgets": {
            f"revoke-token.rule-{number}": response | {"error": "there is no token" if number % 3 == 0 else None}
            for number in range(20)
        },
        "pending": [
            done | {"id": f"r{number}", "command": f"lessee monitor approve r0a1b2c3d4e5{number}"}
            for number in range(3)
        ],
        "recent": [done | {"id": f"r{number}"} for number in range(100)],
    }
    problems = [f"alerts cannot be sent by webhook {number}: connection refused" for number in range(100)]
    latency = {"vault-1": {"buckets": [[0.001, 900], [0.0025, 995]], "count": 1000, "sum": 1.1}}
    return STATUS | {
        "alerts": alerts, "fleet": agents, "rotation": rotation, "services": services, "problems": problems,
        "accesses": {"by_path": paths, "denied": 3}, "read_latency": latency,
        "responses": responses,
    }  # fmt: skip


def test_who_must_approve_what_and_until_when_is_visible_on_a_long_page(browser, tmp_path):
    port = free_port()
    listen = Listen(address=f"127.0.0.1:{port}", token_file=None, allowed_hosts=())
    with closing(StatusServer(tmp_path / "s.sock", listen, StaticStatus(many()))):
        page = BrowserPage(browser, f"http://127.0.0.1:{port}/", viewport={"width": 375, "height": 812})
        assert page.page.locator("main section h2").first.inner_text().startswith("Problems")
        first = page.page.locator("main section[id]:not(#problems, #facts) h2").first
        assert first.inner_text() == "Pending approvals 3"
        for number in range(3):
            summary = page.page.locator("#approvals summary", has_text=f"lessee monitor approve r0a1b2c3d4e5{number}")
            assert summary.is_visible()
        assert page.page.inner_text("h1").endswith("3 approvals pending")
        assert page.page.inner_text(".lead") == "see the pending approvals, and 1,000 alerts below"
        page.close()


@pytest.mark.thorough
@pytest.mark.parametrize(
    "only",
    [("alerts", "fleet"), ("alerts", "fleet", "responses"), ()],
    ids=["1,000 alerts and 200 agents", "and responses", "all of it is long"],
)
def test_a_page_of_any_number_of_rows_is_short_on_a_phone(browser, tmp_path, only):
    status = STATUS | {key: many()[key] for key in only} if only else many()
    port = free_port()
    listen = Listen(address=f"127.0.0.1:{port}", token_file=None, allowed_hosts=())
    url = f"http://127.0.0.1:{port}/"
    with closing(StatusServer(tmp_path / "s.sock", listen, StaticStatus(status))):
        page = BrowserPage(browser, url, viewport={"width": 375, "height": 812})
        page.page.screenshot(path=tmp_path / "phone.png", full_page=True)
        height = page.page.evaluate("document.documentElement.scrollHeight")
        assert page.overflow() == 0
        if THOROUGH or not only:  # The others are parts of this page.
            assert page.accessibility_violations() == []
            assert screenshots(browser, url, tmp_path, "long") == []
        page.close()
    assert height <= (3000 if only else 5000)
    assert only != ("alerts", "fleet") or height <= 3 * 812


def test_the_page_is_imported_only_when_it_is_requested():
    code = "import sys, lessee.cli.commands.run, lessee.status.server; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "lessee.status.server.listener" in modules
    assert [
        name
        for name in modules
        if name.startswith(("rich", "lessee.status.pages", "hmac", "lessee.status.server.page"))
    ] == []
