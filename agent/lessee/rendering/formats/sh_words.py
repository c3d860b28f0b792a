"""Parses a shell script, as far as every shell reads it alike."""

import re
from itertools import pairwise

from lessee.rendering.formats.sh_commands import may_assign, name_of
from lessee.rendering.formats.sh_script import (
    RUNS,
    AmbiguousError,
    HereDoc,
    HereDocStart,
    LastLine,
    Script,
    Segment,
    Word,
)

_BLANK = re.compile(r"(?:[ \t]|\\\n)+")
_COMMENT = re.compile(r"#[^\n]*")
_OPERATORS = "\n;&|()"
_ENDS_OF_WORDS = _OPERATORS + " \t<>"
_BEFORE_A_WORD = frozenset(" \t\\#<>0123456789")
"""The first characters of blanks, comments and redirections."""
_REDIRECTION = re.compile(r"[0-9]*(<<<|<<-?|[<>]&|<>|>>|>\||[<>])")
_DELIMITER = re.compile(r"\\?([\w.-]+)|'([^'\n]+)'|\"([^\"\\$`\n]+)\"")
_HEAD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?=\+?=)")
_BARE = re.compile(r"(?:\\.|[^\\'\"`$ \t\n;&|<>()])+", re.DOTALL)
_SINGLE = re.compile(r"'[^']*'")
_DOUBLE = re.compile(r'(?:\\.|[^\\"`$])+', re.DOTALL)
_HERE = re.compile(r"(?:\\.|[^\\`$])+", re.DOTALL)
_JOINS_THE_NEXT_LINE = re.compile(r"(?<!\\)(?:\\\\)*\\\n\Z")
_BACKTICKS = re.compile(r"`(?:\\.|[^\\`])*`", re.DOTALL)
# A shell without $'…' reads it as '…', which must end in the same place.
_ANSI = re.compile(r"\$'(?:\\[^']|[^\\'])*'", re.DOTALL)
_VARIABLE = re.compile(r"\$(?:[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-])")
_IN_BRACES = re.compile(r"(?:\\.|[^\\'\"`${}<>]|[<>](?!\())+", re.DOTALL)

# Arithmetic without quotes and comments: a shell that reads it as commands in brackets finds the same end.
_DIGITS = r"(?:[^\\'\"`${}()#]|\$\{[^\\'\"`${}()]*\}|\$#?|(?<=[0-9])#)"
_INSIDE = rf"(?:(?!<<){_DIGITS})"
_TERMS = rf"(?:{_DIGITS}|\((?:{_INSIDE}|\({_INSIDE}*+\))*+\))"
_ARITHMETIC = re.compile(rf"\$\(\({_TERMS}*+\)\)")
_ARITHMETIC_COMMAND = re.compile(rf"\(\((?:(?!<<|\n){_TERMS})*+\)\)")

_BEFORE_A_COMMAND = frozenset(
    {"!", "{", "}", "do", "done", "elif", "else", "esac", "fi", "if", "then", "until", "while"}
)


