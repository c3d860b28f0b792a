"""dotenv as Vite and Next read it: as dotenv-node, with `$NAME` and `${NAME}` expanded in every literal."""

import re
from collections.abc import Callable, Iterable

from lessee.rendering.document import Document
from lessee.rendering.formats import variables
from lessee.rendering.formats.dotenv_node import CANNOT, node, npm, old_node, scan, spellings, with_final_newline
from lessee.rendering.formats.variables import Grammar, Reading, UnparsableError

_Environ = Callable[[str], str]
_Order = Callable[[Iterable[str]], list[str]]
_Spend = Callable[[int], None]
_Expand = Callable[[str, dict[str, str], _Environ, _Spend], str]

# The grammar of dotenv-expand. Vite 6 uses version 12; Next uses 10, as Vite 4 did. In Vite 8, node reads the
# file, which sorts the names.
_UP_TO_LAST_DOLLAR = re.compile(r".*(?<!\\)\$", re.DOTALL)
_VARIABLE = re.compile(r"(?<!\\)\$(?:\{([^{}]+)\}|([A-Za-z_][A-Za-z0-9_]*))")
_OPERATOR = re.compile(r":\+|\+|:-|-")
_VARIABLE_10 = re.compile(r"(?<!\\)\$\{?([A-Za-z0-9_]+)(?::-([^}\\]*))?\}?")
_SPECIAL = re.compile(r"\$[$&`']")
_REFERENCE = re.compile(r"(?<!\\)\$(?:\{[^}]*\}?|[A-Za-z0-9_]*)")

# Circular references make Vite and Next overflow the stack or the memory.
_MOST, _LONGEST = 100, 1 << 20
# Characters of all steps together, of which each value may need _MOST; a step counts as some in addition.
_EFFORT, _STEP = 1 << 22, 1 << 7
_ENDLESS = "references to variables are circular, or grow without limit"


def write(document: Document) -> str:
    """The document as a dotenv file. Raises FormatError if it cannot represent a value."""
    return variables.write(with_final_newline(document), GRAMMAR)


def outline(text: str) -> tuple[str, ...]:
    """The names of the variables, in order."""
    return variables.outline(text, GRAMMAR)


def expanded(readings: Iterable[Reading], expand: _Expand, order: _Order, environ: _Environ) -> dict[str, str]:
    """The variables of the file. A reference uses the expanded value of earlier variables, and the raw one of later."""
    found = {name: value[0] for name, value in readings if value is not None}
    left = _EFFORT

    def spend(characters: int) -> None:
        nonlocal left
        left -= characters + _STEP
        if left < 0:
            raise UnparsableError(_ENDLESS)

    for name in order({name: value for name, value in found.items() if "$" in value}):
        found[name] = expand(found[name], found, environ, spend).replace(r"\$", "$")
    return found


def _reader(read: Callable[[str], list[Reading]], expand: _Expand, order: _Order) -> Callable[[str], list[Reading]]:
    def reader(text: str) -> list[Reading]:
        """Each value twice: without any other variables set, and with every other name set."""
        found = read(text)
        bare, full = (expanded(found, expand, order, environ) for environ in (lambda _: "", "lessee{}".format))
        return [(name, (bare[name], full[name])) for name in bare]

    return reader


def expand_12(value: str, found: dict[str, str], environ: _Environ, spend: _Spend) -> str:
    seen: set[str] = set()
    for _ in range(_MOST):
        spend(len(value))
        variable = _VARIABLE.search(value)
        if variable is None:
            return value
        seen.add(value)
        expression = variable[1] or variable[2]
        operator = _OPERATOR.search(expression)
        # JavaScript's split(null) splits at "null".
        name, _, default = expression.partition(operator[0] if operator else "null")
        there = found[name] if name in found else environ(name)
        if operator and "+" in operator[0]:
            there, default = "", default if there else ""
        value = _replaced(value, variable[0], default if not there or there in seen else there)
        if value == found.get(name):
            return value
    raise UnparsableError(_ENDLESS)


def expand_10(value: str, found: dict[str, str], environ: _Environ, spend: _Spend) -> str:
    for _ in range(_MOST):
        spend(len(value))
        last = _UP_TO_LAST_DOLLAR.match(value)
        variable = _VARIABLE_10.match(value, last.end() - 1) if last is not None else None
        if variable is None:
            return value
        name = variable[1]
        there = "" if name in found else environ(name)
        value = _replaced(value, variable[0], there or variable[2] or found.get(name, ""))
    raise UnparsableError(_ENDLESS)


def _replaced(text: str, old: str, new: str) -> str:
    """As JavaScript's String.replace: the first match only, with `$$`, `$&` and the like in the new text."""
    before, _, after = text.partition(old)
    special = {"$$": "$", "$&": old, "$`": before, "$'": after}
    more = sum(len(special[found]) for found in _SPECIAL.findall(new)) if "$" in new else 0
    if len(text) + len(new) + more > _LONGEST:
        raise UnparsableError(_ENDLESS)
    return before + _SPECIAL.sub(lambda found: special[found[0]], new) + after


GRAMMAR = Grammar(
    scan,
    (
        _reader(npm, expand_12, list),
        _reader(npm, expand_10, list),
        _reader(node, expand_12, sorted),
        _reader(old_node, expand_12, sorted),
    ),
    spellings,
    f"{CANNOT}, or precedes a reference and ends in a backslash or contains the same reference",
    references=_REFERENCE.findall,
    escape=lambda text: text.replace("$", r"\$"),
    todo="close the quotes on this line and earlier lines, and do not refer to variables whose value may contain a $",
)
