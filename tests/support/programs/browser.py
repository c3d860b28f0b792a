"""A real Chromium before a page of ours: what it complains of, what it loads, and whether everybody can read it."""

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
_WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
_LOOK = "async () => JSON.stringify((await axe.run(document, {resultTypes: ['violations']})).violations)"


@contextmanager
def chromium():
    need(CHROMIUM, "needs Chromium: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Sight:
    """One page in one browser; `told` is what the browser complained of, and `asked` where it went."""

    def __init__(self, browser, url, **settings):
        self.told, self.asked = [], []
        self.context = browser.new_context(**settings)
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.page.on("console", lambda said: self.told.append(f"{said.type}: {said.text}"))
        self.page.on("pageerror", lambda error: self.told.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.answer = self.page.goto(url)

    def close(self):
        self.context.close()

    def finds(self):
        """What axe finds: (how bad, which rule, where). It is put in from outside, past the page's policy."""
        source = (npm.packages() / "node_modules/axe-core/axe.min.js").read_text()
        self.page.evaluate(source)
        violations = json.loads(self.page.evaluate(_LOOK))
        return [
            (one["impact"], one["id"], [node["target"] for node in one["nodes"]], one["nodes"][0]["failureSummary"])
            for one in violations
        ]

    def until(self, expression, what):
        """Wait for the page to be so; its policy lets nobody wait inside it, not even the browser's driver."""
        eventually(lambda: self.page.wait_for_timeout(50) or self.page.evaluate(expression), what, 60)

    def wider(self):
        """Pixels by which it must be scrolled sideways."""
        return self.page.evaluate(_WIDER)


def portraits(browser, url, folder, name):
    """A picture for each width and scheme, and what is wrong with each."""
    wrong = []
    for width in WIDTHS:
        for scheme in SCHEMES:
            sight = Sight(browser, url, viewport={"width": width, "height": 900}, color_scheme=scheme)
            sight.page.screenshot(path=folder / f"{name}-{width}-{scheme}.png", full_page=True)
            wrong += [(width, scheme, found) for found in sight.finds()]
            wrong += [(width, scheme, f"{sight.wider()} pixels too wide")] if sight.wider() else []
            wrong += [(width, scheme, told) for told in sight.told]
            wrong += [(width, scheme, asked) for asked in sight.asked if not asked.startswith((url, "data:"))]
            sight.close()
    return wrong
