"""Translates a `range` to a Jinja loop in the same order."""

from collections.abc import Mapping

from lessee.core.immutable import ImmutableStruct, replace
from lessee.ops.migrate.policy.golang.nodes import Constant, Pipe
from lessee.ops.migrate.policy.jinja.expressions import ANY, CONDITION, MAP, NUMBER, TEXT, Expr, UnsupportedError
from lessee.ops.migrate.policy.jinja.identifiers import Identifiers
from lessee.ops.migrate.policy.jinja.values import SecretName, SecretNames, Value, to_expr


class Loop(ImmutableStruct, frozen=True):
    """`for head`, with the assignments at the start of its body, and the dot and variables of the Go loop."""

    head: str
    item: Value
    variables: Mapping[str, Value]
    assignments: tuple[str, ...] = ()
    note: str = ""


def translate_loop(value: Value, pipe: Pipe, identifiers: Identifiers) -> Loop:
    """Translate a loop over this value. Raises UnsupportedError."""
    names = pipe.names
    if pipe.assigns or set(names) & set(identifiers.assigned):
        raise UnsupportedError("the variables of a range are also set elsewhere", "use other names in the range")
    if isinstance(value, SecretNames):
        return _over_folder(value, names, identifiers)
    if isinstance(value, Constant) and isinstance(value.value, int):
        value = Expr(f"range({value.value})", kind="numbers")
    over = to_expr(value)
    match over.kind:
        case "map":
            return _over_map(over, names, identifiers)
        case "list" | "numbers":
            return _over_list(over, names, identifiers)
        case "any":
            either = Expr(f'{over:f} | dictsort(true) | map("last") if {over:c} is mapping else {over.text}', CONDITION)
            loop = _over_list(either, names, identifiers)
            return _with_key(loop, over, names) if len(names) > 1 and loop.assignments else loop
        case _:
            raise UnsupportedError("a range over a text or a number is not supported", "rewrite this part")


_SUBFOLDERS = "a loop over a KV folder skips its subfolders, which Go lists with a slash at the end"


def _with_key(loop: Loop, over: Expr, names: tuple[str, ...]) -> Loop:
    """The loop over a list or a map, whose first variable is the index or the key."""
    [assignment] = loop.assignments
    keys = f'({over:f} | dictsort(true) | map("first") | list)'
    either = f"{assignment.partition(' = ')[0]} = {keys}[loop.index0] if {over:c} is mapping else loop.index0"
    key = loop.variables[names[0]]
    assert isinstance(key, Expr)
    return replace(loop, assignments=(either,), variables={**loop.variables, names[0]: Expr(key.text)})


def _over_folder(names: SecretNames, variables: tuple[str, ...], identifiers: Identifiers) -> Loop:
    name, entry = identifiers.allocate(variables[-1] if variables else "name"), identifiers.allocate("entry")
    item = SecretName(names.folder, Expr(name, kind=TEXT), Expr(entry, kind=MAP))
    known, assignments = _index_variable(variables, identifiers)
    if variables:
        known[variables[-1]] = item
    return Loop(f"{name}, {entry} in {names.call:f} | dictsort(true)", item, known, assignments, _SUBFOLDERS)


def _over_map(over: Expr, variables: tuple[str, ...], identifiers: Identifiers) -> Loop:
    first, last = ("key", *variables)[-2:] if variables else ("key", "value")
    key, item = identifiers.allocate(first), Expr(identifiers.allocate(last))
    known: dict[str, Value] = (
        dict(zip(variables, (Expr(key, kind=TEXT), item), strict=True)) if len(variables) > 1 else {}
    )
    if len(variables) == 1:
        known = {last: item}
    return Loop(f"{key}, {item.text} in {over:f} | dictsort(true)", item, known)


def _over_list(over: Expr, variables: tuple[str, ...], identifiers: Identifiers) -> Loop:
    name = identifiers.allocate(variables[-1] if variables else "item")
    item = Expr(name, kind=NUMBER if over.kind == "numbers" else ANY)
    known, assignments = _index_variable(variables, identifiers)
    if variables:
        known[variables[-1]] = item
    return Loop(f"{item.text} in {over:o}", item, known, assignments)


def _index_variable(variables: tuple[str, ...], identifiers: Identifiers) -> tuple[dict[str, Value], tuple[str, ...]]:
    """The index variable, if the range has one. It is a copy, because an inner loop hides Jinja's `loop`."""
    if len(variables) < 2 or variables[0] == "_":  # noqa: PLR2004  # An index and an item.
        return {}, ()
    index = identifiers.allocate(variables[0])
    return {variables[0]: Expr(index, kind=NUMBER)}, (f"set {index} = loop.index0",)
