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


def test_the_page_is_imported_only_when_it_is_requested():
    code = "import sys, lessee.cli.commands.run, lessee.status.server; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "lessee.status.server.listener" in modules
    assert [
        name
        for name in modules
        if name.startswith(("rich", "lessee.status.pages", "hmac", "lessee.status.server.page"))
    ] == []
