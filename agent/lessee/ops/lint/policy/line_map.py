"""Maps lines of rendered text to lines of templates."""

import re
from collections.abc import Callable

from jinja2 import nodes

from lessee.core.path_scope import PathScope
from lessee.rendering.document import Document
from lessee.rendering.templates import Compiler

# Private-use characters around the number of a template and of a line, inserted before each line's text.
_MARK = re.compile("\ue000([0-9]+):([0-9]+)\ue001")


class LineTrackingCompiler(Compiler):
    """Compiles templates so that their text contains its line numbers. Use the text only to find lines."""

    def __init__(self, load: Callable[[str], str], scope: PathScope) -> None:
        super().__init__(load, scope)
        self._names: list[str] = []

    def parse(self, text: str, name: str) -> nodes.Template:
        """Parse a template, and mark the lines of its text."""
        tree = super().parse(text, name)
        number = len(self._names)
        self._names.append(name)
        for data in tree.find_all(nodes.TemplateData):
            lines = enumerate(data.data.split("\n"), data.lineno)
            data.data = "\n".join(f"\ue000{number}:{line}\ue001{text}" for line, text in lines)
        return tree

    def source(self, document: Document, line: int) -> tuple[str, int]:
        """The template and its line that produced this line of a rendered document."""
        text = "".join(part if isinstance(part, str) else "x" for part in document.parts)
        before = "\n".join(text.split("\n")[:line])
        marks = list(_MARK.finditer(before))
        if not marks:
            return document.name, line
        # In a line with several marks, the first with text after it counts; in one without, the last mark above.
        begin = before.rfind("\n") + 1
        inside = [mark for mark in marks if mark.start() >= begin]
        candidates = (mark for mark in inside if _has_content_after(before, mark))
        mark = next(candidates, marks[-1])
        return self._names[int(mark[1])], int(mark[2])


def _has_content_after(text: str, mark: re.Match[str]) -> bool:
    return text[mark.end() : mark.end() + 1] not in {"", "\ue000"}
