"""Which line of a template a line of the rendered text comes from."""

import re
from collections.abc import Callable

from jinja2 import nodes

from lessee.core.paths import PathScope
from lessee.rendering.document import Document
from lessee.rendering.templates import Compiler

# Of the characters that nobody uses: before what stands in a line of a template, its number.
_MARK = re.compile("\ue000([0-9]+):([0-9]+)\ue001")


class LineTrackingCompiler(Compiler):
    """Compiles templates whose text tells from which line it comes; its words are not to be looked at."""

    def __init__(self, load: Callable[[str], str], scope: PathScope) -> None:
        super().__init__(load, scope)
        self._names: list[str] = []

    def parse(self, text: str, name: str) -> nodes.Template:
        """As of a compiler."""
        tree = super().parse(text, name)
        number = len(self._names)
        self._names.append(name)
        for data in tree.find_all(nodes.TemplateData):
            lines = enumerate(data.data.split("\n"), data.lineno)
            data.data = "\n".join(f"\ue000{number}:{line}\ue001{text}" for line, text in lines)
        return tree

    def source(self, document: Document, line: int) -> tuple[str, int]:
        """The template, and the line in it, that gave this line of a document of its templates."""
        text = "".join(part if isinstance(part, str) else "x" for part in document.parts)
        before = "\n".join(text.split("\n")[:line])
        marks = list(_MARK.finditer(before))
        if not marks:
            return document.name, line
        # Of a line with several marks the first counts behind which something stands; of one without, the last above.
        begin = before.rfind("\n") + 1
        inside = [mark for mark in marks if mark.start() >= begin]
        telling = (mark for mark in inside if _stands_behind(before, mark))
        mark = next(telling, marks[-1])
        return self._names[int(mark[1])], int(mark[2])


def _stands_behind(text: str, mark: re.Match[str]) -> bool:
    return text[mark.end() : mark.end() + 1] not in {"", "\ue000"}
