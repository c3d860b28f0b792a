"""Finds the values in a text that may be secrets, with their names: in any language whose literals look alike."""

import re
from collections.abc import Iterator

from lessee.core.immutable import ImmutableStruct
from lessee.ops.scan.policy.places import Kind, Place


class Candidate(ImmutableStruct, frozen=True):
    """A value in a text. `start`, `end`: where it is. `is_quoted`: whether it is a literal in quotes."""

    hidden = ("value",)

    name: str
    value: str
    start: int
    end: int
    is_quoted: bool = True
    is_argument: bool = False
    """Whether it follows the name after a comma, as in `set("NAME", "value")`, and as in any list of words.

    A value on the line after its name is one too: that line may also be an entry below the name.
    """


def find_assignments(text: str, place: Place) -> Iterator[Candidate]:
    """The values whose names contain a word that names of secrets have."""
    seen = -1
    # Five times as fast as a pattern that ignores case. Only this letter has a lower case of two characters.
    for word in _WORD.finditer(text.replace("\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}", "i").lower()):
        begin = _begin_of_name(text, word.start())
        limit = word.end() + _LONGEST_NAME + _LONGEST_CALL  # A word may be repeated for a megabyte.
        end = _END_OF_NAME.match(text, word.end(), limit).end()  # type: ignore[union-attr]  # It matches nothing too.
        if begin < seen or end - begin > _LONGEST_NAME:
            continue
        seen = end
        for candidate in _values_of(text, begin, end, place):
            seen = seen if candidate.is_quoted else candidate.end  # What follows is a part of it.
            yield candidate


def find_logins(text: str) -> Iterator[Candidate]:
    """What a command or a request presents: `curl -u user:password`, and headers."""
    for pattern in (_LOGIN, _AUTHORIZATION):
        for found in pattern.finditer(text):
            yield Candidate("", found["value"], found.start("value"), found.end("value"))


def find_tokens(text: str) -> Iterator[Candidate]:
    """Long values without spaces that are a whole literal, with the names before them, if any."""
    for found in _TOKEN.finditer(text):
        yield Candidate(found["name"] or "", found["value"], found.start("value"), found.end("value"))


def _values_of(text: str, begin: int, end: int, place: Place) -> Iterator[Candidate]:
    name, close = text[begin:end].strip("-.$"), text[end : end + 1]
    if close and close in "\"'`" and text[max(0, begin - 1) : begin] != close:
        return  # The end of a sentence in quotes.
    if (quoted := _QUOTED.match(text, end)) is not None:
        is_argument = quoted["comma"] is not None
        is_prose = is_argument or re.search(r"\s", quoted["value"])
        if quoted["quote"] != "`" or not is_prose:
            start, stop = quoted.span("value")
            yield Candidate(name, quoted["value"], start, stop, is_argument=is_argument)
    elif (compared := _COMPARED.search(text, max(0, begin - _LONGEST_LITERAL), begin)) is not None:
        yield Candidate(name, compared["value"], compared.start("value"), compared.end("value"))
    elif place.kind is Kind.CONFIG and (continued := _CONTINUED.match(text, end)) is not None:
        start, stop = continued.span("value")
        yield Candidate(name, continued["value"], start, stop, is_quoted=False, is_argument=True)
    elif (
        place.kind is not Kind.SOURCE
        and text[max(0, begin - 1) : begin] != "`"
        and (bare := _bare(text, begin, end, place)) is not None
    ):
        value, start = _without_end(bare["value"]), bare.start("value")
        yield Candidate(name, value, start, start + len(value), is_quoted=False)


def _without_end(value: str) -> str:
    """The value without what ends its list, its object or its statement."""
    value = _COMMENT.sub("", value).rstrip()
    if _SEVERAL.search(value):
        return ""
    end, unopened = len(value), {close: value.count(close) - value.count(first) for close, first in _OPENING.items()}
    while end and ((last := value[end - 1]) in _ENDS or last.isspace() or unopened.get(last, 0) > 0):
        unopened[last] = unopened.get(last, 0) - 1
        end -= 1
    return value[:end]


def _bare(text: str, begin: int, end: int, place: Place) -> "re.Match[str] | None":
    if (element := _ELEMENT.match(text, end)) is not None:
        return element
    if (pair := _PAIR.match(text, end)) is not None:
        return pair
    if place.kind is Kind.ENV:
        return _ENV.match(text, end)
    before = text[max(0, begin - _LONGEST_INDENT) : begin]
    if (text.startswith("--", begin) or _INSTRUCTION.search(before)) and (
        argument := _ARGUMENT.match(text, end)
    ) is not None:
        return argument
    if place.kind is Kind.SHELL:
        return _SHELL.match(text, end)
    is_flow = "{" in text[max(0, begin - _LONGEST_LITERAL) : begin].rpartition("\n")[2]
    return (_FLOW if is_flow else _CONFIG).match(text, end)


def _begin_of_name(text: str, at: int) -> int:
    first = max(0, at - _LONGEST_NAME)
    while at > first and (text[at - 1].isalnum() or text[at - 1] in "_-.$"):
        at -= 1
    return at


