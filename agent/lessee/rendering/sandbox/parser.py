"""From a template's text to its syntax tree, neither of which is without an end."""

from collections.abc import Iterator

from jinja2 import Environment, nodes
from jinja2.lexer import Token, TokenStream
from jinja2.parser import Parser

from lessee.rendering.syntax_tree import children

LONGEST = 2**20
"""Characters that a template may have."""

TOKENS = 50_000
"""Words and signs in its tags: their Python takes 60 MiB."""

NESTED = 100
"""Levels that expressions and blocks may lie in each other; all that walks the tree recurses."""


def parse(environment: Environment, text: str, name: str | None, filename: str | None) -> nodes.Template:
    """Raises TemplateSyntaxError."""
    parser = Parser(environment, text, name, filename)
    if len(text) > LONGEST:
        parser.fail(f"a template has no more than {LONGEST:,} characters; take parts of it from files of their own", 1)
    if len(text) > TOKENS:  # A token has a character or more.
        parser.stream = TokenStream(_counted(parser), name, filename)
    try:
        tree = parser.parse()
    except (RecursionError, MemoryError):
        parser.fail(_TOO_DEEP, parser.stream.current.lineno)
    level: list[nodes.Node] = [tree]
    for _ in range(NESTED):
        level = [child for node in level for child in children(node)]
    if level:
        parser.fail(_TOO_DEEP, level[0].lineno)
    return tree


_TOO_DEEP = f"this is nested more than {NESTED} levels deep; set a part of it to a variable first"


def _counted(parser: Parser) -> Iterator[Token]:
    for number, token in enumerate(parser.stream):
        if number == TOKENS:
            parser.fail(f"a template's tags have no more than {TOKENS:,} words and signs", token.lineno)
        yield token
