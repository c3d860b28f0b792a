"""The syntax tree of a Go template."""

from lessee.core.errors import TemplateError
from lessee.core.source_text import Text
from lessee.ops.migrate.policy.golang.actions import Words
from lessee.ops.migrate.policy.golang.lexer import Action, lex
from lessee.ops.migrate.policy.golang.nodes import (
    Body,
    Call,
    Comment,
    Head,
    If,
    Jump,
    Literal,
    Node,
    Output,
    Range,
    Template,
    With,
)


def parse(template: Text, left: str = "", right: str = "") -> Template:
    """As text/template parses it, but for the names of functions. Raises TemplateError that names file and line."""
    parser = _Parser(template, list(lex(template, left, right)))
    body, end = parser.body(None)
    assert end is None
    return Template(body, parser.defined)


_DEEPEST = 50
_BLOCKS: dict[str, type[If | With | Range]] = {"if": If, "with": With, "range": Range}


class _Parser:
    def __init__(self, template: Text, chunks: list[Literal | Action]) -> None:
        self.defined: dict[str, Body] = {}
        self._template = template
        self._chunks = chunks
        self._at = 0
        self._depth = 0
        self._loops = 0
        self._variables = [""]

    def body(self, opened: Head | None) -> tuple[Body, Action | None]:
        """Nodes up to an `end` or `else`, and that action; of what is opened by none, up to the end of the text."""
        nodes: list[Node] = []
        while self._at < len(self._chunks):
            chunk = self._chunks[self._at]
            self._at += 1
            if isinstance(chunk, Literal):
                nodes.append(chunk)
            elif chunk.comment:
                nodes.append(Comment())
            elif chunk.tokens and chunk.tokens[0].text in {"end", "else"}:
                if opened is None:
                    raise self._error(f"this {chunk.tokens[0].text} belongs to nothing", chunk.head)
                if chunk.tokens[0].text == "end":
                    Words(self._template, chunk, self._variables).refuse_more(1)
                return tuple(nodes), chunk
            else:
                nodes.append(self._node(chunk))
        if opened is not None:
            raise self._error("this is not closed", opened, "close it with an end")
        return tuple(nodes), None

    def _node(self, action: Action) -> Node:
        head = action.head
        words = Words(self._template, action, self._variables)
        match words.keyword():
            case "if" | "with" | "range" as kind:
                return self._block(_BLOCKS[kind], head, words)
            case "define":
                self._define(words.name("define"), head, words)
                return Comment()
            case "block":
                name = words.name("block")
                pipe = words.pipe()
                self._define(name, head, words)
                return Call(head, name, pipe)
            case "template":
                name = words.name("template")
                return Call(head, name, None if words.is_over() else words.pipe())
            case "break" | "continue" if self._loops:
                words.refuse_more()
                return Jump(head)
            case None:
                return Output(head, words.pipe())
            case keyword:
                raise self._error(f"{keyword} has no place here", head)

    def _block(self, kind: type[If | With | Range], head: Head, words: Words) -> Node:
        self._enter(head)
        scope = len(self._variables)
        pipe = words.pipe(of_range=kind is Range)
        self._loops += kind is Range
        then, end = self.body(head)
        self._loops -= kind is Range
        otherwise = self._otherwise(kind, end, head) if end and end.tokens[0].text == "else" else None
        del self._variables[scope:]
        self._depth -= 1
        return kind(head, pipe, then, otherwise)

    def _otherwise(self, kind: type[If | With | Range], action: Action, opened: Head) -> Body:
        """What stands behind an `else`; `else if` is one more block that ends with this one."""
        words = Words(self._template, action, self._variables)
        words.keyword()
        chained = words.keyword()
        if chained and kind is not Range and kind is _BLOCKS.get(chained):
            return (self._block(kind, action.head, words),)
        if chained:
            raise self._error(f"an else {chained} has no place here", action.head)
        words.refuse_more()
        body, end = self.body(opened)
        if end is not None and end.tokens[0].text != "end":
            raise self._error("a second else", end.head)
        return body

    def _define(self, name: str, head: Head, words: Words) -> None:
        words.refuse_more()
        self._enter(head)
        outside, self._variables, loops, self._loops = self._variables, [""], self._loops, 0
        body, end = self.body(head)
        if end is not None and end.tokens[0].text != "end":
            raise self._error("a define has no else", end.head)
        self._variables, self._loops = outside, loops
        self._depth -= 1
        self.defined[name] = body

    def _enter(self, head: Head) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error(f"blocks stand in one another more than {_DEEPEST} deep", head)

    def _error(self, what: str, head: Head | None, todo: str = "") -> TemplateError:
        return TemplateError(what, where=self._template.where(head.line if head else 1), todo=todo)
