"""Measures the sentences of pages: `python tests/support/sentences.py [PAGE …]` prints those of more than 25 words.

A paragraph, a list item and a cell of a table have sentences of their own. Code blocks and headings have none, nor do
cells of one or two words or numbers. A link counts as its text, and a code span as one word: it is one name.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 25
PAGES = ("README.md", "docs/**/*.md")
_FENCE = re.compile(r"^ *(```+).*?^ *\1 *$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"!?\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\([^)\s]*\)")
_ITEM = re.compile(r"^ *(?:[-*+]|\d+\.) +")
# A sentence ends with its mark and a space, also where bold text or a bracket ends with it.
_END = re.compile(r"(?<=[.!?])[*_)\"”]*\s+")
_SHORTEST_CELL = 3
_CELL = re.compile(r"(?<!\\)\|")


def sentences(page: str) -> Iterator[str]:
    """The sentences of a page in Markdown."""
    text = _COMMENT.sub("", _FENCE.sub("\n\n", page))
    text = _LINK.sub(r"\1", _CODE.sub("code", text))
    for block in _blocks(text.splitlines()):
        yield from (found for part in _END.split(block) if (found := part.strip()))


def words(sentence: str) -> int:
    """How many words a sentence has: what has a letter or a digit, between spaces."""
    return sum(bool(re.search(r"\w", word)) for word in sentence.split())


def long_sentences(page: str) -> list[str]:
    """Those with more words than a reader follows."""
    return [one for one in sentences(page) if words(one) > LONGEST]


def pages() -> list[Path]:
    """The pages that are measured."""
    return sorted(path for pattern in PAGES for path in ROOT.glob(pattern))


def _blocks(lines: Iterable[str]) -> Iterator[str]:
    """The text of each paragraph, list item and cell, on one line."""
    block: list[str] = []
    for line in [*lines, ""]:
        is_row = line.lstrip().startswith("|")
        if not line.strip() or is_row or line.startswith("#") or _ITEM.match(line):
            yield " ".join(block)
            block = []
        if is_row:
            yield from (cell.strip() for cell in _CELL.split(line) if words(cell) >= _SHORTEST_CELL)
        elif line.strip() and not line.startswith("#"):
            block.append(_ITEM.sub("", line).strip())


def main(names: list[str]) -> None:
    """Print the long sentences of these pages, or of all, and the share of each page."""
    of_all = of_long = 0
    for path in [Path(name).resolve() for name in names] or pages():
        text = path.read_text()
        found, number = long_sentences(text), len(list(sentences(text)))
        of_all, of_long = of_all + number, of_long + len(found)
        if found:
            print(f"{path.relative_to(ROOT)}: {len(found)} of {number}")
        if names:
            for one in found:
                print(f"  {words(one)}: {one}")
    print(f"{of_long} of {of_all} sentences have more than {LONGEST} words: {of_long / max(of_all, 1):.1%}")


if __name__ == "__main__":
    main(sys.argv[1:])
