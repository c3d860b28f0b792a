"""Evaluates the pipelines of a Go template to the values of `values`."""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from lessee.ops.migrate.policy.golang.nodes import Chain, Constant, Dot, Field, Function, Operand, Pipe, Variable
from lessee.ops.migrate.policy.jinja import constants, patterns
from lessee.ops.migrate.policy.jinja.expressions import (
    ANY,
    LIST,
    MAP,
    NOT,
    NUMBER,
    NUMBERS,
    PRIMARY,
    TEXT,
    TRUTH,
    Expr,
    UnsupportedError,
    quote,
)
from lessee.ops.migrate.policy.jinja.functions import DIFFERENCES, ZERO_IS_FALSE, and_, apply, equal, or_
from lessee.ops.migrate.policy.jinja.layout import Layout, PathCollector
from lessee.ops.migrate.policy.jinja.printer import spell_float, translate_print, translate_printf
from lessee.ops.migrate.policy.jinja.queries import CALL, query
from lessee.ops.migrate.policy.jinja.scratch import Scratch
from lessee.ops.migrate.policy.jinja.values import (
    Certificate,
    Response,
    SecretName,
    Value,
    as_part,
    condition,
    field,
    item,
    to_expr,
)

_VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")

_CONDITION_FUNCTIONS = frozenset({"and", "not", "or", "sprig_coalesce", "sprig_default", "sprig_empty"})

_WRITING_FUNCTIONS = _CONDITION_FUNCTIONS | {"sprig_quote", "sprig_squote", "sprig_ternary", "sprig_toString"}
"""Functions that write a number, or return one that is written."""


class Scope:
    """The dot and the variables of a block."""

    def __init__(self, dot: Value | None = None, variables: Mapping[str, Value] | None = None) -> None:
        self.dot = dot
        self.variables = dict(variables or {})

    def inner(self, dot: Value | None) -> "Scope":
        """The scope of a nested block, whose declarations end with it."""
        return Scope(dot, self.variables)


