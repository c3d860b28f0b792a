"""nginx: a value is one quoted argument of a directive, or a part of one, and never more than its text."""

import re
from collections import Counter

from lessee.core.errors import FormatError
from lessee.core.immutable import replace
from lessee.rendering.document import Document
from lessee.rendering.formats.nginx_directives import Directive, UnreadableError, quote, read
from lessee.rendering.formats.value_markers import Marked, Slot, mark

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_OPEN_VARIABLE = re.compile(r"\$(?:\{[A-Za-z0-9_]*|(?![1-9])[A-Za-z0-9_]*)\Z")
_COMPARISON = re.compile(r"!?=|\(?!?-[fdex]")
_CODE = re.compile(r".*_by_lua(?:_block)?|perl(?:_set)?")
_REGEXES = {"rewrite": (1,), "fastcgi_split_path_info": (1,), "gzip_disable": range(1, 100)}
"""Directives with the places of the regular expressions that no `~` announces."""
_DOLLARS = frozenset({"secure_link_secret", "auth_http_header"})
"""Directives to which `$` is a character like any other, as it is to the values in `geo`."""

_CERTIFICATES = [f"{module}ssl_certificate" for module in ("", "proxy_", "grpc_", "uwsgi_")]
_SPECIAL = {
    "location": r"=|\^~|~|@",
    "server_name": r"~|\.|.*\*",
    "valid_referers": r"~|.*\*|(?:none|blocked|server_names)\Z",
    "proxy_redirect": r"~|(?:default|off)\Z",
    **dict.fromkeys(["proxy_cookie_domain", "proxy_cookie_path", "proxy_cookie_flags"], r"~|off\Z"),
    **dict.fromkeys(["error_page", "try_files"], "=|@"),
    **dict.fromkeys(["allow", "deny"], r"(?:all|unix:)\Z"),
    "auth_basic": r"off\Z",
    "access_log": r"off\Z|syslog:",
    "error_log": r"stderr\Z|syslog:|memory:",
    "log_format": "escape=",
    **dict.fromkeys(_CERTIFICATES, "data:"),
    **dict.fromkeys([f"{name}_key" for name in _CERTIFICATES], "data:|engine:|store:"),
}
"""Directives with the beginnings of arguments that they take for more than text."""
_KEYWORDS = frozenset({"default", "delete", "include", "proxy", "*"})
"""Keys that one block of data or another takes for more than text."""
_HOSTNAMES = r"\\?\.|.*\*"
"""The same for a `map` that holds `hostnames`."""

_MORE_THAN_TEXT = "is more than text in this place", "write out what is special to nginx here"

_Meaning = tuple[object, ...]
"""The block that a directive stands in, whether it opens one, and its words."""


def write(document: Document) -> str:
    """The document as nginx configuration. Raises FormatError where a value has no place in it."""
    marked = mark(document)
    directives = _read(marked)
    hosts = frozenset(each.block for each in directives if _texts(each) == ("hostnames",))
    parts: list[str] = []
    meanings: list[_Meaning] = []
    at = 0
    for directive in directives:
        texts = _texts(directive)
        words = list(texts)
        for index, word in enumerate(directive.words):
            if slots := marked.slots_in(word.text):
                words[index] = _fill(directive, texts, index, marked, hosts)
                parts += [marked.fill(marked.text[at : word.at], _comment), _literal(words[index], slots[0])]
                at = word.end
        meanings.append((directive.block, directive.opens, *words))
    text = "".join(parts) + marked.fill(marked.text[at:], _comment)
    _refuse_twins(directives, meanings, marked)
    _prove(text, meanings, marked)
    return text


def outline(text: str) -> tuple[str, ...]:
    """The directives without their arguments, as in `http.server.location.proxy_set_header`."""
    try:
        directives = read(text)
    except UnreadableError:
        raise FormatError("the text is no nginx configuration", todo="write the file anew") from None
    counts: Counter[int] = Counter()
    paths: list[str] = []
    for directive in directives:
        # The words of an entry in a block of data may be values.
        name = f".{directive.name}" if directive.name else f"[{counts[directive.block]}]"
        counts[directive.block] += 1
        paths.append(paths[directive.block] + name if directive.block >= 0 else directive.name)
    return tuple(paths)


