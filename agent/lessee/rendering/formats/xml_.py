"""XML 1.0: a value is text in an element, an attribute, a CDATA section or a comment, and never markup."""

import re
from collections.abc import Iterable, Iterator
from xml.parsers import expat

from lessee.core.errors import FormatError
from lessee.rendering.document import Document
from lessee.rendering.formats.value_markers import Marked, Slot, mark

_FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Of a text that is well-formed.
_PIECE = re.compile(r"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>|<(?:[^>\"']|\"[^\"]*\"|'[^']*')*>|[^<]+", re.DOTALL)
_QUOTED = re.compile(r"(\"[^\"]*\"|'[^']*')")
_NAMESPACE = re.compile(r"\sxmlns(?::[^\s=]*)?\s*=\s*\Z")
_REFERENCE = re.compile(r"&[^;]*;")
_MARKUP = re.compile("[&<>]")
# What XML 1.1 takes for a line's end or wants as a reference; some readers of XML 1.0 go by it.
_UNSAFE = "\r\x7f-\x9f\u2028\u2029"
_NOT_IN_CDATA = re.compile(f"\\]\\]>|[{_UNSAFE}]")
_IN_TEXT = re.compile(f"[&<>{_UNSAFE}]")
# A line's end or a tab in an attribute would be read as a space.
_IN_ATTRIBUTE = re.compile(f"[&<>\"'\t\n{_UNSAFE}]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
_TODO = "let values stand in text or in attributes, in a template that is XML without them"

_Event = tuple[str, ...]
"""What a reader is told: the kind of a thing, its name, its texts."""


def write(document: Document) -> str:
    """The document as XML. Raises FormatError where a value or the author's text has no place in it."""
    marked = mark(document)
    wanted = _read(marked.text, marked.name)
    text = _PIECE.sub(lambda piece: _spell(piece[0], marked), marked.text)
    _prove(text, wanted, marked)
    return text


def outline(text: str) -> tuple[str, ...]:
    """The paths of elements and attributes, as in `configuration/database@password`."""
    try:
        return tuple(_paths(_read(text, "")))
    except FormatError:
        raise FormatError("the text is no XML", todo="write the file anew") from None


class _Listener:
    def __init__(self, name: str) -> None:
        self.name = name
        self.events: list[_Event] = []
        self.parser = expat.ParserCreate()
        self.parser.ordered_attributes = True
        # Or each line of a text would come alone.
        self.parser.buffer_text, self.parser.buffer_size = True, 2**16
        self.parser.XmlDeclHandler = self._declaration
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = lambda name: self.events.append(("end", name))
        self.parser.CharacterDataHandler = self._text
        self.parser.ProcessingInstructionHandler = lambda *words: self.events.append(("instruction", *words))
        self.parser.CommentHandler = lambda _text: self.events.append(("comment",))

    def _declaration(self, version: str, encoding: str | None, _standalone: int) -> None:
        if version != "1.0" or (encoding or "utf-8").lower() != "utf-8":
            what, todo = "the text is declared as another XML", "declare version 1.0 and encoding UTF-8"
            raise self.refused(what, todo)

    def _doctype(self, _name: str, _system: str | None, _public: str | None, internal: int) -> None:
        # Entities and types of attributes would change what is read.
        if internal:
            raise self.refused("the DOCTYPE has declarations of its own", "remove them from the template")

    def _start(self, name: str, attributes: list[str]) -> None:
        self.events.append(("start", name, *attributes))

    def _text(self, text: str) -> None:
        if self.events[-1][0] == "text":
            text = self.events.pop()[1] + text
        self.events.append(("text", text))

    def refused(self, what: str, todo: str) -> FormatError:
        return FormatError(what, where=f"{self.name}:{self.parser.CurrentLineNumber}", todo=todo)


def _read(text: str, name: str) -> list[_Event]:
    listener = _Listener(name)
    try:
        listener.parser.Parse(text.encode(), True)
    except expat.ExpatError as exc:
        raise listener.refused(f"the text is no XML: {expat.ErrorString(exc.code)}", _TODO) from None
    return listener.events


def _prove(text: str, wanted: list[_Event], marked: Marked) -> None:
    filled = [tuple(map(marked.fill, event)) for event in wanted]
    if _read(text, marked.name) != [event for event in filled if event != ("text", "")]:
        raise FormatError("the text does not read back as it was written", where=marked.name, todo=_TODO)


def _spell(piece: str, marked: Marked) -> str:
    """A piece of the text with its values."""
    slots = marked.slots_in(piece)
    if not slots:
        return piece
    if piece.startswith("<!--"):
        return _comment(piece, marked)
    if piece.startswith("<![CDATA["):
        return _data(piece, marked)
    if piece.startswith(("<?", "<!")):
        raise slots[0].refused("stands in a declaration or an instruction", "write that part out")
    if piece.startswith("<"):
        return "".join(_tag(piece, marked))
    return _escape(piece, _IN_TEXT, marked)


def _comment(piece: str, marked: Marked) -> str:
    comment = marked.fill(piece, _text)
    if "--" in comment[4:-2]:
        raise marked.slots_in(piece)[0].refused("would end the comment it stands in", "take it out of the comment")
    return comment


def _data(piece: str, marked: Marked) -> str:
    """A section, or escaped text for what none can hold."""
    body = piece[9:-3]
    text = marked.fill(body, _text)
    if _NOT_IN_CDATA.search(text):
        return _escape(_MARKUP.sub(_reference, body), _IN_TEXT, marked)
    return f"<![CDATA[{text}]]>"


def _tag(tag: str, marked: Marked) -> Iterable[str]:
    before = ""
    for index, part in enumerate(_QUOTED.split(tag)):
        slots = marked.slots_in(part)
        if slots and index % 2 == 0:
            raise slots[0].refused("stands in the name of an element or an attribute", "write that name out")
        if slots and _NAMESPACE.search(before):
            raise slots[0].refused("stands in the name of a namespace", "write that name out")
        yield _escape(part, _IN_ATTRIBUTE, marked)
        before = part


def _escape(text: str, special: re.Pattern[str], marked: Marked) -> str:
    for reference in _REFERENCE.findall(text):
        for slot in marked.slots_in(reference):
            raise slot.refused("stands in the name of an entity", "write that name out")
    return marked.fill(text, lambda slot: special.sub(_reference, _text(slot)))


def _reference(found: re.Match[str]) -> str:
    return _ENTITIES.get(found[0]) or f"&#{ord(found[0])};"


def _text(slot: Slot) -> str:
    text = slot.text()
    if _FORBIDDEN.search(text):
        raise slot.refused("holds a character that XML cannot", "store it encoded, as with base64")
    return text


def _paths(events: Iterable[_Event]) -> Iterator[str]:
    path: list[str] = []
    for kind, *words in events:
        if kind == "start":
            path.append(words[0])
            yield "/".join(path)
            yield from (f"{'/'.join(path)}@{attribute}" for attribute in words[1::2])
        elif kind == "end":
            path.pop()
