"""References in place in the text of a template become calls of `secret()`, before anything else sees the tree."""

from collections.abc import Iterator

from jinja2 import Environment, TemplateSyntaxError, nodes

from lessee.core.inline_references import InlineReference, InlineReferenceError, split
from lessee.rendering.syntax_tree import walk


def bind_references(tree: nodes.Template, environment: Environment, name: str | None) -> None:
    """Replace the references in the tree. Raises TemplateSyntaxError."""
    for output in list(walk(tree)):
        if isinstance(output, nodes.Output):
            output.nodes = [part for node in output.nodes for part in _parts(node, name)]
    tree.set_environment(environment)


def _parts(node: nodes.Expr, name: str | None) -> Iterator[nodes.Expr]:
    if not isinstance(node, nodes.TemplateData):
        yield node
        return
    line = node.lineno
    try:
        parts = split(node.data, comments=True)
    except InlineReferenceError as exc:
        raise TemplateSyntaxError(f"{exc.what}; {exc.todo}", line + exc.line, name, name) from None
    for part in parts:
        if isinstance(part, str):
            yield nodes.TemplateData(part, lineno=line)
            line += part.count("\n")
        else:
            yield _call(part, line)


def _call(reference: InlineReference, line: int) -> nodes.Expr:
    keywords = [nodes.Keyword(key, nodes.Const(value, lineno=line), lineno=line) for key, value in reference.place]
    path = nodes.Const(reference.path, lineno=line)
    found: nodes.Expr = nodes.Call(nodes.Name("secret", "load", lineno=line), [path], keywords, None, None, lineno=line)
    for key in reference.keys:
        found = nodes.Getitem(found, nodes.Const(key, lineno=line), "load", lineno=line)
    return nodes.Filter(found, "urlencode", [], [], None, None, lineno=line) if reference.urlencode else found
