"""Infers which values a template uses as structures: those that it loops over or takes keys of."""

from collections.abc import Iterable, Mapping, Sequence

from jinja2 import nodes

from lessee.core.path_scope import PathScope
from lessee.core.paths import Need
from lessee.rendering.references import FUNCTIONS, references_in
from lessee.rendering.syntax_tree import walk

ANY = "*"
"""The key for items of a loop, and for computed keys."""

_OF_MAPPINGS = frozenset({"items", "keys", "values", "get", "dictsort"})
_SAME_ITEMS = frozenset({"default", "d", "list", "reverse", "sort", "unique"})


class Shape:
    """How templates use one value."""

    __slots__ = ("inner", "is_list", "is_mapping")

    def __init__(self, *, is_mapping: bool = False) -> None:
        self.inner: dict[str, Shape] = {}
        self.is_mapping = is_mapping
        self.is_list = False

    def key(self, name: str) -> "Shape":
        """The shape below a key. Marks this value as a mapping."""
        self.is_mapping = True
        return self.inner.setdefault(name, Shape())

    def item(self) -> "Shape":
        """The shape of a loop's items. Marks this value as a list, unless it is a mapping."""
        self.is_list = True
        return self.inner.setdefault(ANY, Shape())

    def below(self, name: str) -> "Shape":
        """The known shape of the value below a key."""
        return self.inner.get(name) or self.inner.get(ANY) or Shape()


def shapes_of(trees: Iterable[nodes.Template], scope: PathScope) -> Mapping[Need, Shape]:
    """The shape of everything that these templates read. They share their variables."""
    inference = _Inference(scope)
    for tree in trees:
        inference.add(list(walk(tree)))
    return inference.shapes


class _Inference:
    def __init__(self, scope: PathScope) -> None:
        self.shapes: dict[Need, Shape] = {}
        self._scope = scope
        self._variables: dict[str, list[Shape]] = {}

    def add(self, found: Sequence[nodes.Node]) -> None:
        methods = {id(node.node) for node in found if isinstance(node, nodes.Call)}
        for node in found:
            match node:
                case nodes.Assign(target=target, node=value):
                    self._set(target, self._of(value))
                case nodes.With():
                    for target, value in zip(node.targets, node.values, strict=True):
                        self._set(target, self._of(value))
                case nodes.For():
                    self._loop(node)
                case nodes.Call() | nodes.Filter():
                    self._note_use(node)
                case nodes.Getattr() | nodes.Getitem() if id(node) not in methods and not _is_index(node):
                    self._of(node)
                case _:
                    pass

    def _set(self, target: nodes.Node, shapes: list[Shape]) -> None:
        if isinstance(target, nodes.Name):
            self._variables.setdefault(target.name, []).extend(shapes)

    def _loop(self, node: nodes.For) -> None:
        over = node.iter
        while isinstance(over, nodes.Filter) and over.node is not None and over.name in _SAME_ITEMS:
            over = over.node
        method, inner = _method(over)
        match method, node.target:
            case "items" | "dictsort", nodes.Tuple(items=[_, value]):
                self._set(value, [shape.key(ANY) for shape in self._of(inner)])
            case "values", value:
                self._set(value, [shape.key(ANY) for shape in self._of(inner)])
            case "", value:
                # A loop over a mapping yields its keys.
                self._set(value, [shape.item() for shape in self._of(inner) if not shape.is_mapping])
            case _:
                pass

    def _note_use(self, node: nodes.Call | nodes.Filter) -> None:
        method, inner = _method(node)
        if method in _OF_MAPPINGS:
            for shape in self._of(inner):
                shape.is_mapping = True
        if isinstance(node, nodes.Filter) and node.node is not None:
            for keyword in node.kwargs:
                if keyword.key == "attribute" and isinstance(keyword.value, nodes.Const):
                    for shape in self._of(node.node):
                        _descend(shape.item(), str(keyword.value.value))

    def _of(self, node: nodes.Node) -> list[Shape]:
        """The shapes of the secrets' values that an expression may return unchanged."""
        match node:
            case nodes.Name(name=name):
                return self._variables.get(name, [])
            case nodes.Getattr(node=inner, attr=key):
                return [shape.key(key) for shape in self._of(inner)]
            case nodes.Getitem(node=inner) if _is_index(node):
                return [shape.item() for shape in self._of(inner)]
            case nodes.Getitem(node=inner, arg=nodes.Const(value=str(key))):
                return [shape.key(key) for shape in self._of(inner)]
            case nodes.Getitem(node=inner, arg=nodes.Name() | nodes.Getattr()):
                return [shape.key(ANY) for shape in self._of(inner)]
            case nodes.Filter(node=nodes.Expr() as inner, name=name) if name in _SAME_ITEMS:
                return self._of(inner)
            case nodes.CondExpr(expr1=first, expr2=second):
                return [*self._of(first), *(self._of(second) if second is not None else [])]
            case nodes.Call(node=nodes.Name(name=function)) if function in FUNCTIONS:
                references = references_in([node], "", self._scope)
                return [
                    self.shapes.setdefault(need, Shape(is_mapping=True))
                    for need in references
                    if isinstance(need, Need)
                ]
            case nodes.Call(node=nodes.Getattr(node=inner, attr="get"), args=[nodes.Const(value=str(key)), *_]):
                return [shape.key(key) for shape in self._of(inner)]
            case _:
                return []


def _descend(shape: Shape, path: str) -> None:
    for key in path.split("."):
        shape = shape.key(key)


def _is_index(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, int)


def _method(node: nodes.Node) -> tuple[str, nodes.Node]:
    """The method and its object: `items` and x for `x.items()` and `x | items`. Otherwise no method and the node."""
    match node:
        case nodes.Call(node=nodes.Getattr(node=inner, attr=method)):
            return method, inner
        case nodes.Filter(node=nodes.Expr() as inner, name=method):
            return method, inner
        case _:
            return "", node