def read(text: str) -> Script:
    """Parse a script. Raises AmbiguousError, or RecursionError if it is nested too deeply."""
    if "\0" in text:
        raise AmbiguousError("the text contains a NUL, which some shells ignore", "remove it", text.index("\0"))
    reader = _Reader(text)
    reader.commands()
    reader.end()
    return reader.script


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._end = len(text)
        self._pending_heredocs: list[HereDocStart] = []
        # The number of open `case` in each open bracket: the bracket of a pattern closes none of them.
        self._cases = [0]
        # The ranges of $( ) in the current word.
        self._nested: list[tuple[int, int]] = []
        # The kinds of the segments, and where they begin; each ends where the next one begins.
        self._segments: list[tuple[str, int]] = []
        self.script = Script([], [], [])

    def end(self) -> None:
        """Cut the text into segments, once each: a run may have been found in many parts."""
        starts = [*(at for _, at in self._segments), len(self._text)]
        for (kind, at), (_, end) in zip(self._segments, pairwise(starts), strict=True):
            self.script.segments.append(Segment(kind, self._text[at:end], at))

    def commands(self, bracket: int | None = None) -> None:
        """Parse commands up to the end, or to the closing bracket."""
        command: list[Word] = []
        name: str | None = None
        while char := self._next():
            if char == ")" and bracket is not None and not self._cases[-1]:
                self._emit("code", ")")
                return
            if char in _BEFORE_A_WORD and (
                self._take("code", _BLANK) or self._take("comment", _COMMENT) or self._redirection()
            ):
                continue
            if char in _OPERATORS:
                self._operator(char)
                command, name = [], None
                continue
            start = len(self._segments)
            word = self._word(assigns=may_assign(name))
            if not command and word.text == "[[":
                self._test(start)
            else:
                command = self._follow(command, word)
                name = (name_of(word) if name is None else name) if command else None
        if bracket is not None:
            raise AmbiguousError("a bracket is not closed", "close it", bracket)
        if self._pending_heredocs:
            raise AmbiguousError(
                "a here-document has no lines", "add them and the delimiter", self._pending_heredocs[0].at
            )

    def _next(self) -> str:
        return self._text[self._at] if self._at < self._end else ""

    def _emit(self, kind: str, text: str) -> None:
        if kind not in RUNS or not self._segments or self._segments[-1][0] != kind:
            self._segments.append((kind, self._at))
        self._at += len(text)

    def _take(self, kind: str, pattern: re.Pattern[str]) -> bool:
        found = pattern.match(self._text, self._at, self._end)
        if found:
            self._emit(kind, found[0])
        return found is not None

    def _need(self, kind: str, pattern: re.Pattern[str], what: str, todo: str) -> None:
        if not self._take(kind, pattern):
            raise AmbiguousError(what, todo, self._at)

    def _merge(self, kind: str, start: int) -> None:
        """Merge the segments since `start` into one."""
        self._segments[start:] = [(kind, self._segments[start][1])]

    def _follow(self, command: list[Word], word: Word) -> list[Word]:
        """Add a word, and return the command to which the next word belongs."""
        text = word.text.replace("\\\n", "")
        if not command:
            self._cases[-1] += (text == "case") - (text == "esac")
        elif text in {"case", "esac"} and len(self._cases) > 1:
            raise AmbiguousError(f"{text!r} is inside brackets but begins no command", "quote it", word.at)
        if not command and text in _BEFORE_A_COMMAND:
            return []
        if not command:
            self.script.commands.append(command)
        command.append(word)
        return [] if text == "in" and len(command) == 3 and command[0].text == "case" else command  # noqa: PLR2004

    def _operator(self, char: str) -> None:
        start = self._at
        if self._text.startswith("((", start):
            what = "some shells read (( as arithmetic, others as two brackets"
            self._need("arithmetic", _ARITHMETIC_COMMAND, what, "write $(( )) for arithmetic, ( ( for brackets")
            return
        self._emit("code", char)
        if char == "\n":
            self._here_docs()
        elif char == "(":
            self._bracketed(start)

    def _bracketed(self, start: int) -> None:
        if self._text.startswith(("#", "\\\n"), self._at):
            raise AmbiguousError("shells read the text after this bracket differently", "add a space after it", start)
        self._cases.append(0)
        self.commands(start)
        self._cases.pop()

    def _redirection(self) -> bool:
        found = _REDIRECTION.match(self._text, self._at, self._end)
        if not found:
            return False
        self._emit("code", found[0])
        if self._text.startswith("\\\n", self._at):
            raise AmbiguousError("a line is continued within an operator", "put a space before the \\", self._at)
        self._take("code", _BLANK)
        if found[1] in {"<<", "<<-"}:
            self._here_doc_start(without_tabs=found[1] == "<<-")
        elif self._next() not in _ENDS_OF_WORDS + "#":
            self.script.commands.append([Word(found[1], found.start(), found.end()), self._word()])
        return True

    def _here_doc_start(self, *, without_tabs: bool) -> None:
        at = self._at
        found = _DELIMITER.match(self._text, at, self._end)
        if not found or self._text[found.end() : self._end][:1] not in _ENDS_OF_WORDS:
            raise AmbiguousError("the delimiter of the here-document is not a plain word", "write EOF or 'EOF'", at)
        self._emit("delimiter", found[0])
        raw = found[0] != found[1]
        self._pending_heredocs.append(HereDocStart(found[found.lastindex or 0], raw, without_tabs, at))

    def _here_docs(self) -> None:
        pending, self._pending_heredocs = self._pending_heredocs, []
        for document in pending:
            last = LastLine(document.delimiter, document.without_tabs, len(self._cases) > 1)
            start, line = self._last_line(last)
            if not last.is_clear(line):
                what, todo = "the here-document has no clear end", "write its delimiter on its own line"
                raise AmbiguousError(what, todo, document.at)
            here_doc = HereDoc(self._text[self._at : start], last, document.without_tabs)
            self.script.here_docs.append(here_doc)
            self._here_doc_lines(here_doc.text, raw=document.raw)
            self._emit("code", line)

    def _last_line(self, last: LastLine) -> tuple[int, str]:
        """Where the first line begins that may be the last one, and its text; or else the last line of all."""
        start = self._at
        while True:
            end = self._text.find("\n", start, self._end)
            line = self._text[start : end if end >= 0 else self._end]
            if end < 0 or last.may_be(line):
                return start, line
            start = end + 1

    def _here_doc_lines(self, text: str, *, raw: bool) -> None:
        stop = self._at + len(text)
        if raw:
            self._emit("raw", text)
            return
        if _JOINS_THE_NEXT_LINE.search(text):
            raise AmbiguousError("a \\ precedes the end of a here-document", "remove it", stop - 1)
        end, self._end = self._end, stop
        self._quoted("here", _HERE, "")
        self._end = end

    def _word(self, *, assigns: bool = False) -> Word:
        start = self._at
        nested, self._nested = self._nested, []
        if assigns:
            self._take("head", _HEAD)
        while (char := self._next()) not in _ENDS_OF_WORDS:
            match char:
                case "'":
                    self._need("single", _SINGLE, "a quote is not closed", "close it")
                case '"':
                    self._double()
                case "`" | "$":
                    self._expansion("bare")
                case _:
                    self._need("bare", _BARE, "the text ends in a \\", "remove it")
        inside, self._nested = self._nested, nested
        return Word(self._without(inside, start), start, self._at)

    def _without(self, inside: list[tuple[int, int]], start: int) -> str:
        """The text since `start` without these ranges."""
        if not inside:  # As in almost every word.
            return self._text[start : self._at]
        begins, ends = zip(*inside, strict=True)
        outside = zip((start, *ends), (*begins, self._at), strict=True)
        return "".join(self._text[begin:end] for begin, end in outside)

    def _double(self) -> None:
        start = self._at
        self._emit("code", '"')
        self._quoted("double", _DOUBLE, '"')
        if not self._next():
            raise AmbiguousError("a quote is not closed", "close it", start)
        self._emit("code", '"')

    def _quoted(self, kind: str, pattern: re.Pattern[str], until: str) -> None:
        while (char := self._next()) and char != until:
            if char in "`$":
                self._expansion(kind)
            else:
                self._need(kind, pattern, "the text ends in a \\", "remove it")

    def _expansion(self, inside: str) -> None:
        """Parse an expansion that begins with ` or $. `inside` is the kind of the surrounding text."""
        if self._next() == "`":
            self._need("backticks", _BACKTICKS, "a ` is not closed", "close it, or write $( )")
        elif self._text.startswith("$((", self._at):
            todo = "write plain arithmetic without quotes, or a space between the brackets"
            self._need("arithmetic", _ARITHMETIC, "shells may read this $(( differently", todo)
        elif self._text.startswith("$(", self._at):
            self._substitution()
        elif self._text.startswith("${", self._at):
            self._braces(inside)
        elif self._text.startswith("$'", self._at) and inside == "bare":
            self._need("ansi", _ANSI, "not every shell supports \\' in $'…'", "write '…'")
        elif self._text.startswith(("$[", "$\\\n"), self._at):
            raise AmbiguousError(
                "shells read the text after this $ differently", "write \\$, or $(( )) for arithmetic", self._at
            )
        elif not self._take("variable", _VARIABLE):
            self._emit(inside, "$")
        elif self._next() == "[":
            todo = "write ${NAME} before it"
            raise AmbiguousError("zsh evaluates a [ directly after a variable's name", todo, self._at)

    def _substitution(self) -> None:
        start, outside = self._at, len(self._nested)
        pending, self._pending_heredocs = self._pending_heredocs, []
        self._emit("code", "$(")
        self._bracketed(start)
        if self._pending_heredocs or (pending and "\n" in self._text[start : self._at]):
            what = "shells differ in where the lines of the here-document begin"
            raise AmbiguousError(what, "begin and end $( ) on one line, or the here-document inside it", start)
        self._pending_heredocs = pending
        self._nested[outside:] = [(start + 2, self._at - 1)]

    def _braces(self, inside: str) -> None:
        start, at = len(self._segments), self._at
        self._emit("code", "${")
        odd = self._next() in " \t\n|(\\"
        while not odd and self._next() != "}":
            match self._next():
                case "`" | "$":
                    self._expansion(inside)
                case '"' if inside != "here":
                    self._double()
                case "'" if inside == "bare":
                    self._need("single", _SINGLE, "a quote is not closed", "close it")
                case _:
                    odd = not self._take("braces", _IN_BRACES)
        if odd:
            raise AmbiguousError("shells read this ${ differently", "write plain text between braces", at)
        self._emit("code", "}")
        self._merge("braces", start)

    def _test(self, start: int) -> None:
        """Parse [[ … ]], in which brackets and `<` have another meaning than in a command."""
        at = self._segments[start][1]
        open_brackets = 0
        while char := self._next():
            if self._take("code", _BLANK):
                continue
            if char in _ENDS_OF_WORDS and not self._text.startswith("<<", self._at):
                open_brackets += (char == "(") - (char == ")")
                self._emit("code", char)
            elif char in "#<" or open_brackets < 0:
                break
            elif self._word().text == "]]" and not open_brackets:
                self._merge("test", start)
                return
        raise AmbiguousError("shells read this [[ differently", "write [ ]", at)
