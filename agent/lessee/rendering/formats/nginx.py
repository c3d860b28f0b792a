"""nginx configuration: a value is literal text in one quoted argument of a directive."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from lessee.core.errors import FormatError
from lessee.core.immutable import replace
from lessee.rendering.document import Document
from lessee.rendering.formats.nginx_directives import Directive, UnparsableError, quote, read
from lessee.rendering.formats.outlines import collected
from lessee.rendering.formats.value_markers import MarkedText, Marker, mark_values

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_OPEN_VARIABLE = re.compile(r"\$(?:\{[A-Za-z0-9_]*|(?![1-9])[A-Za-z0-9_]*)\Z")
_COMPARISON = re.compile(r"!?=|\(?!?-[fdex]")
_CODE = re.compile(r".*_by_lua(?:_block)?|perl(?:_set)?")
_REGEXES = {"rewrite": (1,), "fastcgi_split_path_info": (1,), "gzip_disable": range(1, 100)}
"""Directives with the indexes of regular expressions that have no `~` prefix."""
_DOLLARS = frozenset({"secure_link_secret", "auth_http_header"})
"""Directives in which `$` is an ordinary character, as in the values of `geo`."""

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
"""Directives with the prefixes of arguments that are not literal text."""
_KEYWORDS = frozenset({"default", "delete", "include", "proxy", "*"})
"""Keys that are not literal text in some data blocks."""
_HOSTNAMES = r"\\?\.|.*\*"
"""The same for a `map` with `hostnames`."""

_NOT_LITERAL = "is not literal text in this position", "write out what is special to nginx here"

_Meaning = tuple[object, ...]
"""The block that contains a directive, whether the directive opens a block, and its words."""


def write(document: Document) -> str:
    """The document as nginx configuration. Raises FormatError if it cannot represent a value."""
    marked = mark_values(document)
    directives = _read(marked)
    hosts = frozenset(each.block for each in directives if _texts(each) == ("hostnames",))
    parts: list[str] = []
    meanings: list[_Meaning] = []
    at = 0
    for directive in directives:
        texts = _texts(directive)
        words = list(texts)
        for index, word in enumerate(directive.words):
            if markers := marked.markers_in(word.text):
                words[index] = _fill(directive, texts, index, marked, hosts)
                parts += [marked.fill(marked.text[at : word.at], _comment), _literal(words[index], markers[0])]
                at = word.end
        meanings.append((directive.block, directive.opens, *words))
    text = "".join(parts) + marked.fill(marked.text[at:], _comment)
    _refuse_duplicates(directives, meanings, marked)
    _verify(text, meanings, marked)
    return text


def outline(text: str) -> tuple[str, ...]:
    """The directives without their arguments, such as `http.server.location.proxy_set_header`."""
    try:
        directives = read(text)
    except UnparsableError:
        raise FormatError("the text is not nginx configuration", todo="render the file again") from None
    return collected(_paths(directives))


def _paths(directives: Iterable[Directive]) -> Iterator[str]:
    counts: Counter[int] = Counter()
    paths: list[str] = []
    for directive in directives:
        # The words of an entry in a data block may be values.
        name = f".{directive.name}" if directive.name else f"[{counts[directive.block]}]"
        counts[directive.block] += 1
        paths.append(paths[directive.block] + name if directive.block >= 0 else directive.name)
        yield paths[-1]


def _read(marked: MarkedText) -> list[Directive]:
    try:
        return read(marked.text)
    except UnparsableError as exc:
        todo = "write a template that is nginx configuration without its values"
        what = f"the text is not nginx configuration: {exc.what}"
        raise FormatError(what, where=marked.where(exc.at), todo=todo) from None


def _texts(directive: Directive) -> tuple[str, ...]:
    return tuple(word.text for word in directive.words)


def _fill(directive: Directive, words: tuple[str, ...], index: int, marked: MarkedText, hosts: frozenset[int]) -> str:
    """A word with its values. Raises FormatError if it would not be literal text."""
    author = words[index]
    markers = marked.markers_in(author)
    _refuse_position(directive, words, index, markers[0])
    for marker, before in zip(markers, author.split(marked.word), strict=False):
        if _OPEN_VARIABLE.search(before):
            raise marker.error("would extend the name of a variable", "put braces around the name: ${name}")
    dollars = directive.name in _DOLLARS or (directive.holder == "geo" and index > 0)
    text = marked.fill(author, lambda marker: _text(marker, dollars=dollars))
    is_host_key = directive.block in hosts and index == 0
    special = _HOSTNAMES if is_host_key else _SPECIAL.get(directive.name, "")
    if _start(special, text) != marked.fill(_start(special, author)):
        raise markers[0].error(*_NOT_LITERAL)
    return text if index else _key(text, author, directive.holder, markers[0])


def _key(text: str, author: str, holder: str, marker: Marker) -> str:
    """The key of an entry. `map` removes a backslash before a key, and treats the rest as literal text."""
    is_special = text in _KEYWORDS or (holder == "map" and text.startswith(("~", "\\")))
    if not is_special or author.startswith("\\"):
        return text
    if holder != "map":
        raise marker.error(*_NOT_LITERAL)
    return f"\\{text}"


def _refuse_position(directive: Directive, words: tuple[str, ...], index: int, marker: Marker) -> None:
    name = directive.name
    if _CODE.fullmatch(name):
        raise marker.error("is in code", "assign it with `set $variable`, and read that in the code")
    if index == 0 and (name or len(words) == 1):
        raise marker.error("is the name of a directive", "write that name out")
    if name == "if" and not (index == len(words) - 2 and words[-1] == ")" and _COMPARISON.fullmatch(words[index - 1])):
        raise marker.error("is in a condition but not compared with a variable", "write if ($variable = {{ … }})")
    if (
        index in _REGEXES.get(name, ())
        or (name == "location" and index > 1 and words[1].startswith("~"))
        or (_start(_SPECIAL.get(name, ""), words[index]) == "~")
        or (directive.holder == "map" and index == 0 and words[0].startswith("~"))
    ):
        raise marker.error(
            "is in a regular expression", "compare with literal text: location =, or a key of map without ~"
        )


def _start(special: str, text: str) -> str:
    found = re.match(special, text, re.DOTALL)
    return found[0] if found else ""


def _text(marker: Marker, *, dollars: bool) -> str:
    text = marker.text()
    if _CONTROL.search(text):
        raise marker.error("contains a control character", "store it encoded, such as in base64")
    if "$" in text and not dollars:
        todo = "define geo $name { default {{ … }}; } in http, and write $name here"
        raise marker.error("contains a $, which begins a variable in nginx", todo)
    return text


def _comment(marker: Marker) -> str:
    _text(marker, dollars=True)
    return marker.comment()


def _literal(text: str, marker: Marker) -> str:
    try:
        return quote(text)
    except ValueError:
        raise marker.error("makes a word longer than nginx's limit of 4 KB", "store a shorter value") from None


def _refuse_duplicates(directives: list[Directive], meanings: list[_Meaning], marked: MarkedText) -> None:
    # nginx would reject them, and write the key into its log. `map` ignores case.
    keys = [(block, str(key).lower()) for block, _, key, *_ in meanings]
    counts = Counter(keys)
    for directive, key in zip(directives, keys, strict=True):
        markers = marked.markers_in(directive.words[0].text)
        if markers and directive.holder in {"map", "geo"} and counts[key] > 1:
            raise markers[0].error("duplicates a key of its block", "rename one")


def _verify(text: str, meanings: list[_Meaning], marked: MarkedText) -> None:
    found = [(each.block, each.opens, *_texts(each)) for each in _read(replace(marked, text=text))]
    if found != meanings:
        todo = "put each value into its own word"
        raise FormatError("the file would parse back to different content", where=marked.name, todo=todo)
