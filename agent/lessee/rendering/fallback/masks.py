"""Replaces each secret in a template by a mask, so that everything else is the author's text.

A secret enters by calls of a few functions, and propagates through the variables that are set from it. A template in
which a secret decides what the file contains cannot be masked. Everywhere else only the position of the value counts.
"""

from collections.abc import Iterable, Iterator

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from lessee.core.errors import TemplateError
from lessee.core.path_scope import PathScope
from lessee.rendering.references import FUNCTIONS
from lessee.rendering.syntax_tree import walk
from lessee.rendering.templates import CompiledTemplate, Compiler

MISFIT = "fallback-mismatch"
"""The rule's name in `lessee check` for a fallback that cannot work."""

_SECRETS = FUNCTIONS.keys() - {"env", "fail"}
_ALWAYS_TAINTED = frozenset({"varargs", "kwargs"})
# A private-use character. No environment variable has this name, so env() returns the default.
MARK = "\ue000secret"
"""The value that replaces each secret."""
_CALL = ("env", "=", MARK)


def mask_secrets(compiled: CompiledTemplate, scope: PathScope) -> CompiledTemplate:
    """The template without its secrets. Raises TemplateListError if a secret decides what the file contains."""
    texts = {name: code.text for name, code in compiled.codes.items()}
    plain = Compiler(texts.__getitem__, scope)
    tainted = _tainted_variables([plain.parse(text, name) for name, text in texts.items()])
    return _MaskingCompiler(texts, scope, tainted).compile(compiled.name)


class _MaskingCompiler(Compiler):
    def __init__(self, texts: dict[str, str], scope: PathScope, tainted: frozenset[str]) -> None:
        super().__init__(texts.__getitem__, scope)
        self._tainted = tainted

    def parse(self, text: str, name: str) -> nodes.Template:
        """See Compiler."""
        tree = super().parse(text, name)
        for node in walk(tree):
            decides = isinstance(node, nodes.If) and _is_tainted(node.test, self._tainted)
            if decides or (isinstance(node, nodes.For) and _is_any_tainted((node.iter, node.test), self._tainted)):
                what = "a secret decides here what the file contains, which no variable can replace"
                todo = "name the secrets with `fallback: {env: {PATH: {KEY: VARIABLE}}}`, or use `last_known_good`"
                raise TemplateError(what, where=f"{name}:{node.lineno}", todo=todo, rule=MISFIT)
        _Mask(self._tainted).visit(tree)
        return tree


class _Mask(NodeTransformer):
    def __init__(self, tainted: frozenset[str]) -> None:
        self._tainted = tainted

    def visit(self, node: nodes.Node, *args: object, **kwargs: object) -> nodes.Node:
        """Mask a secret. In other calls only the arguments are masked, because a macro may write the author's text."""
        if not isinstance(node, nodes.Expr) or not _is_tainted(node, self._tainted):
            return self.generic_visit(node, *args, **kwargs)
        if isinstance(node, nodes.Call) and not _is_secret(node) and not _is_tainted(node.node, self._tainted):
            return self.generic_visit(node, *args, **kwargs)
        function, *arguments = _CALL
        constants: list[nodes.Expr] = [nodes.Const(text) for text in arguments]
        placeholder = nodes.Call(nodes.Name(function, "load"), constants, [], None, None)
        assert node.environment is not None
        placeholder.set_lineno(node.lineno)
        placeholder.set_environment(node.environment)
        return placeholder


def _is_tainted(node: nodes.Node, tainted: frozenset[str]) -> bool:
    """Whether an expression contains a secret, or a variable that may hold one."""
    return any(
        _is_secret(one) or (isinstance(one, nodes.Name) and one.ctx == "load" and one.name in tainted)
        for one in walk(node)
    )


def _is_any_tainted(found: Iterable[nodes.Node | None], tainted: frozenset[str]) -> bool:
    return any(node is not None and _is_tainted(node, tainted) for node in found)


def _is_secret(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name in _SECRETS


def _tainted_variables(trees: Iterable[nodes.Template]) -> frozenset[str]:
    """The variables that may hold a secret, in any template and at any time."""
    found = [node for tree in trees for node in walk(tree)]
    tainted = _ALWAYS_TAINTED
    while (more := tainted.union(*(_set(node, tainted) for node in found))) != tainted:
        tainted = more
    return tainted


def _set(node: nodes.Node, tainted: frozenset[str]) -> Iterator[str]:
    match node:
        case nodes.Assign() if _is_tainted(node.node, tainted):
            yield from _targets(node.target)
        case nodes.AssignBlock() if _is_any_tainted((node.filter, *node.body), tainted):
            yield from _targets(node.target)
        case nodes.With():
            for target, value in zip(node.targets, node.values, strict=True):
                if _is_tainted(value, tainted):
                    yield from _targets(target)
        case nodes.Macro() | nodes.CallBlock():
            for argument in node.args:
                yield from _targets(argument)
        case nodes.Import():
            yield node.target
        case nodes.FromImport():
            for name in node.names:
                there, here = (name, name) if isinstance(name, str) else name
                if there in tainted:
                    yield here
        case _:
            pass


def _targets(target: nodes.Node) -> Iterator[str]:
    return (node.name for node in walk(target) if isinstance(node, nodes.Name | nodes.NSRef))
