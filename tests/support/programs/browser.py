"""A real Chromium with one of lessee's pages: its console messages, its requests, and the accessibility of the page."""

import json
import shutil
from contextlib import contextmanager

from playwright.sync_api import sync_playwright

from support import npm
from support.needs import need
from support.programs.sidecar import eventually

CHROMIUM = shutil.which("chromium")
WIDTHS = (360, 1440)
SCHEMES = ("light", "dark")
_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
_AXE = "async () => JSON.stringify((await axe.run(document, {resultTypes: ['violations']})).violations)"

_REPEATED_IDS = """[...document.querySelectorAll('[id]')].map(one => one.id)
    .filter((id, index, all) => all.indexOf(id) !== index)"""


@contextmanager
def chromium():
    need(CHROMIUM, "needs Chromium: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class BrowserPage:
    """A page in a browser: `messages` of its console, and the URLs of its `requests`."""

    def __init__(self, browser, url, **settings):
        self.messages, self.requests = [], []
        self.context = browser.new_context(**settings)
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.page.on("console", lambda message: self.messages.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.response = self.page.goto(url)

    def close(self):
        self.context.close()

    def accessibility_violations(self):
        """What axe finds: (impact, rule, elements), and ids that are there twice, which axe does not look for.

        The driver injects axe, past the page's content policy.
        """
        source = (npm.packages() / "node_modules/axe-core/axe.min.js").read_text()
        self.page.evaluate(source)
        violations = json.loads(self.page.evaluate(_AXE))
        repeated = self.page.evaluate(_REPEATED_IDS)
        return [("serious", "duplicate-id", repeated, "HTML: an id is unique")] * bool(repeated) + [
            (one["impact"], one["id"], [node["target"] for node in one["nodes"]], one["nodes"][0]["failureSummary"])
            for one in violations
        ]

    def until(self, expression, what):
        """Poll an expression: the page's content policy does not let the browser's driver wait inside the page."""
        eventually(lambda: self.page.wait_for_timeout(50) or self.page.evaluate(expression), what)

    def overflow(self):
        """Pixels by which the page is wider than the window."""
        return self.page.evaluate(_OVERFLOW)


def screenshots(browser, url, folder, name):
    """Take a screenshot for each width and color scheme; returns the problems of each."""
    problems = []
    for width in WIDTHS:
        for scheme in SCHEMES:
            page = BrowserPage(browser, url, viewport={"width": width, "height": 900}, color_scheme=scheme)
            page.page.screenshot(path=folder / f"{name}-{width}-{scheme}.png", full_page=True)
            problems += [(width, scheme, found) for found in page.accessibility_violations()]
            problems += [(width, scheme, f"{page.overflow()} pixels too wide")] if page.overflow() else []
            problems += [(width, scheme, message) for message in page.messages]
            problems += [
                (width, scheme, request) for request in page.requests if not request.startswith((url, "data:"))
            ]
            page.close()
    return problems
