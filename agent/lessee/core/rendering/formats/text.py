"""Plain text: values stand as they are, and nothing is promised about structure."""

from lessee.core.rendering.document import Document
from lessee.core.rendering.formats.holes import mark


def write(document: Document) -> str:
    marked = mark(document)
    return marked.fill(marked.text)


def outline(_text: str) -> tuple[str, ...]:
    return ()
