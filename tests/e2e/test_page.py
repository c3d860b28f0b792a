"""The page of a running agent in a real browser: accessible, refreshed automatically, and without secret values."""

import urllib.request
from urllib.parse import quote

import pytest
from playwright.sync_api import Error

from lessee.host.openbao import ROOT_TOKEN, free_port
from support.programs.browser import BrowserPage, chromium, screenshots
from support.programs.rotator import Service
from support.programs.sidecar import eventually

CANARY = "canary-of-the-page"
SECOND = "[...document.querySelectorAll('#apps tbody tr')].pop().children[2].innerText.endsWith('2')"
HOSTILE = '<img src=x onerror="console.log(1)">'


@pytest.fixture(scope="module")
def browser():
    with chromium() as one:
        yield one


@pytest.fixture
def served(bao, sidecar, folder):
    """An agent with content for every part of the page, on a port of the loopback interface."""
    bao.put(f"testing/{folder}/db", user="simba", password=CANARY)
    bao.put(f"testing/{folder}/{quote(HOSTILE)}", key=CANARY)
    sidecar.config["apps"]["web"]["notify"] = {"command": ["true"]}
    sidecar.config["apps"]["web"]["ready"] = {"command": ["true"]}
    sidecar.template("app.env.j2", f'PASSWORD={{{{ secret("{folder}/db").password }}}}\n')
    sidecar.template("strange.env.j2", f"KEY={{{{ secret('{folder}/{HOSTILE}').key }}}}\n")
    bao.ask("POST", f"sys/mounts/pki-{folder}", {"type": "pki"})
    bao.ask("POST", f"pki-{folder}/root/generate/internal", {"common_name": "page.example", "ttl": "8h"})
    bao.ask("POST", f"pki-{folder}/roles/web", {"allow_any_name": True, "max_ttl": "1h"})
    issued = f'certificate("pki-{folder}/issue/web", common_name="web.example", ttl="1h")'
    sidecar.template("key.pem.j2", f"{{{{ {issued}.private_key }}}}\n")
    other = sidecar.memory / "other"
    (sidecar.disk / "other.env.j2").write_text(f'A={{{{ secret("{folder}/none").a }}}}\n')
    sidecar.config["apps"]["other"] = {"directory": str(other), "files": [{"template": "other.env.j2"}]}
    sidecar.port = free_port()
    sidecar.url = f"http://127.0.0.1:{sidecar.port}/"
    sidecar.config["status"] = {"listen": f"127.0.0.1:{sidecar.port}", "allow_unauthenticated": True}
    sidecar.start(wait=False)
    sidecar.until(lambda status: status["apps"]["web"]["state"] == "ready" and status["problems"])
    return sidecar


def test_the_page_is_accessible_at_both_widths_in_both_schemes_and_contains_no_value(browser, served, tmp_path):
    assert screenshots(browser, served.url, tmp_path, "agent") == []
    assert len(list(tmp_path.glob("agent-*.png"))) == 4
    with urllib.request.urlopen(served.url, timeout=10) as answer:
        text = answer.read().decode()
    assert "ready" in text
    assert "&lt;img src=x" in text
    assert HOSTILE not in text
    assert CANARY not in text
    assert ROOT_TOKEN not in text


@pytest.mark.thorough
def test_the_page_refreshes_without_losing_the_focus(browser, bao, served, folder):
    view = BrowserPage(browser, served.url)
    page = view.page
    page.focus("nav a[href='#leases']")
    mark = "document.activeElement.marked = true; document.querySelector('#apps').marked = true"
    page.evaluate(mark)
    bao.put(f"testing/{folder}/none", a="b")
    view.until("document.querySelector('#summary').innerText.includes('Ready and fresh')", "the recovery")
    view.until("!document.querySelector('#problems')", "the end of the problems")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#leases"
    assert page.evaluate("document.activeElement.marked && document.querySelector('#apps').marked")
    assert page.text_content("[role=status]") == "Ready and fresh. No problems."
    assert page.title().startswith("Ready and fresh")
    bao.put(f"testing/{folder}/db", user="simba", password=f"{CANARY}-2")
    view.until(SECOND, "the second generation")
    assert view.messages == []
    assert all(request.startswith((served.url, "data:")) for request in view.requests)
    view.close()


