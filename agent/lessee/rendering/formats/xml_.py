"""XML 1.0: a value is text in an element, an attribute, a CDATA section or a comment, and never markup."""

import re
from collections.abc import Iterable, Iterator
from xml.parsers import expat

from lessee.core.errors import FormatError
from lessee.rendering.document import Document
from lessee.rendering.formats.outlines import collected
from lessee.rendering.formats.value_markers import MarkedText, Marker, mark_values

_FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# The parts of a well-formed text.
_PIECE = re.compile(r"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>|<(?:[^>\"']|\"[^\"]*\"|'[^']*')*>|[^<]+", re.DOTALL)
_QUOTED = re.compile(r"(\"[^\"]*\"|'[^']*')")
_NAMESPACE = re.compile(r"\sxmlns(?::[^\s=]*)?\s*=\s*\Z")
_REFERENCE = re.compile(r"&[^;]*;")
_MARKUP = re.compile("[&<>]")
# Characters that XML 1.1 treats as newlines or requires as references, as some parsers of XML 1.0 do.
_UNSAFE = "\r\x7f-\x9f\u2028\u2029"
_NOT_IN_CDATA = re.compile(f"\\]\\]>|[{_UNSAFE}]")
_IN_TEXT = re.compile(f"[&<>{_UNSAFE}]")
# A newline or a tab in an attribute would be read as a space.
_IN_ATTRIBUTE = re.compile(f"[&<>\"'\t\n{_UNSAFE}]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
_TODO = "write values in text or attributes, in a template that is otherwise XML"

_Event = tuple[str, ...]
"""An event of the parser: its kind, and its name or text."""


def write(document: Document) -> str:
    """The document as XML. Raises FormatError if the text is not XML, or XML cannot represent a value."""
    marked = mark_values(document)
    expected = _read(marked.text, marked.name)
    text = _PIECE.sub(lambda piece: _spell(piece[0], marked), marked.text)
    _verify(text, expected, marked)
    return text


def outline(text: str) -> tuple[str, ...]:
    """The paths of elements and attributes, such as `configuration/database@password`."""
    try:
        events = _read(text, "")
    except FormatError:
        raise FormatError("the text is not XML", todo="render the file again") from None
    return collected(_paths(events))


class _Listener:
    def __init__(self, name: str) -> None:
        self.name = name
        self.events: list[_Event] = []
        self.parser = expat.ParserCreate()
        self.parser.ordered_attributes = True
        # Without a buffer, each line of a text would be an event.
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
            what, todo = "the text is declared as another version or encoding", "declare version 1.0 and encoding UTF-8"
            raise self.error(what, todo)

    def _doctype(self, _name: str, _system: str | None, _public: str | None, internal: int) -> None:
        # Entities and attribute types would change the meaning of the text.
        if internal:
            raise self.error("the DOCTYPE contains declarations", "remove them from the template")

    def _start(self, name: str, attributes: list[str]) -> None:
        self.events.append(("start", name, *attributes))

    def _text(self, text: str) -> None:
        if self.events[-1][0] == "text":
            text = self.events.pop()[1] + text
        self.events.append(("text", text))

    def error(self, what: str, todo: str) -> FormatError:
        return FormatError(what, where=f"{self.name}:{self.parser.CurrentLineNumber}", todo=todo)


def _read(text: str, name: str) -> list[_Event]:
    listener = _Listener(name)
    try:
        listener.parser.Parse(text.encode(), True)
    except expat.ExpatError as exc:
        raise listener.error(f"the text is not XML: {expat.ErrorString(exc.code)}", _TODO) from None
    finally:
        del listener.parser  # It refers to the listener: a cycle would keep all events until the next full collection.
    return listener.events


def _verify(text: str, expected: list[_Event], marked: MarkedText) -> None:
    filled = [tuple(map(marked.fill, event)) for event in expected]
    if _read(text, marked.name) != [event for event in filled if event != ("text", "")]:
        raise FormatError("the file would parse back to different content", where=marked.name, todo=_TODO)


def _spell(piece: str, marked: MarkedText) -> str:
    """A part of the text with its values."""
    markers = marked.markers_in(piece)
    if not markers:
        return piece
    if piece.startswith("<!--"):
        return _comment(piece, marked)
    if piece.startswith("<![CDATA["):
        return _data(piece, marked)
    if piece.startswith(("<?", "<!")):
        raise markers[0].error("is in a declaration or an instruction", "write that part out")
    if piece.startswith("<"):
        return "".join(_tag(piece, marked))
    return _escape(piece, _IN_TEXT, marked)


def _comment(piece: str, marked: MarkedText) -> str:
    comment = marked.fill(piece, _text)
    if "--" in comment[4:-2]:
        raise marked.markers_in(piece)[0].error("would end its comment", "remove it from the comment")
    return comment


def _data(piece: str, marked: MarkedText) -> str:
    """A CDATA section, or escaped text for a value that no section can contain."""
    body = piece[9:-3]
    text = marked.fill(body, _text)
    if _NOT_IN_CDATA.search(text):
        return _escape(_MARKUP.sub(_reference, body), _IN_TEXT, marked)
    return f"<![CDATA[{text}]]>"


def _tag(tag: str, marked: MarkedText) -> Iterable[str]:
    before = ""
    for index, part in enumerate(_QUOTED.split(tag)):
        markers = marked.markers_in(part)
        if markers and index % 2 == 0:
            raise markers[0].error("is in the name of an element or attribute", "write that name out")
        if markers and _NAMESPACE.search(before):
            raise markers[0].error("is in the name of a namespace", "write that name out")
        yield _escape(part, _IN_ATTRIBUTE, marked)
        before = part


def _escape(text: str, special: re.Pattern[str], marked: MarkedText) -> str:
    for reference in _REFERENCE.findall(text):
        for marker in marked.markers_in(reference):
            raise marker.error("is in the name of an entity", "write that name out")
    return marked.fill(text, lambda marker: special.sub(_reference, _text(marker)))


def _reference(found: re.Match[str]) -> str:
    return _ENTITIES.get(found[0]) or f"&#{ord(found[0])};"


def _text(marker: Marker) -> str:
    text = marker.text()
    if _FORBIDDEN.search(text):
        raise marker.error("contains a character that XML does not allow", "store it encoded, such as in base64")
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
