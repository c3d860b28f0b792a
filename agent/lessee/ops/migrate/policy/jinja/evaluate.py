"""What a pipe of a Go template gives, as a value of `values`."""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from lessee.ops.migrate.policy.golang.nodes import Chain, Constant, Dot, Field, Function, Operand, Pipe, Variable
from lessee.ops.migrate.policy.jinja.expressions import (
    ANY,
    LIST,
    MAP,
    NOT,
    NUMBERS,
    PRIMARY,
    TEXT,
    TRUTH,
    Expr,
    LostError,
    quote,
)
from lessee.ops.migrate.policy.jinja.functions import OTHERWISE, ZERO, apply, both, either, equal
from lessee.ops.migrate.policy.jinja.layout import Layout, Survey
from lessee.ops.migrate.policy.jinja.printer import print_, printf
from lessee.ops.migrate.policy.jinja.queries import asked
from lessee.ops.migrate.policy.jinja.values import Answer, Certificate, Name, Value, as_part, field, key, whole

_VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")

_OF_TRUTHS = frozenset({"and", "not", "or", "sprig_empty"})


class Scope:
    """The dot and the variables where a pipe stands."""

    def __init__(self, dot: Value | None = None, variables: Mapping[str, Value] | None = None) -> None:
        self.dot = dot
        self.variables = dict(variables or {})

    def inner(self, dot: Value | None) -> "Scope":
        """A block's: what it declares is gone at its end."""
        return Scope(dot, self.variables)


class Evaluator:
    """Evaluates pipes. Raises LostError for what has no counterpart; `remark` is told of what comes out otherwise."""

    def __init__(self, layout: Layout | Survey, remark: Callable[[str], None]) -> None:
        self._layout = layout
        self._remark = remark
        self.entries: Mapping[str, Name] = {}
        """The names of KV folders that loops go over, by what they are called in Jinja."""

    def pipe(self, pipe: Pipe, scope: Scope) -> Value:
        """What its last command gives; its variables are the caller's to set."""
        result: Value | None = None
        for words in pipe.commands:
            result = self._command(words, scope, [] if result is None else [result])
        assert result is not None
        return result

    def _command(self, words: Sequence[Operand], scope: Scope, given: Sequence[Value]) -> Value:
        first, *rest = words
        if isinstance(first, Function):
            return self._call(first.name, [*(self._operand(word, scope) for word in rest), *given])
        value = self._operand(first, scope)
        if rest or given:
            raise LostError("a value is called as if it were a function", "write that part another way")
        return value

    def _operand(self, word: Operand, scope: Scope) -> Value:
        match word:
            case Constant():
                return word
            case Dot():
                return _there(scope.dot)
            case Field(names):
                return _fields(_there(scope.dot), names)
            case Variable(name, names):
                return _fields(_there(scope.variables.get(name)), names)
            case Function(name):
                return self._call(name, [])
            case Chain(Function("scratch"), _):
                raise LostError("scratch has no counterpart", "use variables: {% set x = … %}")
            case Chain(of, names):
                return _fields(self._operand(of, scope), names)
            case _:
                return self.pipe(word, scope)

    def _call(self, name: str, values: Sequence[Value]) -> Value:
        match name, values:
            case (("secret" | "secrets" | "pkiCert"), [path, *parameters]):
                return asked(name, path, [_constant(value) for value in parameters], self._layout, self.entries)
            case (("env" | "sprig_env" | "mustEnv"), [Constant(str(variable))]):
                default = "" if name == "mustEnv" else ', ""'
                return Expr(f"env({quote(variable)}{default})", PRIMARY, TEXT, variable=_expanded(variable))
            case "envOrDefault", [Constant(str(variable)), Constant(str(default))]:
                text = f"env({quote(variable)}, {quote(default)})"
                return Expr(text, PRIMARY, TEXT, variable=_expanded(variable, f"-{default}"))
            case "index", [value, *keys] if keys:
                for one in keys:
                    value = key(value, as_part(one))
                return value
            case "slice", [value, *bounds] if bounds:
                self._remark("a slice of a text counts characters, where slice counts bytes")
                return Expr(f"{whole(value):p}[{':'.join(_texts(bounds))}{':' * (len(bounds) == 1)}]")
            case "print" | "println", _:
                parts = [as_part(value) for value in values]
                if name == "print" and any(_are_taken_for_texts(*pair) for pair in pairwise(parts)):
                    self._remark("print puts a blank between two booleans of Vault, which the import takes for texts")
                return print_(parts, line=name == "println")
            case "printf", [Constant(str(form)), *rest]:
                if "q" in form:
                    self._remark(OTHERWISE["sprig_quote"])
                return printf(form, [as_part(value) for value in rest])
            case _:
                return self._expression(name, [_argument(name, value) for value in values])

    def _expression(self, name: str, arguments: Sequence[Expr]) -> Expr:
        if name in OTHERWISE and not _is_exact(name, arguments):
            self._remark(OTHERWISE[name])
        match name, arguments:
            case "and", [_, *_]:
                return both(arguments)
            case (("or" | "sprig_coalesce"), [_, *_]):
                return either(arguments)
            case "sprig_default", [default, value]:
                return either([value, default])
            case (("not" | "sprig_empty"), [value]):
                return Expr(f"not {value.condition:n}", NOT, TRUTH)
            case (("eq" | "ne"), [_, *_]):
                return equal(arguments, is_not=name == "ne")
            case "loop", ([_] | [_, _]):
                return Expr(f"range({', '.join(one.text for one in arguments)})", PRIMARY, NUMBERS)
            case "sprig_list", _:
                return Expr(f"[{', '.join(one.text for one in arguments)}]", PRIMARY, LIST)
            case _:
                return apply(name, arguments)


def _expanded(variable: str, default: str = "") -> str:
    """The variable in lessee.yaml; "" where it cannot be written there."""
    return f"${{{variable}{default}}}" if _VARIABLE.fullmatch(variable) and not set(default) & set("${}") else ""


def _there(value: Value | None) -> Value:
    if value is None:
        raise LostError("the dot is nil here", "name what is meant")
    return value


def _fields(value: Value, names: Sequence[str]) -> Value:
    for name in names:
        value = field(value, name)
    return value


def _constant(value: Value) -> str:
    if isinstance(value, Constant) and isinstance(value.value, str):
        return value.value
    raise LostError(
        "a parameter of what is asked for is computed, and lessee knows them all beforehand", "write it out"
    )


def _argument(function: str, value: Value) -> Expr:
    """As an argument; of a whole answer, which is always there where it is looked at, only the truth is known."""
    if isinstance(value, Answer | Certificate) and function in _OF_TRUTHS:
        return Expr("true", kind=TRUTH)
    return whole(value)


def _are_taken_for_texts(*parts: Value) -> bool:
    return all(isinstance(part, Expr) and part.kind == ANY for part in parts)


def _is_exact(function: str, arguments: Sequence[Expr]) -> bool:
    """Whether what can come out otherwise does not, of arguments of such kinds."""
    kinds = {one.kind for one in arguments}
    match function:
        case "len":
            return kinds <= {LIST, MAP, NUMBERS}
        case _ if OTHERWISE[function] == ZERO:
            return ANY not in kinds
        case _:
            return False


def _texts(values: Sequence[Value]) -> list[str]:
    return [whole(value).text for value in values]