_ENDS = "\"'`,;"
_OPENING = {")": "(", "]": "[", "}": "{"}
_LONGEST_NAME = 100
_LONGEST_CALL = 20
"""Characters of a method's name behind a name, such as `.assign(`."""
_LONGEST_LITERAL = 300
_LONGEST_INDENT = 40
_WORD = re.compile(r"pass|pwd|pw\b|pw_|secret|token|key|cred|auth|dsn|connection|cookie|bearer|_pat\b|salt")
_END_OF_NAME = re.compile(r"[\w-]*(?:\.(?!(?:assign|equals|set|put)\()[A-Za-z]\w*)*", re.ASCII)
_OPERATOR = (
    r"(?:"
    r"[\"']?,?\s*[\"']?value[\"']?[ \t]*[:=][ \t]*|"  # `name: X`, then `value: Y`.
    r"[ \t]*+\\?[\"'`]?\]?(?:\[\w*\])?[ \t]*+"  # The end of a key in quotes, or of an index.
    r"(?:(?::[ \t]*)?[A-Za-z_][\w\[\]|., \t<>?]{0,40}[ \t]*(?==))?"  # A type.
    r"(?:=>|:{0,3}=|[=!]={1,2}|\?{1,2}=|\|\||:|(?P<comma>,)|[+.]=|->)[ \t]*"
    r"(?:\\?[\"'`]?value\\?[\"'`]?[ \t]*[:=][ \t]*)?"
    r"|[ \t]++(?=[\"'`])"  # PASSWORD 'value', in SQL.
    r"|\.(?:assign|equals|set|put)\("
    r"|(?<=[sS]tring secret)\("  # std::string secret("value");
    r")"
)
_QUOTED = re.compile(
    _OPERATOR
    + r"(?:(?:[A-Za-z_][\w.]{0,40}\.)?(?:Field|Secret\w*|[sS]tring|str|bytes|get|getenv|env|config|Some|from|default)"
    r"\((?:\s*default\s*=)?\s*)?"  # Field(default="value"), SecretStr("value")
     + r"[rbfuRBFU@]{0,2}\\?(?P<quote>[\"'`])"
    r"(?P<value>(?:\\(?!(?P=quote))[^\n]"
    r"|(?!\\?(?P=quote))[^\n\\]){1,1000})\\?(?P=quote)",
    re.ASCII,
)
_COMPARED = re.compile(r"(?P<quote>[\"'])(?P<value>(?:(?!(?P=quote))[^\n]){3,200})(?P=quote)[ \t]*[=!]={1,2}[ \t]*$")
_ENV = re.compile(r"[ \t]*+=[ \t]*+(?P<value>[^\n\r]{0,2000}+)(?=[\r\n]|$)")
_COMMENT = re.compile(r"[ \t]#.*$")
_SEVERAL = re.compile(r"[\"'`][\s,;}\])]+[^\s,;}\])]")
"""A quote that ends before the value does: it is several values, or an expression."""
_CONFIG = re.compile(
    r"\\?[\"']?\]?[ \t]*(?:=>|:{0,3}=|\?=|:(?=[ \t]))(?>[ \t]*(?![\"'`]))"
    r"(?P<value>(?:(?!\\n)[^\n\r]){1,500}+)(?=[\r\n]|\\n|$)"
)
_CONTINUED = re.compile(
    r"[\"']?[ \t]*+[=:][ \t]*+(?:\\|[|>][-+]?)?[ \t]*+\r?\n[ \t]++"
    r"(?P<value>(?![\w-]++=[^=\s])[^\s\"'`{}\[\]<>]{1,1000}+)(?<!:)[ \t]*+(?=[\r\n]|$)"
)
"""A single word on the indented line after `NAME =`, `NAME=\\` or `NAME: |`, which is no entry of its own."""
_SHELL = re.compile(r"[ \t]*:{0,3}=[ \t]*(?P<value>[^\s;&|<>()\"'`]+)")
_FLOW = re.compile(r"[ \t]*[:=][ \t]*(?P<value>[^\s,{}\[\]\"'`]{1,1000})")
"""A value in `{NAME: value, …}`."""
_INSTRUCTION = re.compile(r"(?:^|\n)[ \t]*ENV[ \t]+$")
"""`ENV NAME value` of a Dockerfile."""
_ARGUMENT = re.compile(r"[= \t][ \t]*(?P<value>[^\s;&|<>()\"'`,\]-][^\s;&|<>()\"'`,\]]*)")
_PAIR = re.compile(r",?\s*value:[ \t]+(?P<value>[^\s\"'`{}\[\]][^\n\r\"'`]{0,500}+)(?=[\r\n]|$)")
"""`name: NAME`, then `value: VALUE`."""
_ELEMENT = re.compile(r"[^<>\n]{0,60}+>\s*+(?P<value>[^<>\n]{1,2000}+)\s*+</")
_LOGIN = re.compile(
    r"\bcurl\b(?:[^\n\\]|\\.|\\\n){0,400}?[ \t]"
    r"(?:-u|--user|--proxy-user|-U)[ \t=]*[\"']?[^\s:\"']{1,60}:(?P<value>[^\s\"'`]{3,200})"
)
_AUTHORIZATION = re.compile(
    r"(?:authorization|api-?key|token|secret)[\"']?[ \t]*[:,][ \t]*[\"']?"
    r"(?:(?:bearer|basic|token|apikey)[ \t:=]+)(?P<value>[A-Za-z0-9._~+/=@:-]{8,2000})",
    re.IGNORECASE | re.ASCII,
)
_TOKEN = re.compile(
    r"(?:(?<![\w.-])(?P<name>[A-Za-z_][\w.-]{0,60})[\"'`\]]*[ \t]*(?::|=|:=|=>|,)[ \t]*[\"'`]?|[\"'`])"
    r"(?P<value>[A-Za-z0-9+/_.~=-]{20,300})(?=[\"'`,;)\s]|$)",
    re.ASCII,
)
