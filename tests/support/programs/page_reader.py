"""A reader who follows a page: saves its files, types its commands, and compares what they print."""

import re

from support.paths import ROOT
from support.programs.operator_shell import Operator

DOCS = ROOT / "docs"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"Save this as `([\w.]+)`[^`]*(?:`[^`]*`[^`]*)*$")


class Reader(Operator):
    """A reader of a tutorial, whose ports and folders are others than those of the page."""

    def __init__(self, folder, environ, own):
        super().__init__(folder, environ)
        self._own = own

    def own(self, text):
        """The text with the ports and folders of this test."""
        for public, own in self._own.items():
            text = re.sub(rf"{public}\b", own, text)
        return text

    def follow(self, name):
        """Do all that a page says. Each line of a block of text is in what the last commands have printed."""
        said = ""
        for file, language, text in blocks(name):
            if file is not None:
                (self.folder / file).write_text(self.own(text))
            elif language == "console":
                before = len(self.said)
                self.type(self.own(text))
                said = self.said[before:]
            elif language == "text":
                for line in text.splitlines():
                    assert re.search(_pattern(self.own(line)), said), f"{line!r} is not in:\n{said}"


def blocks(name):
    """The blocks of a page: the name of the file to save, or the block's language, and its text."""
    text, end = (DOCS / f"{name}.md").read_text(), 0
    for found in _BLOCK.finditer(text):
        paragraph = text[end : found.start()].rpartition("\n\n## ")[2].strip().rpartition("\n\n")[2]
        file = _FILE.search(paragraph)
        end = found.end()
        yield (file[1] if file else None), found[1], found[2]


def _pattern(text):
    """What the reader sees, with `…` for what differs each time."""
    return ".*".join(map(re.escape, text.split("…")))
