"""The site that `make docs` builds: every link leads somewhere, and no page requests anything from another host."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest

from support.paths import ROOT
from support.programs.browser import BrowserPage, chromium

LOADED = {
    "script": "src", "img": "src", "iframe": "src", "source": "src", "audio": "src", "video": "src", "embed": "src",
    "object": "data", "link": "href", "use": "href", "form": "action", "base": "href",
}  # fmt: skip
"""The attribute of each element by which a page loads something by itself, or sends what a reader types."""


class Loads(HTMLParser):
    """What a page loads."""

    def __init__(self, text):
        super().__init__()
        self.urls = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if url := found.get(LOADED.get(tag, "")):
            self.urls.append(url)
        self.urls += [part.split()[0] for part in (found.get("srcset") or "").split(",") if part.strip()]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "--quiet", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.thorough
def test_no_page_loads_anything_from_another_host(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 50
    loads = {url for page in pages for url in Loads(page.read_text()).urls}
    assert [url for url in loads if urlsplit(url).netloc] == []
    styles = [file.read_text() for file in site.rglob("*.css")]
    assert [
        url for text in styles for url in re.findall(r"(?:url\(|@import )[\"']?((?:https?:)?//[^\"')]*)", text)
    ] == []


def test_a_reader_without_network_finds_a_page_by_its_words(site):
    with chromium() as browser:
        page = BrowserPage(browser, (site / "index.html").as_uri())
        page.page.locator("input.md-search__input").fill("confirmation_timeout")
        page.page.locator(".md-search-result__link").first.wait_for()
        assert "confirmation_timeout" in page.page.locator(".md-search-result__list").inner_text()
        assert {urlsplit(url).scheme for url in page.requests} <= {"file", "data", "blob"}
        assert page.messages == []
        page.close()
