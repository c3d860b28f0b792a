"""Parses a Go template into its syntax tree."""

from lessee.core.errors import TemplateError
from lessee.core.source_text import Text
from lessee.ops.migrate.policy.golang.actions import ActionParser
from lessee.ops.migrate.policy.golang.lexer import Action, lex
from lessee.ops.migrate.policy.golang.nodes import (
    Body,
    Comment,
    If,
    Literal,
    LoopControl,
    Node,
    Origin,
    Output,
    Range,
    Template,
    TemplateCall,
    With,
)


def parse(template: Text, left: str = "", right: str = "") -> Template:
    """Parse a template like text/template, but accept any function. Raises TemplateError that names file and line."""
    parser = _Parser(template, list(lex(template, left, right)))
    body, end = parser.body(None)
    assert end is None
    return Template(body, parser.definitions)


_MAX_DEPTH = 50
_BLOCKS: dict[str, type[If | With | Range]] = {"if": If, "with": With, "range": Range}


class _Parser:
    def __init__(self, template: Text, chunks: list[Literal | Action]) -> None:
        self.definitions: dict[str, Body] = {}
        self._template = template
        self._chunks = chunks
        self._at = 0
        self._depth = 0
        self._loops = 0
        self._variables = [""]

    def body(self, opening: Origin | None) -> tuple[Body, Action | None]:
        """The nodes up to the `end` or `else` of the opening action, and that action; without one, all nodes."""
        nodes: list[Node] = []
        while self._at < len(self._chunks):
            chunk = self._chunks[self._at]
            self._at += 1
            if isinstance(chunk, Literal):
                nodes.append(chunk)
            elif chunk.is_comment:
                nodes.append(Comment())
            elif chunk.tokens and chunk.tokens[0].text in {"end", "else"}:
                if opening is None:
                    raise self._error(f"unexpected {{{{ {chunk.tokens[0].text} }}}}", chunk.origin)
                if chunk.tokens[0].text == "end":
                    ActionParser(self._template, chunk, self._variables).expect_end(1)
                return tuple(nodes), chunk
            else:
                nodes.append(self._node(chunk))
        if opening is not None:
            raise self._error("unclosed block", opening, "close it with {{ end }}")
        return tuple(nodes), None

    def _node(self, action: Action) -> Node:
        origin = action.origin
        parser = ActionParser(self._template, action, self._variables)
        match parser.keyword():
            case "if" | "with" | "range" as kind:
                return self._block(_BLOCKS[kind], origin, parser)
            case "define":
                self._define(parser.name("define"), origin, parser)
                return Comment()
            case "block":
                name = parser.name("block")
                pipe = parser.pipe()
                self._define(name, origin, parser)
                return TemplateCall(origin, name, pipe)
            case "template":
                name = parser.name("template")
                return TemplateCall(origin, name, None if parser.is_at_end() else parser.pipe())
            case "break" | "continue" if self._loops:
                parser.expect_end()
                return LoopControl(origin)
            case None:
                return Output(origin, parser.pipe())
            case keyword:
                raise self._error(f"unexpected {keyword}", origin)

    def _block(self, kind: type[If | With | Range], origin: Origin, parser: ActionParser) -> Node:
        self._enter(origin)
        scope = len(self._variables)
        pipe = parser.pipe(of_range=kind is Range)
        self._loops += kind is Range
        body, end = self.body(origin)
        self._loops -= kind is Range
        else_body = self._else_body(kind, end, origin) if end and end.tokens[0].text == "else" else None
        del self._variables[scope:]
        self._depth -= 1
        return kind(origin, pipe, body, else_body)

    def _else_body(self, kind: type[If | With | Range], action: Action, opening: Origin) -> Body:
        """The nodes after `else`; `else if` is a nested block that shares the `end`."""
        parser = ActionParser(self._template, action, self._variables)
        parser.keyword()
        chained = parser.keyword()
        if chained and kind is not Range and kind is _BLOCKS.get(chained):
            return (self._block(kind, action.origin, parser),)
        if chained:
            raise self._error(f"unexpected else {chained}", action.origin)
        parser.expect_end()
        body, end = self.body(opening)
        if end is not None and end.tokens[0].text != "end":
            raise self._error("the block has a second else", end.origin)
        return body

    def _define(self, name: str, origin: Origin, parser: ActionParser) -> None:
        parser.expect_end()
        self._enter(origin)
        outer, self._variables, loops, self._loops = self._variables, [""], self._loops, 0
        body, end = self.body(origin)
        if end is not None and end.tokens[0].text != "end":
            raise self._error("a define cannot have an else", end.origin)
        self._variables, self._loops = outer, loops
        self._depth -= 1
        self.definitions[name] = body

    def _enter(self, origin: Origin) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error(f"blocks are nested more than {_MAX_DEPTH} deep", origin)

    def _error(self, what: str, origin: Origin | None, todo: str = "") -> TemplateError:
        return TemplateError(what, where=self._template.where(origin.line if origin else 1), todo=todo)
