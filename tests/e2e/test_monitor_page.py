"""The monitor's page and `lessee status --watch` with a real audit log: reads, alerts, and no value."""

import subprocess
import sys
from contextlib import suppress

import pytest

from lessee.host.openbao import free_port
from support.programs.browser import BrowserPage, chromium, screenshots
from support.programs.monitor import Audited, Monitor
from support.programs.terminal import Terminal

CANARY = "canary-of-the-monitors-page"
HOSTILE = "%3Cimg%20src=x%20onerror=alert(1)%3E"
ROWS = "[...document.querySelectorAll('#accesses tbody th')].map(one => one.innerText)"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Audited(tmp_path_factory.mktemp("page")) as one:
        yield one


@pytest.fixture
def monitor(server, tmp_path, memory):
    """It has read a component's access, one of a hostile path, a denial, and the use of a root token."""
    with Monitor(tmp_path / "monitor", memory, {"file": str(server.audit), "name": "vault"}, alerts={}) as one:
        one.port = free_port()
        one.url = f"http://127.0.0.1:{one.port}/"
        one.config |= {
            "environment": "production",
            "status": {"listen": f"127.0.0.1:{one.port}", "allow_unauthenticated": True},
        }
        one.start().until(lambda status: status["ready"])
        role_id, secret_id = server.approle("seen", 'path "secret/data/production/*" { capabilities = ["read"] }')
        login = {"role_id": role_id, "secret_id": secret_id}
        token = server.ask("POST", "auth/approle/login", login, token="")["auth"]["client_token"]
        server.put("production/seen", password=CANARY)
        server.put(f"production/{HOSTILE}", password=CANARY)
        for path in ("production/seen", f"production/{HOSTILE}", "testing/seen"):
            with suppress(RuntimeError):
                server.ask("GET", f"secret/data/{path}", token=token)
        one.secrets = (CANARY, token, secret_id)
        one.until(lambda status: reads(status, "production/seen") and reads(status, "onerror") and firing(status))
        yield one


def reads(status, part):
    return [one for one in status["accesses"]["by_path"] if part in one["path"] and one["component"] == "seen"]


def firing(status):
    return [one for one in status["alerts"] if one["rule"] == "root-token" and one["firing"]]


def test_its_page_lists_the_reads_and_is_accessible(server, monitor, tmp_path):
    with chromium() as browser:
        assert screenshots(browser, monitor.url, tmp_path, "monitor") == []
        page = BrowserPage(browser, monitor.url)
        assert "root-token" in page.page.text_content("#alerts")
        assert "vault" in page.page.text_content("#sources")
        assert any("onerror" in one for one in page.page.evaluate(ROWS))
        assert page.page.locator("#accesses img").count() == 0
        server.put("production/later", password=CANARY)
        server.ask("GET", "secret/data/production/later")
        page.until(f"{ROWS}.some(one => one.includes('production/later'))", "the new row")
        text = page.page.content()
        assert not any(secret in text for secret in monitor.secrets)
        assert page.messages == []
        page.close()


def test_the_status_works_on_a_terminal_and_in_a_pipe(server, monitor):
    environ = {"PATH": "/usr/bin:/bin", "COLUMNS": "160", "LINES": "80", "TERM": "xterm-256color"}
    command = (sys.executable, "-m", "lessee", "status", "--watch")
    terminal = Terminal(*command, cwd=monitor.disk, env=environ)
    try:
        seen = terminal.until("root-token") + terminal.until("Accesses")
        server.put("production/watched", password=CANARY)
        server.ask("GET", "secret/data/production/watched")
        seen += terminal.until("production/watched")
        terminal.type("\x03")
        assert terminal.process.wait(60) == 0
    finally:
        terminal.close()
    assert not any(secret in seen for secret in monitor.secrets)
    done = subprocess.run(command[:-1], cwd=monitor.disk, env=environ, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"lessee monitor ")
    assert b"onerror" in done.stdout
    assert b"\x1b" not in done.stdout
