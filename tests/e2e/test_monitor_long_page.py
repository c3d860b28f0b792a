"""The page of a real monitor with a thousand subjects and two hundred agents: short, and each of them can be found."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from lessee.host.openbao import free_port
from support.programs.browser import BrowserPage, chromium
from support.programs.monitor import Monitor
from support.programs.sidecar import eventually

RULES, PATHS, AGENTS = 10, 100, 200
PHONE = {"width": 375, "height": 812}
MAX_HEIGHT = 3000
HEIGHT = "document.documentElement.scrollHeight"
VISIBLE = "[...document.querySelectorAll('#alerts tbody tr')].filter(one => one.checkVisibility()).length"
OPEN = "[...document.querySelectorAll('details[open]')].map(one => one.id)"


def entries(operation, path, *, number, role="simba", address="10.0.0.1", seconds=0.002):
    """Both lines that OpenBao's audit device writes of a request."""
    now = datetime.now(UTC)
    for kind, at in (("request", now), ("response", now + timedelta(seconds=seconds))):
        yield json.dumps(
            {
                "time": at.isoformat().replace("+00:00", "Z"),
                "type": kind,
                "auth": {"display_name": "approle", "policies": ["default"], "metadata": {"role_name": role}},
                "request": {
                    "id": f"id-{number}", "operation": operation, "path": path, "mount_point": "secret/",
                    "mount_type": "kv", "remote_address": address,
                },
            },
            separators=(",", ":"),
        )  # fmt: skip


def log_lines():
    """Two reads of each path by one agent, and a report of each other one."""
    for index in range(PATHS):
        for again in range(2):
            yield from entries("read", f"secret/data/production/db-{index}", number=f"{index}-{again}")
    for index in range(AGENTS):
        path = f"secret/metadata/production/lessee/consumers/app-{index % 7}/host-{index:03}"
        role, address = f"role-{index}", f"10.1.0.{index}"
        yield from entries("update", path, number=f"agent-{index}", role=role, address=address)


@pytest.fixture(scope="module")
def browser():
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def monitor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    log, memory = folder / "audit.log", folder / "memory"
    log.touch()
    memory.mkdir()
    rules = [{"rule": "reads", "name": f"rule-{index}", "limit": 1, "group_by": "path"} for index in range(RULES)]
    with Monitor(folder / "monitor", memory, {"file": str(log), "name": "vault"}, alerts={"rules": rules}) as one:
        port = free_port()
        one.url = f"http://127.0.0.1:{port}/"
        one.config["status"] = {"listen": f"127.0.0.1:{port}", "allow_unauthenticated": True}
        one.start().until(lambda status: status["ready"] and status["sources"])
        one.append = lambda lines: append(log, lines)
        one.append(log_lines())
        one.until(lambda status: len(subjects(status)) == RULES * PATHS and len(status["fleet"]) == AGENTS + 1)
        yield one


def subjects(status):
    """Those of all alerts. An alert may stand for many."""
    alerts = [one for one in status["alerts"] if one["rule"].startswith("rule-")]
    return [subject for one in alerts for subject in one.get("subjects", [one["subject"]])]


def append(log, lines):
    with log.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


@pytest.fixture
def phone(browser, monitor):
    view = BrowserPage(browser, monitor.url, viewport=PHONE)
    yield view
    view.close()


def opened(view, url):
    view.page.goto("about:blank")  # Otherwise an address that differs only in its fragment is not loaded again.
    view.page.goto(url)
    return view


@pytest.mark.thorough
def test_it_is_short_on_a_phone_and_accessible(phone):
    assert phone.page.evaluate(HEIGHT) <= min(MAX_HEIGHT, 3 * PHONE["height"])
    assert phone.overflow() == 0
    assert phone.accessibility_violations() == []
    assert "1,000" in phone.page.text_content("#alerts-title")
    names = [one.text_content() for one in phone.page.locator("#alerts details.group > summary").all()]
    assert len(names) == RULES
    assert all("100 firing" in name for name in names)
    assert "201" in phone.page.text_content("#agents-title")
    assert phone.messages == []