@pytest.mark.thorough
def test_refreshing_can_be_paused_by_keyboard(browser, served):
    view = BrowserPage(browser, served.url)
    page = view.page
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "BUTTON":
            break
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.innerText") == "Resume refreshing"
    page.wait_for_load_state("networkidle")
    before = len(view.requests)
    page.wait_for_timeout(4000)
    assert len(view.requests) == before
    page.keyboard.press("Enter")
    eventually(lambda: page.wait_for_timeout(50) or len(view.requests) > before + 1, "the next refreshes", 60)
    view.close()


@pytest.mark.thorough
def test_the_page_reports_a_stopped_agent_until_it_is_back(browser, served):
    view = BrowserPage(browser, served.url)
    served.stop()
    view.page.wait_for_selector("[role=alert]:not(:empty)")
    assert "No response since" in view.page.text_content("[role=alert]")
    served.start(wait=False)
    view.until("!document.querySelector('[role=alert]').innerText", "the agent's return")
    view.close()


def test_the_page_is_complete_without_javascript(browser, served):
    view = BrowserPage(browser, served.url, java_script_enabled=False)
    assert [row.text_content() for row in view.page.locator("#apps tbody th").all()] == ["other", "web"]
    assert view.page.locator("meta[http-equiv=refresh]").get_attribute("content") == "5"
    view.close()


def test_the_browser_blocks_foreign_content(browser, served):
    view = BrowserPage(browser, served.url)
    attempts = """() => {
        const script = document.createElement('script');
        script.textContent = 'window.mine = 1';
        document.body.append(script);
        const image = new Image();
        image.src = 'http://127.0.0.1:1/x.png';
        document.body.append(image);
        document.body.insertAdjacentHTML('beforeend', '<b onclick="window.mine = 1">x</b>');
        document.body.lastChild.click();
        return window.mine === undefined;
    }"""
    assert view.page.evaluate(attempts)
    eventually(lambda: view.page.wait_for_timeout(100) or len(view.messages) >= 3, "the violations", 60)
    assert all("Content Security Policy" in message for message in view.messages if "img" not in message)
    view.close()


@pytest.mark.thorough
def test_with_a_token_the_browser_authenticates_and_refreshes(browser, bao, sidecar, folder):
    bao.put(f"testing/{folder}/db", user="simba", password=CANARY)
    sidecar.template("app.env.j2", f'PASSWORD={{{{ secret("{folder}/db").password }}}}\n')
    token = sidecar.disk / "token"
    token.write_text("canary-token-0123456789\n")
    port = free_port()
    sidecar.config["status"] = {"listen": f"127.0.0.1:{port}", "token_file": str(token)}
    sidecar.start()
    url = f"http://127.0.0.1:{port}/"
    anonymous = BrowserPage(browser, f"{url}healthz")
    assert anonymous.response.status == 200
    with pytest.raises(Error, match="ERR_INVALID_AUTH_CREDENTIALS"):  # No user is there to enter the token.
        anonymous.page.goto(url)
    anonymous.close()
    authenticated = BrowserPage(
        browser, url, http_credentials={"username": "user", "password": "canary-token-0123456789"}
    )
    assert authenticated.response.status == 200
    bao.put(f"testing/{folder}/db", user="simba", password="second")
    authenticated.until(SECOND, "the second generation")
    authenticated.close()
    assert "canary-token" not in sidecar.log.read_text()


@pytest.mark.thorough
def test_a_rotators_page_lists_its_targets(browser, bao, tmp_path, memory, folder):
    service = Service(bao, tmp_path, memory, environment=f"page-{folder}")
    port = free_port()
    service.config["status"] = {"listen": f"127.0.0.1:{port}", "allow_unauthenticated": True}
    for name, secret in {"one": "app/one", "two": "app/two", "three": "denied/three"}.items():
        service.target(name, rotation_period="1h", jitter="0s", secret=secret)
    try:
        service.start()
        service.until(
            lambda status: status["targets"]["one"]["rotation_count"] and status["targets"]["three"]["error"], 60
        )
        value = service.fields()["password"]
        url = f"http://127.0.0.1:{port}/"
        assert screenshots(browser, url, tmp_path, "rotator") == []
        view = BrowserPage(browser, url)
        names = [row.text_content() for row in view.page.locator("#targets tbody th").all()]
        assert sorted(names) == ["one", "three", "two"]
        assert "failure" in view.page.text_content("#targets")
        assert value not in view.page.content()
        view.close()
    finally:
        service.close()
