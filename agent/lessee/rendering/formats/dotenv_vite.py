"""dotenv as Vite and Next read it: as dotenv-node, and then `$NAME` and `${NAME}` are replaced in every literal."""

import re
from collections.abc import Callable, Iterable

from lessee.rendering.document import Document
from lessee.rendering.formats import variables
from lessee.rendering.formats.dotenv_node import CANNOT, ended, node, npm, old_node, scan, spellings
from lessee.rendering.formats.variables import Grammar, Reading, UnreadableError

_Environ = Callable[[str], str]
_Order = Callable[[Iterable[str]], list[str]]
_Expand = Callable[[str, dict[str, str], _Environ], str]

# The grammar of dotenv-expand. Version 12 came with Vite 6; Next is at 10, as Vite 4 was. Vite 8 lets node read the
# file, which sorts the names.
_DOLLAR = re.compile(r"(?<!\\)\$")
_VARIABLE = re.compile(r"(?<!\\)\$(?:\{([^{}]+)\}|([A-Za-z_][A-Za-z0-9_]*))")
_OPERATOR = re.compile(r":\+|\+|:-|-")
_VARIABLE_10 = re.compile(r"(?<!\\)\$\{?([A-Za-z0-9_]+)(?::-([^}\\]*))?\}?")
_SPECIAL = re.compile(r"\$[$&`']")
_REFERENCE = re.compile(r"(?<!\\)\$(?:\{[^}]*\}?|[A-Za-z0-9_]*)")

# References that go in circles end in Vite and Next with the stack or the memory.
_MOST, _LONGEST = 100, 1 << 20
_ENDLESS = "references to variables go in circles, or grow without end"


def write(document: Document) -> str:
    """The document as a dotenv file. Raises FormatError where a value has no place in it."""
    return variables.write(ended(document), GRAMMAR)


def outline(text: str) -> tuple[str, ...]:
    """The names of the variables, in order."""
    return variables.outline(text, GRAMMAR)


def expanded(readings: Iterable[Reading], expand: _Expand, order: _Order, environ: _Environ) -> dict[str, str]:
    """What the file sets: a reference finds earlier variables as they came out, later ones as they stand."""
    found = {name: value[0] for name, value in readings if value is not None}
    for name in order({name: value for name, value in found.items() if "$" in value}):
        found[name] = expand(found[name], found, environ).replace(r"\$", "$")
    return found


def _reader(read: Callable[[str], list[Reading]], expand: _Expand, order: _Order) -> Callable[[str], list[Reading]]:
    def reader(text: str) -> list[Reading]:
        """Each value twice: as it is where nothing else is set, and where every other name is."""
        found = read(text)
        bare, full = (expanded(found, expand, order, environ) for environ in (lambda _: "", "lessee{}".format))
        return [(name, (bare[name], full[name])) for name in bare]

    return reader


def expand_12(value: str, found: dict[str, str], environ: _Environ) -> str:
    seen: set[str] = set()
    for _ in range(_MOST):
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
    raise UnreadableError(_ENDLESS)


def expand_10(value: str, found: dict[str, str], environ: _Environ) -> str:
    for _ in range(_MOST):
        *_, last = (-1, *(dollar.start() for dollar in _DOLLAR.finditer(value)))
        variable = _VARIABLE_10.search(value, last) if last >= 0 else None
        if variable is None:
            return value
        name = variable[1]
        there = "" if name in found else environ(name)
        value = _replaced(value, variable[0], there or variable[2] or found.get(name, ""))
    raise UnreadableError(_ENDLESS)


def _replaced(text: str, old: str, new: str) -> str:
    """As String.replace does it in JavaScript: at the first place, and with `$$`, `$&` and the like in the new text."""
    if len(text) + len(new) > _LONGEST:
        raise UnreadableError(_ENDLESS)
    before, _, after = text.partition(old)
    special = {"$$": "$", "$&": old, "$`": before, "$'": after}
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
    f"{CANNOT}, or stands before a reference and ends in a backslash or holds the same reference",
    references=_REFERENCE.findall,
    escape=lambda text: text.replace("$", r"\$"),
    todo="close the quotes on this line and before it, and refer to no variable whose value may hold a $",
)
