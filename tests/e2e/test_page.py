"""The page of a running agent, in a real browser: everybody can read it, it keeps itself fresh, and shows no value."""

import urllib.request
from urllib.parse import quote

import pytest
from playwright.sync_api import Error

from lessee.host.openbao import ROOT_TOKEN, free_port
from support.programs.browser import Sight, chromium, portraits
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
def shown(bao, sidecar, folder):
    """An agent with something of all that there is to show, at a port of loopback."""
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
    sidecar.config["status"] = {"listen": f"127.0.0.1:{sidecar.port}", "insecure": True}
    sidecar.start(wait=False)
    sidecar.until(lambda status: status["apps"]["web"]["state"] == "confirmed" and status["problems"])
    return sidecar


def test_everybody_can_read_it_at_both_widths_in_both_schemes_and_no_value_is_in_it(browser, shown, tmp_path):
    assert portraits(browser, shown.url, tmp_path, "agent") == []
    assert len(list(tmp_path.glob("agent-*.png"))) == 4
    with urllib.request.urlopen(shown.url, timeout=10) as answer:
        text = answer.read().decode()
    assert "confirmed" in text
    assert "&lt;img src=x" in text
    assert HOSTILE not in text
    assert CANARY not in text
    assert ROOT_TOKEN not in text


def test_it_keeps_itself_fresh_without_losing_what_has_the_focus(browser, bao, shown, folder):
    sight = Sight(browser, shown.url)
    page = sight.page
    page.focus("nav a[href='#leases']")
    mark = "document.activeElement.marked = true; document.querySelector('#apps').marked = true"
    page.evaluate(mark)
    bao.put(f"testing/{folder}/none", a="b")
    sight.until("document.querySelector('#standing').innerText.includes('Ready and fresh')", "the good news")
    sight.until("!document.querySelector('#problems')", "the end of the problems")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#leases"
    assert page.evaluate("document.activeElement.marked && document.querySelector('#apps').marked")
    assert page.text_content("[role=status]") == "Ready and fresh. No problems."
    assert page.title().startswith("Ready and fresh")
    bao.put(f"testing/{folder}/db", user="simba", password=f"{CANARY}-2")
    sight.until(SECOND, "the second generation")
    assert sight.told == []
    assert all(asked.startswith((shown.url, "data:")) for asked in sight.asked)
    sight.close()


def test_it_can_be_paused_by_the_keyboard(browser, shown):
    sight = Sight(browser, shown.url)
    page = sight.page
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "BUTTON":
            break
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.innerText") == "Go on refreshing"
    page.wait_for_load_state("networkidle")
    asked = len(sight.asked)
    page.wait_for_timeout(4000)
    assert len(sight.asked) == asked
    page.keyboard.press("Enter")
    eventually(lambda: page.wait_for_timeout(50) or len(sight.asked) > asked + 1, "the next looks", 60)
    sight.close()


def test_it_says_when_the_agent_is_gone_and_when_it_is_back(browser, shown):
    sight = Sight(browser, shown.url)
    shown.stop()
    sight.page.wait_for_selector("[role=alert]:not(:empty)")
    assert "No answer since" in sight.page.text_content("[role=alert]")
    shown.start(wait=False)
    sight.until("!document.querySelector('[role=alert]').innerText", "the agent's return")
    sight.close()


def test_it_is_whole_without_script(browser, shown):
    sight = Sight(browser, shown.url, java_script_enabled=False)
    assert [row.text_content() for row in sight.page.locator("#apps tbody th").all()] == ["other", "web"]
    assert sight.page.locator("meta[http-equiv=refresh]").get_attribute("content") == "5"
    sight.close()


def test_the_browser_lets_nothing_into_it_that_is_not_its_own(browser, shown):
    sight = Sight(browser, shown.url)
    tried = """() => {
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
    assert sight.page.evaluate(tried)
    eventually(lambda: sight.page.wait_for_timeout(100) or len(sight.told) >= 3, "the complaints", 60)
    assert all("Content Security Policy" in told for told in sight.told if "img" not in told)
    sight.close()


def test_with_a_token_a_browser_asks_for_it_and_then_refreshes_by_itself(browser, bao, sidecar, folder):
    bao.put(f"testing/{folder}/db", user="simba", password=CANARY)
    sidecar.template("app.env.j2", f'PASSWORD={{{{ secret("{folder}/db").password }}}}\n')
    token = sidecar.disk / "token"
    token.write_text("canary-token-0123456789\n")
    port = free_port()
    sidecar.config["status"] = {"listen": f"127.0.0.1:{port}", "token_file": str(token)}
    sidecar.start()
    url = f"http://127.0.0.1:{port}/"
    stranger = Sight(browser, f"{url}healthz")
    assert stranger.answer.status == 200
    with pytest.raises(Error, match="ERR_INVALID_AUTH_CREDENTIALS"):  # Nobody is there to be asked for it.
        stranger.page.goto(url)
    stranger.close()
    known = Sight(browser, url, http_credentials={"username": "anybody", "password": "canary-token-0123456789"})
    assert known.answer.status == 200
    bao.put(f"testing/{folder}/db", user="simba", password="second")
    known.until(SECOND, "the second generation")
    known.close()
    assert "canary-token" not in sidecar.log.read_text()


def test_a_rotators_page_shows_its_targets(browser, bao, tmp_path, memory, folder):
    service = Service(bao, tmp_path, memory, environment=f"page-{folder}")
    port = free_port()
    service.config["status"] = {"listen": f"127.0.0.1:{port}", "insecure": True}
    for name, secret in {"one": "app/one", "two": "app/two", "three": "denied/three"}.items():
        service.target(name, every="1h", jitter="0s", secret=secret)
    try:
        service.start()
        service.until(lambda status: status["targets"]["one"]["count"] and status["targets"]["three"]["error"], 60)
        value = service.fields()["password"]
        url = f"http://127.0.0.1:{port}/"
        assert portraits(browser, url, tmp_path, "rotator") == []
        sight = Sight(browser, url)
        shown = [row.text_content() for row in sight.page.locator("#targets tbody th").all()]
        assert sorted(shown) == ["one", "three", "two"]
        assert "failure" in sight.page.text_content("#targets")
        assert value not in sight.page.content()
        sight.close()
    finally:
        service.close()