@pytest.mark.thorough
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1440])
def test_it_is_accessible_with_all_groups_open(browser, monitor, tmp_path, width, scheme):
    view = BrowserPage(browser, monitor.url, viewport={"width": width, "height": 812}, color_scheme=scheme)
    view.page.screenshot(path=tmp_path / "closed.png", full_page=True)
    view.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    view.page.screenshot(path=tmp_path / "open.png", full_page=True)
    assert view.accessibility_violations() == []
    assert view.overflow() == 0
    view.close()


@pytest.mark.thorough
def test_a_group_opens_by_keyboard_and_stays_open_while_the_page_refreshes(monitor, phone):
    page = phone.page
    page.focus("#group-alerts-rule-3 > summary")
    page.keyboard.press("Enter")
    phone.until(f"{VISIBLE} === 10", "the rows of the group")
    assert page.evaluate("location.hash") == "#alerts-rule-3"
    before = len(phone.requests)
    monitor.append(entries("read", "secret/data/production/later", number="later", role="late"))
    eventually(lambda: page.wait_for_timeout(50) or len(phone.requests) > before + 2, "two refreshes", 60)
    assert page.evaluate(OPEN) == ["group-alerts-rule-3"]
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    # The address is a link to what is open.
    again = opened(phone, page.url)
    again.until(f"{VISIBLE} === 10", "the group that the link names")
    page.keyboard.press("Escape")


def test_the_filter_finds_one_of_a_thousand_subjects(phone):
    page = phone.page
    page.fill("#filter-text", "DB-77 rule-4")
    phone.until(f"{VISIBLE} === 1", "the one alert")
    assert "db-77" in page.inner_text("#alerts tbody")
    assert "q=DB-77" in page.url
    assert "1 row matches" in page.text_content("[role=status]")
    assert page.evaluate("document.activeElement.id") == "filter-text"
    assert phone.accessibility_violations() == []
    shared = page.url
    page.fill("#filter-text", "")
    phone.until(f"{VISIBLE} === 0", "the closed groups")
    assert "?" not in page.url
    opened(phone, shared).until(f"{VISIBLE} === 1", "the alert of the link")
    assert page.input_value("#filter-text") == "DB-77 rule-4"


def test_an_agent_is_found_by_its_address(phone):
    phone.page.fill("#filter-text", "10.1.0.137")
    phone.until("document.querySelectorAll('#agents tbody tr').length === 1", "the agent")
    row = phone.page.inner_text("#agents tbody tr")
    assert "production/app-4/host-137" in row
    assert "not watched" in row
    assert "role-137" in row


@pytest.mark.thorough
def test_a_group_on_its_own_page_lists_all_its_rows(phone):
    page = phone.page
    page.click("#group-alerts-rule-7 > summary")
    page.click("#alerts-rule-7 .more a")
    phone.until(f"{VISIBLE} === {PATHS}", "all rows of the group")
    assert page.url.endswith("?group=alerts-rule-7#alerts-rule-7")
    # The link of a row leads to it alone.
    page.locator("#alerts tbody th a").first.click()
    phone.until(f"{VISIBLE} === 1", "the row alone")
    page.click("#selected a")
    phone.until(f"{VISIBLE} === 0", "all groups, closed")


def test_without_javascript_links_still_select(browser, monitor):
    view = BrowserPage(browser, f"{monitor.url}?q=db-5+rule-1", viewport=PHONE, java_script_enabled=False)
    assert view.page.locator("#alerts tbody tr").count() == 11  # db-5, and db-50 to db-59
    assert view.page.locator("#filter").count() == 0
    view.page.goto(f"{monitor.url}?group=alerts-rule-2#alerts-rule-2")
    assert view.page.locator("#alerts tbody tr").count() == PATHS
    view.close()


@pytest.mark.thorough
@pytest.mark.parametrize(
    "query", ["q=%3Cscript%3E", "q=" + "x" * 5000, "q=%00%1b&group=%22%3E", "group=alerts-none", "&" * 999]
)
def test_no_query_breaks_the_page(phone, monitor, query):
    view = opened(phone, f"{monitor.url}?{query}")
    assert view.page.locator("h1").count() == 1
    assert view.page.locator("script").count() == 1
    assert view.accessibility_violations() == []
