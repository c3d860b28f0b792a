"""Templates in which a mark stands wherever a secret would: what is left is the author's text, sure to be his.

A secret comes in by the calls of a few functions, and goes on in the variables that are set from it. Where it decides
what stands in a file, nobody can say what that would be; all else is a value, of which only the place counts.
"""

from collections.abc import Iterable, Iterator

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from lessee.core.errors import TemplateError
from lessee.core.paths import Space
from lessee.rendering.references import FUNCTIONS
from lessee.rendering.syntax_tree import walk
from lessee.rendering.templates import Compiled, Compiler

MISFIT = "fallback-misfit"
"""The name under which `lessee check` tells of a fallback that cannot serve."""

_SECRETS = FUNCTIONS.keys() - {"env", "fail"}
_ENDLESS = frozenset({"varargs", "kwargs"})
# Of a character that nobody uses; and no variable of an environment is called so: the default is what it gives.
MARK = "\ue000secret"
"""The value of what stands where a secret would."""
_CALL = ("env", "=", MARK)


def masked(compiled: Compiled, space: Space) -> Compiled:
    """The template without its secrets. Raises TemplateListError where one decides what stands in the file."""
    texts = {name: code.text for name, code in compiled.codes.items()}
    plain = Compiler(texts.__getitem__, space)
    hold = _variables([plain.parse(text, name) for name, text in texts.items()])
    return _Masking(texts, space, hold).compile(compiled.name)


class _Masking(Compiler):
    def __init__(self, texts: dict[str, str], space: Space, hold: frozenset[str]) -> None:
        super().__init__(texts.__getitem__, space)
        self._hold = hold

    def parse(self, text: str, name: str) -> nodes.Template:
        """As of a compiler."""
        tree = super().parse(text, name)
        for node in walk(tree):
            decides = isinstance(node, nodes.If) and _holds(node.test, self._hold)
            if decides or (isinstance(node, nodes.For) and _holds_any((node.iter, node.test), self._hold)):
                what = "a secret decides here what stands in the file, which no variable can make up for"
                todo = "name its secrets: `fallback: {env: {PATH: {KEY: VARIABLE}}}`, or `last_good`"
                raise TemplateError(what, where=f"{name}:{node.lineno}", todo=todo, rule=MISFIT)
        _Mask(self._hold).visit(tree)
        return tree


class _Mask(NodeTransformer):
    def __init__(self, hold: frozenset[str]) -> None:
        self._hold = hold

    def visit(self, node: nodes.Node, *args: object, **kwargs: object) -> nodes.Node:
        """Of a call that is itself no secret's the arguments alone are masked: a macro may write the author's text."""
        if not isinstance(node, nodes.Expr) or not _holds(node, self._hold):
            return self.generic_visit(node, *args, **kwargs)
        if isinstance(node, nodes.Call) and not _is_secret(node) and not _holds(node.node, self._hold):
            return self.generic_visit(node, *args, **kwargs)
        function, *arguments = _CALL
        constants: list[nodes.Expr] = [nodes.Const(text) for text in arguments]
        mark = nodes.Call(nodes.Name(function, "load"), constants, [], None, None)
        assert node.environment is not None
        mark.set_lineno(node.lineno)
        mark.set_environment(node.environment)
        return mark


def _holds(node: nodes.Node, hold: frozenset[str]) -> bool:
    """Whether a secret, or a variable that holds one, is in an expression."""
    return any(
        _is_secret(one) or (isinstance(one, nodes.Name) and one.ctx == "load" and one.name in hold)
        for one in walk(node)
    )


def _holds_any(found: Iterable[nodes.Node | None], hold: frozenset[str]) -> bool:
    return any(node is not None and _holds(node, hold) for node in found)


def _is_secret(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name in _SECRETS


def _variables(trees: Iterable[nodes.Template]) -> frozenset[str]:
    """Those that may hold a secret, by whatever template and at whatever time they are set."""
    found = [node for tree in trees for node in walk(tree)]
    hold = _ENDLESS
    while (more := hold.union(*(_set(node, hold) for node in found))) != hold:
        hold = more
    return hold


def _set(node: nodes.Node, hold: frozenset[str]) -> Iterator[str]:
    match node:
        case nodes.Assign() if _holds(node.node, hold):
            yield from _targets(node.target)
        case nodes.AssignBlock() if _holds_any((node.filter, *node.body), hold):
            yield from _targets(node.target)
        case nodes.With():
            for target, value in zip(node.targets, node.values, strict=True):
                if _holds(value, hold):
                    yield from _targets(target)
        case nodes.Macro() | nodes.CallBlock():
            for argument in node.args:
                yield from _targets(argument)
        case nodes.Import():
            yield node.target
        case nodes.FromImport():
            for name in node.names:
                there, here = (name, name) if isinstance(name, str) else name
                if there in hold:
                    yield here
        case _:
            pass


def _targets(target: nodes.Node) -> Iterator[str]:
    return (node.name for node in walk(target) if isinstance(node, nodes.Name | nodes.NSRef))
