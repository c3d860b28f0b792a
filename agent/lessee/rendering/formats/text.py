"""Plain text: values are written unchanged, without any guarantee about structure."""

from lessee.rendering.document import Document
from lessee.rendering.formats.value_markers import Marker, mark_values


def write(document: Document) -> str:
    """The document, with binary values as `surrogateescape` writes them. No other text contains such characters."""
    marked = mark_values(document)
    return marked.fill(marked.text, _spell)


def outline(_text: str) -> tuple[str, ...]:
    return ()


def _spell(marker: Marker) -> str:
    value = marker.placeholder.value
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else marker.text()
