"""References in place: `ref+openbao://database/postgres#password` in a text names a field of a KV secret.

The syntax is that of vals (https://github.com/helmfile/vals), with what `secret("…")` in a template takes.
"""

import re
from collections.abc import Iterator
from urllib.parse import unquote

from lessee.core.errors import LesseeError
from lessee.core.immutable import ImmutableStruct

EXAMPLE = "ref+openbao://database/postgres#password"
_BEGIN = re.compile(r"(?:secret)?ref\+(?:openbao|vault)://")
# What neither ends a quoted value nor a line in any format that lessee writes.
_BODY = re.compile(r"""[^\s"'`<>{}|\\^+]*""")
_PATH = re.compile(r"[A-Za-z0-9_.~%/:@=!,-]+")
_KEY = re.compile(r"[A-Za-z0-9_.~%-]+")
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_VERSION = re.compile(r"[1-9][0-9]{0,17}")
_NAMES = ("mount", "namespace", "identity")
"""The parameters that are keywords of `secret()` with a text."""
_PARAMETERS = ("version", *_NAMES, "urlencode")


class InlineReferenceError(LesseeError):
    """A reference is malformed. Its text has no part of the value around it; `line` is counted from 0."""

    def __init__(self, what: str, *, todo: str, line: int = 0) -> None:
        super().__init__(what, todo=todo)
        self.line = line


class InlineReference(ImmutableStruct, frozen=True):
    """A field of a KV secret: what `secret(path, …).key` reads in a template."""

    path: str
    keys: tuple[str, ...]
    """The names of the fields, from the outermost to the innermost."""
    place: tuple[tuple[str, str | int], ...] = ()
    """The keywords of `secret()`."""
    urlencode: bool = False
    """Whether the value becomes a part of a URL."""


def may_have_reference(text: str) -> bool:
    """Whether the text contains the begin of a reference."""
    return "ref+" in text and _BEGIN.search(text) is not None


def split(text: str, *, comments: bool = False) -> tuple[str | InlineReference, ...]:
    """The parts of a text. A reference ends at a `+`, which is not part of the text, or where no URL can go on.

    `comments`: a line that begins with `#` has no references. Raises InlineReferenceError.
    """
    return tuple(_parts(text, comments=comments))


def _parts(text: str, *, comments: bool) -> Iterator[str | InlineReference]:
    end = searched = 0
    while found := _BEGIN.search(text, searched):
        body = _BODY.match(text, found.end())
        assert body is not None
        searched = body.end()
        if comments and text[text.rfind("\n", 0, found.start()) + 1 : found.start()].lstrip().startswith("#"):
            continue
        if text[end : found.start()]:
            yield text[end : found.start()]
        yield _reference(body[0], text.count("\n", 0, found.start()))
        searched = end = searched + text.startswith("+", searched)
    if text[end:]:
        yield text[end:]


def _reference(body: str, line: int) -> InlineReference:
    head, hash_, fragment = body.partition("#")
    path, _, query = head.partition("?")
    if not hash_ or not fragment.removeprefix("/"):
        raise _error("the reference names no field", f"write `#FIELD` after the path, as in {EXAMPLE}", line)
    if not _PATH.fullmatch(path) or _PERCENT.search(body):
        todo = f"write a path below the environment's prefix, as in {EXAMPLE}, and other characters as %XX"
        raise _error("the reference has an invalid path", todo, line)
    keys = fragment.removeprefix("/").split("/")
    if not all(map(_KEY.fullmatch, keys)):
        todo = "end the reference with `+` if text follows, and write characters other than A-Z a-z 0-9 _ . - as %XX"
        raise _error("the reference has an invalid field", todo, line)
    place, urlencode = _parameters(query, line)
    return InlineReference(unquote(path.strip("/")), tuple(map(unquote, keys)), place, urlencode)


def _parameters(query: str, line: int) -> tuple[tuple[tuple[str, str | int], ...], bool]:
    place: dict[str, str | int] = {}
    urlencode = False
    for parameter in filter(None, query.split("&")):
        name, _, value = parameter.partition("=")
        if name in place or (name == "urlencode" and urlencode):
            raise _error(f"the reference has `{name}` twice", "remove one of them", line)
        match name:
            case "version" if _VERSION.fullmatch(value):
                place[name] = int(value)
            case "urlencode" if value == "true":
                urlencode = True
            case _ if name in _NAMES and value:
                place[name] = unquote(value)
            case _ if name in _PARAMETERS:
                todo = "write `version=3`, `urlencode=true`, or a name"
                raise _error(f"the reference has an invalid value of `{name}`", todo, line)
            case _:
                todo = f"the parameters are {', '.join(_PARAMETERS)}; lessee.yaml has the address and the login"
                raise _error("the reference has an unknown parameter", todo, line)
    return tuple(sorted(place.items())), urlencode


def _error(what: str, todo: str, line: int) -> InlineReferenceError:
    return InlineReferenceError(what, todo=todo, line=line)
