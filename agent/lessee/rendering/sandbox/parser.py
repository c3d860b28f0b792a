"""Parses a template's text to a syntax tree, both of limited size."""

from collections.abc import Iterator

from jinja2 import Environment, nodes
from jinja2.lexer import Token, TokenStream
from jinja2.parser import Parser

from lessee.rendering.syntax_tree import children

MAX_CHARACTERS = 2**20
"""Characters of a template."""

MAX_TOKENS = 50_000
"""Tokens in a template's tags. Compiling that many takes 60 MiB."""

NESTED = 100
"""Levels of nested expressions and blocks. Every walk over the tree recurses."""


def parse(environment: Environment, text: str, name: str | None, filename: str | None) -> nodes.Template:
    """Raises TemplateSyntaxError."""
    parser = Parser(environment, text, name, filename)
    if len(text) > MAX_CHARACTERS:
        parser.fail(f"a template has at most {MAX_CHARACTERS:,} characters; move parts of it to included files", 1)
    if len(text) > MAX_TOKENS:  # A token has at least one character.
        parser.stream = TokenStream(_counted(parser), name, filename)
    try:
        tree = parser.parse()
    except (RecursionError, MemoryError):
        parser.fail(_TOO_DEEP, parser.stream.current.lineno)
    if "ref+" in text:
        from lessee.rendering.inline_references import bind_references  # noqa: PLC0415  # Few templates have one.

        bind_references(tree, environment, name)
    level: list[nodes.Node] = [tree]
    for _ in range(NESTED):
        level = [child for node in level for child in children(node)]
    if level:
        parser.fail(_TOO_DEEP, level[0].lineno)
    return tree


_TOO_DEEP = f"the expression is nested more than {NESTED} levels deep; assign a part of it to a variable first"


def _counted(parser: Parser) -> Iterator[Token]:
    for number, token in enumerate(parser.stream):
        if number == MAX_TOKENS:
            parser.fail(f"a template's tags have at most {MAX_TOKENS:,} tokens", token.lineno)
        yield token
