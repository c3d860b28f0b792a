"""Plain text: values stand as they are, and nothing is promised about structure."""

from lessee.rendering.document import Document
from lessee.rendering.formats.value_markers import Slot, mark


def write(document: Document) -> str:
    """The document, with what is binary as `surrogateescape` writes it: no other text here has such characters."""
    marked = mark(document)
    return marked.fill(marked.text, _spell)


def outline(_text: str) -> tuple[str, ...]:
    return ()


def _spell(slot: Slot) -> str:
    value = slot.hole.value
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else slot.text()
