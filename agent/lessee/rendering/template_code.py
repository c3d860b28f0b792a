"""The Python code of templates, generated on first use."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import CodeType

from jinja2 import TemplateSyntaxError, nodes

from lessee.core.errors import TemplateError
from lessee.rendering.sandbox.environment import Sandbox


class GeneratedCode:
    """The Python code of a syntax tree. It is generated on first use, because that is most of the work."""

    __slots__ = ("_code", "_name", "_sandbox", "_tree", "marks", "words")

    def __init__(
        self,
        name: str,
        tree: nodes.Template,
        sandbox: Sandbox,
        words: frozenset[str],
        marks: tuple[str, ...] | None = None,
    ) -> None:
        self.words = words
        """The words of the text, which errors may repeat."""
        self.marks = marks
        """What the code of a skeleton has in place of paths; None for the code of one template."""
        self._name = name
        self._tree: nodes.Template | None = tree
        self._sandbox = sandbox
        self._code: CodeType | None = None

    def get(self) -> CodeType:
        """The code. Raises TemplateError with file and line."""
        if self._code is None:
            assert self._tree is not None
            try:
                with translated_errors(self._name):
                    self._code = self._sandbox.compile(self._tree, self._name, self._name)
            except (RecursionError, MemoryError):
                what, todo = "a part of the template is too long", "split it: an {% if %} may have too many branches"
                raise TemplateError(what, where=self._name, todo=todo) from None
            self._tree = None
        return self._code


class Code:
    """A template's text, and its Python code, with the paths in it if other templates share the code."""

    __slots__ = ("_paths", "generated", "name", "text")

    def __init__(self, name: str, text: str, generated: GeneratedCode, paths: tuple[str, ...] = ()) -> None:
        self.name = name
        self.text = text
        self.generated = generated
        self._paths = paths

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Code) and (self.name, self.text) == (other.name, other.text)

    __hash__ = None  # type: ignore[assignment]  # It is never a key.

    @property
    def paths(self) -> Mapping[str, str]:
        """The path for each mark in the code; empty for code of one template."""
        return dict(zip(self.generated.marks or (), self._paths, strict=True))

    @property
    def words(self) -> frozenset[str]:
        """The words of the text, which errors may repeat."""
        return self.generated.words.difference(self.generated.marks or ()).union(self._paths)


_GO = re.compile(
    r"\{\{-?\s*(?:(?:with|range|end|define|template|printf|toJSON|base64Decode)\b|[$]|\.[A-Za-z]"
    r"|if\s+(?:eq|ne|and|or)\s|(?:secrets?|env|key|pkiCert)\s+[\"`])"
)
"""What a template of Vault Agent and consul-template has, and Jinja has not."""


def _remedy(text: str) -> str:
    if not _GO.search(text):
        return ""
    return (
        "it looks like a Go template, as of Vault Agent: name it FILE.ctmpl, and `lessee import FILE.ctmpl` converts it"
    )


@contextmanager
def translated_errors(name: str, text: str = "") -> Iterator[None]:
    """Translates Jinja's errors. They quote only the template, because there are no values yet.

    `text`: the template, which may be one of another program.
    """
    try:
        yield
    except TemplateSyntaxError as exc:
        where = f"{name}:{exc.lineno}"
        raise TemplateError(str(exc.message), where=where, todo=_remedy(text), rule="template-syntax") from None
    except SyntaxError as exc:  # From Python, about Jinja's code: a duplicate argument, or too many nested loops.
        what = f"the template's Python code would be invalid: {exc.msg}"
        todo = "rewrite that part"
        raise TemplateError(what, where=name, todo=todo, rule="template-syntax") from None
    except ValueError:  # Python converts numbers of at most 4,300 digits.
        what, todo = "a number in the template is too long", "write it as a string"
        raise TemplateError(what, where=name, todo=todo, rule="template-syntax") from None