def _read(marked: Marked) -> list[Directive]:
    try:
        return read(marked.text)
    except UnreadableError as exc:
        todo = "make the template nginx configuration without its values"
        what = f"the text is no nginx configuration: {exc.what}"
        raise FormatError(what, where=marked.where(exc.at), todo=todo) from None


def _texts(directive: Directive) -> tuple[str, ...]:
    return tuple(word.text for word in directive.words)


def _fill(directive: Directive, words: tuple[str, ...], index: int, marked: Marked, hosts: frozenset[int]) -> str:
    """A word with its values. Raises FormatError where it would be more than text."""
    author = words[index]
    slots = marked.slots_in(author)
    _refuse_place(directive, words, index, slots[0])
    for slot, before in zip(slots, author.split(marked.word), strict=False):
        if _OPEN_VARIABLE.search(before):
            raise slot.refused("would make the name of a variable longer", "put braces around it: ${name}")
    dollars = directive.name in _DOLLARS or (directive.holder == "geo" and index > 0)
    text = marked.fill(author, lambda slot: _text(slot, dollars=dollars))
    is_host_key = directive.block in hosts and index == 0
    special = _HOSTNAMES if is_host_key else _SPECIAL.get(directive.name, "")
    if _start(special, text) != marked.fill(_start(special, author)):
        raise slots[0].refused(*_MORE_THAN_TEXT)
    return text if index else _key(text, author, directive.holder, slots[0])


def _key(text: str, author: str, holder: str, slot: Slot) -> str:
    """The key of an entry; `map` takes a backslash in front of a key away, and what follows as text."""
    is_special = text in _KEYWORDS or (holder == "map" and text.startswith(("~", "\\")))
    if not is_special or author.startswith("\\"):
        return text
    if holder != "map":
        raise slot.refused(*_MORE_THAN_TEXT)
    return f"\\{text}"


def _refuse_place(directive: Directive, words: tuple[str, ...], index: int, slot: Slot) -> None:
    name = directive.name
    if _CODE.fullmatch(name):
        raise slot.refused("stands in code", "`set` a $variable to it, and let the code read that")
    if index == 0 and (name or len(words) == 1):
        raise slot.refused("stands as the name of a directive", "write that name out")
    if name == "if" and not (index == len(words) - 2 and words[-1] == ")" and _COMPARISON.fullmatch(words[index - 1])):
        raise slot.refused("stands in a condition where no text can", "compare: if ($variable = {{ … }})")
    if (
        index in _REGEXES.get(name, ())
        or (name == "location" and index > 1 and words[1].startswith("~"))
        or (_start(_SPECIAL.get(name, ""), words[index]) == "~")
        or (directive.holder == "map" and index == 0 and words[0].startswith("~"))
    ):
        raise slot.refused("stands in a regular expression", "compare with text: location =, or a key of map without ~")


def _start(special: str, text: str) -> str:
    found = re.match(special, text, re.DOTALL)
    return found[0] if found else ""


def _text(slot: Slot, *, dollars: bool) -> str:
    text = slot.text()
    if _CONTROL.search(text):
        raise slot.refused("holds a control character", "store it encoded, as with base64")
    if "$" in text and not dollars:
        todo = "let geo $name { default {{ … }}; } in http hold it, and write $name here"
        raise slot.refused("holds a $, with which nginx begins a variable", todo)
    return text


def _comment(slot: Slot) -> str:
    _text(slot, dollars=True)
    return slot.comment()


def _literal(text: str, slot: Slot) -> str:
    try:
        return quote(text)
    except ValueError:
        raise slot.refused("makes a word longer than the 4 KB that nginx reads", "store it shorter") from None


def _refuse_twins(directives: list[Directive], meanings: list[_Meaning], marked: Marked) -> None:
    # nginx would refuse them itself, and write the key into its log. To `map` A and a are the same.
    keys = [(block, str(key).lower()) for block, _, key, *_ in meanings]
    counts = Counter(keys)
    for directive, key in zip(directives, keys, strict=True):
        slots = marked.slots_in(directive.words[0].text)
        if slots and directive.holder in {"map", "geo"} and counts[key] > 1:
            raise slots[0].refused("makes a key that its block has already", "make the keys differ")


def _prove(text: str, meanings: list[_Meaning], marked: Marked) -> None:
    found = [(each.block, each.opens, *_texts(each)) for each in _read(replace(marked, text=text))]
    if found != meanings:
        todo = "give each value a word of its own"
        raise FormatError("the file would not read back as it is written", where=marked.name, todo=todo)
