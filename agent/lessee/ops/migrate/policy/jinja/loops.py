"""What a `range` goes over, and how Jinja goes over it in the same order."""

from collections.abc import Mapping

from lessee.core.immutable import Record
from lessee.ops.migrate.policy.golang.nodes import Constant, Pipe
from lessee.ops.migrate.policy.jinja.expressions import ANY, CONDITION, MAP, NUMBER, TEXT, Expr, LostError
from lessee.ops.migrate.policy.jinja.identifiers import Naming
from lessee.ops.migrate.policy.jinja.values import Name, Names, Value, whole


class Loop(Record, frozen=True):
    """`for head`, the variables to be set in it at once, and what Go's dot and variables are in it."""

    head: str
    item: Value
    variables: Mapping[str, Value]
    sets: tuple[str, ...] = ()
    remark: str = ""


def loop(value: Value, pipe: Pipe, naming: Naming) -> Loop:
    """Raises LostError for what cannot be gone over."""
    names = pipe.names
    if pipe.assigns or set(names) & set(naming.assigned):
        raise LostError("the variables of a range are set elsewhere too", "give them names of their own")
    if isinstance(value, Names):
        return _folder(value, names, naming)
    if isinstance(value, Constant) and isinstance(value.value, int):
        value = Expr(f"range({value.value})", kind="numbers")
    over = whole(value)
    match over.kind:
        case "map":
            return _mapping(over, names, naming)
        case "list" | "numbers":
            return _list(over, names, naming)
        case "any" if len(names) > 1 and names[0] not in _INDEXES:
            return _mapping(over, names, naming, remark=_TAKEN.format("a mapping", "a list"))
        case "any" if len(names) > 1:
            return _list(over, names, naming, remark=_TAKEN.format("a list", "a mapping"))
        case "any":
            either = Expr(f'{over:f} | dictsort(true) | map("last") if {over:c} is mapping else {over.text}', CONDITION)
            return _list(either, names, naming)
        case _:
            raise LostError("a range goes over a text or a number", "write that part another way")


_INDEXES = frozenset({"i", "idx", "index", "n", "num", "j"})
_TAKEN = "a range with two variables over a field of a secret is taken for one over {}; write it otherwise for {}"
_SUBFOLDERS = "a loop over a KV folder goes over its secrets, and not over its folders, whose names end in a slash"


def _folder(names: Names, variables: tuple[str, ...], naming: Naming) -> Loop:
    name, entry = naming.take(variables[-1] if variables else "name"), naming.take("entry")
    item = Name(names.folder, Expr(name, kind=TEXT), Expr(entry, kind=MAP))
    known, sets = _numbered(variables, naming)
    if variables:
        known[variables[-1]] = item
    return Loop(f"{name}, {entry} in {names.call:f} | dictsort(true)", item, known, sets, _SUBFOLDERS)


def _mapping(over: Expr, variables: tuple[str, ...], naming: Naming, *, remark: str = "") -> Loop:
    first, last = ("key", *variables)[-2:] if variables else ("key", "value")
    key, item = naming.take(first), Expr(naming.take(last))
    known: dict[str, Value] = (
        dict(zip(variables, (Expr(key, kind=TEXT), item), strict=True)) if len(variables) > 1 else {}
    )
    if len(variables) == 1:
        known = {last: item}
    return Loop(f"{key}, {item.text} in {over:f} | dictsort(true)", item, known, (), remark)


def _list(over: Expr, variables: tuple[str, ...], naming: Naming, *, remark: str = "") -> Loop:
    item = Expr(naming.take(variables[-1] if variables else "item"), kind=NUMBER if over.kind == "numbers" else ANY)
    known, sets = _numbered(variables, naming)
    if variables:
        known[variables[-1]] = item
    return Loop(f"{item.text} in {over:o}", item, known, sets, remark)


def _numbered(variables: tuple[str, ...], naming: Naming) -> tuple[dict[str, Value], tuple[str, ...]]:
    """The variable that counts, where there is one; a loop in the loop would hide Jinja's own."""
    if len(variables) < 2 or variables[0] == "_":  # noqa: PLR2004  # A number and an item.
        return {}, ()
    number = naming.take(variables[0])
    return {variables[0]: Expr(number, kind=NUMBER)}, (f"set {number} = loop.index0",)
