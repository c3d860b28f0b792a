"""INI as Python's ConfigParser reads it by default: `%(name)s` in a value refers to another key, and `%%` is a `%`."""

import re

from lessee.core.errors import FormatError
from lessee.rendering.document import Document
from lessee.rendering.formats import ini
from lessee.rendering.formats.value_markers import MarkedText, Marker

# configparser.BasicInterpolation.
_PERCENT = re.compile(r"%(?:%|\(([^)]+)\)s|(?P<bad>))")

outline = ini.outline


def write(document: Document) -> str:
    """The document as INI. Raises FormatError if the text is not INI, or INI cannot represent a value."""
    return ini.write_as(document, _double, _check)


def _double(marker: Marker) -> str:
    return marker.line("INI").replace("%", "%%")


def _check(key: str, value: str, marked: MarkedText) -> None:
    for percent in _PERCENT.finditer(value):
        if percent["bad"] is not None:
            what = f"the value of {key} has a % that begins no %(name)s"
            raise FormatError(what, where=marked.name, todo="write %%, or set `format: ini` for other readers")
        for marker in marked.markers_in(percent[0]):
            raise marker.error("is inside %(…)s", "move it out of the brackets, or write %%")