class Evaluator:
    """Evaluates pipelines. Raises UnsupportedError; passes each possible difference from Go to `add_note`."""

    def __init__(self, layout: Layout | PathCollector, add_note: Callable[[str], None]) -> None:
        self._layout = layout
        self._add_note = add_note
        self.scratch = Scratch()
        self.calls: dict[str, str] = {}
        """The calls that read a secret, in order, by the conditions that they have succeeded."""
        self.folder_loops: Mapping[str, SecretName] = {}
        """The current loops over KV folders, by their Jinja variables."""

    def pipe(self, pipe: Pipe, scope: Scope) -> Value:
        """The result of the last command; the caller stores it in the pipeline's variables."""
        result: Value | None = None
        for operands in pipe.commands:
            result = self._command(operands, scope, [] if result is None else [result])
        assert result is not None
        return result

    def _command(self, operands: Sequence[Operand], scope: Scope, piped: Sequence[Value]) -> Value:
        first, *rest = operands
        if isinstance(first, Chain) and first.operand == Function("scratch"):
            return self._scratch(first.names, [*(self._operand(operand, scope) for operand in rest), *piped])
        if isinstance(first, Function):
            return self._call(first.name, [*(self._operand(operand, scope) for operand in rest), *piped])
        value = self._operand(first, scope)
        if rest or piped:
            raise UnsupportedError("a value that is not a function has arguments", "rewrite this part")
        return value

    def _operand(self, operand: Operand, scope: Scope) -> Value:
        match operand:
            case Constant():
                return operand
            case Dot():
                return _not_nil(scope.dot)
            case Field(names):
                return _fields(_not_nil(scope.dot), names)
            case Variable(name, names):
                return _fields(_not_nil(scope.variables.get(name)), names)
            case Function(name):
                return self._call(name, [])
            case Chain(Function("scratch"), names):
                return self._scratch(names, [])
            case Chain(inner, names):
                return _fields(self._operand(inner, scope), names)
            case _:
                return self.pipe(operand, scope)

    def _scratch(self, names: Sequence[str], arguments: Sequence[Value]) -> Value:
        method, *fields = names
        return _fields(self.scratch.read(method, arguments), fields)

    def _call(self, name: str, values: Sequence[Value]) -> Value:
        match name, values:
            case (("secret" | "secrets" | "pkiCert"), [path, *parameters]):
                texts = [_constant_text(value) for value in parameters]
                found = query(name, path, texts, self._layout, self.folder_loops)
                if isinstance(found, Response | Certificate):
                    call = found.fields if isinstance(found, Response) else found.call
                    if CALL.fullmatch(call.text):
                        self.calls[condition(found).text] = call.text
                return found
            case (("env" | "sprig_env" | "mustEnv"), [Constant(str(variable))]):
                default = "" if name == "mustEnv" else ', ""'
                return Expr(f"env({quote(variable)}{default})", PRIMARY, TEXT, variable=_config_variable(variable))
            case "envOrDefault", [Constant(str(variable)), Constant(str(default))]:
                text = f"env({quote(variable)}, {quote(default)})"
                return Expr(text, PRIMARY, TEXT, variable=_config_variable(variable, f"-{default}"))
            case "index", [value, *keys] if keys:
                for key in keys:
                    value = item(value, as_part(key))
                return value
            case "slice", [value, *bounds] if bounds:
                self._add_note("a slice of a text counts characters; Go's slice counts bytes")
                texts = [to_expr(bound).text for bound in bounds]
                return Expr(f"{to_expr(value):p}[{':'.join(texts)}{':' * (len(bounds) == 1)}]")
            case "print" | "println", _:
                parts = [as_part(value) for value in values]
                if name == "print" and any(_are_of_unknown_type(*pair) for pair in pairwise(parts)):
                    self._add_note(
                        "Go's print puts a space between two numbers or booleans of secrets; the import does not"
                    )
                return translate_print(parts, line=name == "println")
            case "printf", [Constant(str(form)), *rest]:
                if "q" in form:
                    self._add_note(DIFFERENCES["sprig_quote"])
                return translate_printf(form, [as_part(value) for value in rest])
            case _:
                if (literal := patterns.translate(name, values)) is not None:
                    return literal
                constant = constants.evaluate(name, values)
                if constant is not None:
                    return constant
                return self._expression(name, [_argument(name, value) for value in values])

    def _expression(self, name: str, arguments: Sequence[Expr]) -> Expr:
        if name in DIFFERENCES and not _is_exact(name, arguments):
            self._add_note(DIFFERENCES[name])
        match name, arguments:
            case "and", [_, *_]:
                return and_(arguments)
            case (("or" | "sprig_coalesce"), [_, *_]):
                return or_(arguments)
            case "sprig_default", [default, value]:
                return or_([value, default])
            case (("not" | "sprig_empty"), [value]):
                return Expr(f"not {value.condition:n}", NOT, TRUTH)
            case (("eq" | "ne"), [_, *_]):
                return equal(arguments, negated=name == "ne")
            case "loop", ([_] | [_, _]):
                texts = [argument.text if argument.kind == NUMBER else f"{argument:f} | int" for argument in arguments]
                return Expr(f"range({', '.join(texts)})", PRIMARY, NUMBERS)
            case "indent", [Expr(text=width), _] if width.startswith("-"):
                raise UnsupportedError("indent has a negative width, so the other agent fails", "write 0 or more")
            case "sprig_list", _:
                return Expr(f"[{', '.join(argument.text for argument in arguments)}]", PRIMARY, LIST)
            case _:
                return apply(name, arguments)


def _config_variable(variable: str, default: str = "") -> str:
    """The variable as lessee.yaml refers to it; empty if it cannot."""
    return f"${{{variable}{default}}}" if _VARIABLE.fullmatch(variable) and not set(default) & set("${}") else ""


def _not_nil(value: Value | None) -> Value:
    if value is None:
        raise UnsupportedError("the dot is nil", "write the value instead of the dot")
    return value


def _fields(value: Value, names: Sequence[str]) -> Value:
    for name in names:
        value = field(value, name)
    return value


def _constant_text(value: Value) -> str:
    if isinstance(value, Constant) and isinstance(value.value, str):
        return value.value
    raise UnsupportedError(
        "a parameter of a request is computed, and lessee must know it before it renders",
        'write it as a literal, or as name=secret("PATH").KEY in a call of vault(), see docs/reference/any-path.md',
    )


def _argument(function: str, value: Value) -> Expr:
    """The value as an argument. A condition may have a whole response."""
    if isinstance(value, Response | Certificate) and function in _CONDITION_FUNCTIONS:
        return condition(value)
    if isinstance(value, Constant) and isinstance(value.value, float) and function in _WRITING_FUNCTIONS:
        return to_expr(Constant(spell_float(value.value) if value.value else 0))
    return to_expr(value)


def _are_of_unknown_type(*parts: Value) -> bool:
    return all(isinstance(part, Expr) and part.kind == ANY for part in parts)


def _is_exact(function: str, arguments: Sequence[Expr]) -> bool:
    """Whether the result cannot differ for arguments of these types."""
    kinds = {argument.kind for argument in arguments}
    match function:
        case "len":
            return kinds <= {LIST, MAP, NUMBERS}
        case _ if DIFFERENCES[function] == ZERO_IS_FALSE:
            return ANY not in kinds
        case _:
            return False
