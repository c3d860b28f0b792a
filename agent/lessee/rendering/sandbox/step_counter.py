"""Generates the Python code of a template, with counted steps."""

from collections.abc import Iterable, Mapping

from jinja2 import nodes
from jinja2.compiler import Frame, MacroRef, operators
from jinja2.nativetypes import NativeCodeGenerator

# Nodes that take longer than a step, which is a tenth of a microsecond.
_STEPS: Mapping[type[nodes.Node], int] = {
    nodes.Compare: 3,
    nodes.Getattr: 5,
    nodes.Getitem: 5,
    nodes.BinExpr: 10,
    nodes.Concat: 10,
    nodes.Test: 10,
    nodes.Filter: 15,
    nodes.Call: 20,
    nodes.Output: 3,
    nodes.Macro: 20,
    nodes.CallBlock: 20,
    nodes.Include: 50,
    nodes.Import: 50,
    nodes.FromImport: 50,
}
_VALUE = 10
_BLOCKS = ("body", "else_")


class StepCountingGenerator(NativeCodeGenerator):
    """Unlike Jinja's usual generator, it neither adds str() to every expression nor folds constants."""

    _defaults = 0

    def blockvisit(self, body: Iterable[nodes.Node], frame: Frame) -> None:
        """Each block of statements spends its steps when it runs, a loop's body each time."""
        statements = list(body)
        steps = self._defaults + sum(map(_steps, statements))
        self._defaults = 0
        # Entering a template or a block copies the variables around it.
        copying = " + 2 * len(context.parent)" if frame.parent is None else ""
        if steps or copying:
            self.writeline(f"environment.spend({steps}{copying})", statements[0] if statements else None)
        super().blockvisit(statements, frame)

    def macro_body(self, node: nodes.Macro | nodes.CallBlock, frame: Frame) -> tuple[Frame, MacroRef]:
        # Each call without an argument evaluates its default.
        self._defaults = sum(map(_steps, node.defaults))
        return super().macro_body(node, frame)

    def visit_For(self, node: nodes.For, frame: Frame) -> None:  # noqa: N802  # Jinja's name.
        """The condition also runs for items without a run of the body."""
        if node.test is not None:
            spent = nodes.EnvironmentAttribute(f"spend({1 + _steps(node.test)})")
            node.test = nodes.Or(spent, node.test, lineno=node.test.lineno, environment=self.environment)
        super().visit_For(node, frame)

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:  # noqa: N802  # Jinja's name.
        self.write("(")
        self._charged(node.expr, frame)
        for operand in node.ops:
            self.write(f" {operators[operand.op]} ")
            self._charged(operand.expr, frame)
        self.write(")")

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802  # Jinja's name.
        """A slice copies."""
        if not isinstance(node.arg, nodes.Slice):
            super().visit_Getitem(node, frame)
            return
        self._charged(node.node, frame)
        self.write("[")
        self.visit(node.arg, frame)
        self.write("]")

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802  # Jinja's name.
        self.write("environment.concatenate((")
        for piece in node.nodes:
            self.visit(piece, frame)
            self.write(", ")
        self.write("))")

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:  # noqa: N802  # Jinja's name.
        """A key must not be a structure, because each lookup would iterate over it."""
        self.write("{")
        for pair in node.items:
            self.write("environment.key(")
            self.visit(pair.key, frame)
            self.write("): ")
            self.visit(pair.value, frame)
            self.write(", ")
        self.write("}")

    def _charged(self, node: nodes.Expr, frame: Frame) -> None:
        if isinstance(node, nodes.Const):
            self.visit(node, frame)
            return
        self.write("environment.charged(")
        self.visit(node, frame)
        self.write(")")


def _steps(node: nodes.Node) -> int:
    """The steps of a node and its children, except for blocks of statements."""
    steps = _STEPS.get(nodes.BinExpr if isinstance(node, nodes.BinExpr) else type(node), 1)
    if isinstance(node, nodes.Output):
        steps += _VALUE * sum(not isinstance(piece, nodes.TemplateData) for piece in node.nodes)
    return steps + sum(map(_steps, node.iter_child_nodes(exclude=_BLOCKS)))
