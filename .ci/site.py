"""Adds the pages outside docs/ to the site: READMEs of stacks, templates and tests, and files that pages link to.

A hook of mkdocs.yml. A page `compose/README.md` is `repository/compose/README.md` in the site, and so is each other
file that a page links to. Links in the repository are relative paths, as GitHub follows them; the site's are made of
them.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
_DOCS, _REST = "docs/", "repository/"
_PAGES = ("*.md", "compose/**/*.md", "templates/**/*.md", "tests/*.md", "tests/bench/*.md")
_LINK = re.compile(r"(\[(?:[^\[\]]|\[[^\[\]]*\])*\])\(([^)\s]+)\)")
_FENCE = re.compile(r"^( *)(```+).*?^\1\2$", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add all other pages of the repository, and the files to which a page links."""
    found = {str(path.relative_to(ROOT)) for pattern in _PAGES for path in ROOT.glob(pattern)}
    inside = {str(path.relative_to(ROOT)) for path in (ROOT / _DOCS).rglob("*.md")}
    linked = {path for name in found | inside for path in _targets(name)}
    for name in sorted(found | linked):
        if not name.startswith(_DOCS):
            files.append(File.generated(config, _REST + name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001  # mkdocs names them.
    """Lead the links of a page to where the site has their targets."""
    here = page.file.src_uri
    source = here.removeprefix(_REST) if here.startswith(_REST) else _DOCS + here

    def lead(found: re.Match[str]) -> str:
        text, link = found.groups()
        target = _target(source, link)
        if target is None:
            return found[0]
        path, anchor = target
        if not (ROOT / path).is_file():
            return text[1:-1]  # A folder has no page.
        uri = path.removeprefix(_DOCS) if path.startswith(_DOCS) else _REST + path
        return f"{text}({posixpath.relpath(uri, posixpath.dirname(here) or '.')}{anchor})"

    parts = []
    end = 0
    for fence in _FENCE.finditer(markdown):
        parts += [_LINK.sub(lead, markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, _LINK.sub(lead, markdown[end:])])


def _targets(page: str) -> Iterator[str]:
    """The files of the repository to which a page links."""
    for _, link in _LINK.findall(_FENCE.sub("", (ROOT / page).read_text())):
        target = _target(page, link)
        if target is not None and (ROOT / target[0]).is_file():
            yield target[0]


def _target(page: str, link: str) -> tuple[str, str] | None:
    """The path in the repository to which a link of a page leads, and its anchor; None if it leaves the repository."""
    if re.match(r"[a-z]+:|#", link):
        return None
    path, mark, anchor = link.partition("#")
    found = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
    if (ROOT / found).is_dir():
        entries = (f"{found}/{name}" for name in ("README.md", "index.md", "compose.yaml"))
        found = next((entry for entry in entries if (ROOT / entry).is_file()), found)
    return (found, mark + anchor) if (ROOT / found).exists() else None
