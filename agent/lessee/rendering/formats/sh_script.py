"""The types of a parsed shell script."""

from lessee.core.immutable import ImmutableStruct

RUNS = frozenset({"bare", "double", "here"})
"""The kinds of segments of maximum length: no two adjacent segments have the same kind."""


class Segment(ImmutableStruct, frozen=True):
    """A part of a script. All segments together are the script.

    `kind` is one of bare (text outside quotes), head (the name left of `=`), single ('…' with its quotes), double
    (text inside "…"), here (text of a here-document), raw (text of one with a quoted delimiter), comment; or one of
    those that cannot contain a value: variable, braces (${…}), arithmetic, backticks, ansi ($'…'), test ([[ … ]]),
    delimiter; or code, for everything else.
    """

    kind: str
    text: str
    at: int


class Word(ImmutableStruct, frozen=True):
    """A word of a command: its source from `at` to `end`, without the commands inside $( )."""

    text: str
    at: int
    end: int


class HereDocStart(ImmutableStruct, frozen=True):
    """The operator that announces a here-document."""

    delimiter: str
    raw: bool
    without_tabs: bool
    at: int


class LastLine(ImmutableStruct, frozen=True):
    """The line that ends a here-document."""

    delimiter: str
    without_tabs: bool
    in_brackets: bool
    """Inside $( ), `EOF)` also ends the lines in bash."""

    def is_clear(self, line: str) -> bool:
        """Whether every shell ends the lines here."""
        return self._word(line) == self.delimiter

    def may_be(self, line: str) -> bool:
        """Whether some shell ends the lines here."""
        word = self._word(line)
        is_odd = self.in_brackets and word.startswith(self.delimiter) and ")" in word[len(self.delimiter) :]
        return word == self.delimiter or is_odd

    def _word(self, line: str) -> str:
        return line.lstrip("\t") if self.without_tabs else line


class HereDoc(ImmutableStruct, frozen=True):
    """The lines of a here-document, and what ends them."""

    text: str
    last: LastLine
    without_tabs: bool


class Script(ImmutableStruct, frozen=True):
    """A parsed script. A redirection counts as a command: `>` and its target."""

    segments: list[Segment]
    commands: list[list[Word]]
    here_docs: list[HereDoc]


class AmbiguousError(Exception):
    """Shells may read the script differently from here on."""

    def __init__(self, what: str, todo: str, at: int) -> None:
        super().__init__(what)
        self.what = what
        self.todo = todo
        self.at = at
