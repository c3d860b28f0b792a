"""The Python that Jinja makes of a template, with its steps counted."""

from collections.abc import Iterable, Mapping

from jinja2 import nodes
from jinja2.compiler import Frame, MacroRef, operators
from jinja2.nativetypes import NativeCodeGenerator

# What takes longer than a step, which is a tenth of a microsecond.
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


class Counting(NativeCodeGenerator):
    """Jinja's usual generator writes str() around every expression, and folds what is constant."""

    _defaults = 0

    def blockvisit(self, body: Iterable[nodes.Node], frame: Frame) -> None:
        """Each block of statements pays for itself when it is run: a loop's body each time."""
        statements = list(body)
        steps = self._defaults + sum(map(_weight, statements))
        self._defaults = 0
        # A template or a block that is begun copies the variables around it.
        copied = " + 2 * len(context.parent)" if frame.parent is None else ""
        if steps or copied:
            self.writeline(f"environment.spend({steps}{copied})", statements[0] if statements else None)
        super().blockvisit(statements, frame)

    def macro_body(self, node: nodes.Macro | nodes.CallBlock, frame: Frame) -> tuple[Frame, MacroRef]:
        # They are made at each call that gives no argument.
        self._defaults = sum(map(_weight, node.defaults))
        return super().macro_body(node, frame)

    def visit_For(self, node: nodes.For, frame: Frame) -> None:  # noqa: N802  # Jinja's word.
        """The condition is asked of items for which the body is not run."""
        if node.test is not None:
            spent = nodes.EnvironmentAttribute(f"spend({1 + _weight(node.test)})")
            node.test = nodes.Or(spent, node.test, lineno=node.test.lineno, environment=self.environment)
        super().visit_For(node, frame)

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:  # noqa: N802  # Jinja's word.
        self.write("(")
        self._weighed(node.expr, frame)
        for operand in node.ops:
            self.write(f" {operators[operand.op]} ")
            self._weighed(operand.expr, frame)
        self.write(")")

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802  # Jinja's word.
        """A slice is a copy."""
        if not isinstance(node.arg, nodes.Slice):
            super().visit_Getitem(node, frame)
            return
        self._weighed(node.node, frame)
        self.write("[")
        self.visit(node.arg, frame)
        self.write("]")

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802  # Jinja's word.
        self.write("environment.concatenated((")
        for piece in node.nodes:
            self.visit(piece, frame)
            self.write(", ")
        self.write("))")

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:  # noqa: N802  # Jinja's word.
        """A key may be no structure: what looks one up goes through all of it."""
        self.write("{")
        for pair in node.items:
            self.write("environment.key(")
            self.visit(pair.key, frame)
            self.write("): ")
            self.visit(pair.value, frame)
            self.write(", ")
        self.write("}")

    def _weighed(self, node: nodes.Expr, frame: Frame) -> None:
        if isinstance(node, nodes.Const):
            self.visit(node, frame)
            return
        self.write("environment.weighed(")
        self.visit(node, frame)
        self.write(")")


def _weight(node: nodes.Node) -> int:
    """Steps of a node and of what is in it, but for blocks of statements."""
    steps = _STEPS.get(nodes.BinExpr if isinstance(node, nodes.BinExpr) else type(node), 1)
    if isinstance(node, nodes.Output):
        steps += _VALUE * sum(not isinstance(piece, nodes.TemplateData) for piece in node.nodes)
    return steps + sum(map(_weight, node.iter_child_nodes(exclude=_BLOCKS)))
