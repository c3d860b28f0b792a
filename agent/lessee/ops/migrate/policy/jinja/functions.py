"""Translates the functions of Go templates and consul-template to Jinja expressions."""

import re
from collections.abc import Mapping, Sequence
from string import Formatter

from lessee.core.immutable import ImmutableStruct, replace
from lessee.ops.migrate.policy.jinja.expressions import (
    AND,
    ANY,
    COMPARE,
    CONCAT,
    CONDITION,
    FILTER,
    FLOAT,
    LIST,
    NUMBER,
    OR,
    PRIMARY,
    PRODUCT,
    SUM,
    TEXT,
    TRUTH,
    Expr,
    UnsupportedError,
    quote,
)


class Rule(ImmutableStruct, frozen=True):
    """A pattern with numbered arguments: `{1:f}` is the second one as the operand of a filter."""

    pattern: str
    precedence: int = FILTER
    kind: str = TEXT

    @property
    def count(self) -> int:
        """The number of arguments."""
        return 1 + max(int(field) for _, field, _, _ in Formatter().parse(self.pattern) if field)


def apply(name: str, arguments: Sequence[Expr]) -> Expr:
    """Translate the call of a function. Raises UnsupportedError."""
    rule = _RULES.get(name)
    if rule is None:
        raise _unsupported(name)
    if len(arguments) != rule.count:
        what = f"{name} expects {rule.count} argument{'s' * (rule.count != 1)}, but has {len(arguments)}"
        raise UnsupportedError(what, "correct the arguments")
    floats = any(argument.kind == FLOAT for argument in arguments)
    if floats and name == "divide":
        rule = _DIVIDE_FLOATS
    text = rule.pattern.format(*arguments)
    if len(text) > _MAX_LENGTH:  # Nested patterns that contain an argument twice grow exponentially.
        raise UnsupportedError(f"the expression with {name} is too long", "assign a part of it to a variable")
    return Expr(text, rule.precedence, FLOAT if floats and rule.kind == NUMBER and name in _ARITHMETIC else rule.kind)


_MAX_LENGTH = 10_000
_DIGITS = re.compile(r'"-?[0-9.]+"')
_ESCAPED = r' | replace("&", "\\u0026") | replace("<", "\\u003c") | replace(">", "\\u003e")'
_HTML = "".join(
    f" | replace({quote(char)}, {quote(entity)})"
    for char, entity in {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;", "\0": "\ufffd"}.items()
)
_SPLIT = "({1:f} | trim).split({0}) if {1:f} | trim else []"

_ARITHMETIC = frozenset({"add", "divide", "maximum", "minimum", "multiply", "subtract"})
_DIVIDE_FLOATS = Rule("{1:m} / {0:f}", PRODUCT, FLOAT)

_RULES: Mapping[str, Rule] = {
    "add": Rule("{1:s} + {0:t}", SUM, NUMBER),
    "base64Decode": Rule("{0:f} | b64decode"),
    "base64Encode": Rule("{0:f} | b64encode"),
    "base64URLDecode": Rule('{0:f} | replace("-", "+") | replace("_", "/") | b64decode'),
    "base64URLEncode": Rule('{0:f} | b64encode | replace("+", "-") | replace("/", "_")'),
    "contains": Rule("{0:c} in {1:c}", COMPARE, TRUTH),
    "containsAll": Rule('{0:f} | reject("in", {1}) | list == []', COMPARE, TRUTH),
    "containsAny": Rule('{0:f} | select("in", {1}) | list != []', COMPARE, TRUTH),
    "containsNone": Rule('{0:f} | select("in", {1}) | list == []', COMPARE, TRUTH),
    "containsNotAll": Rule('{0:f} | reject("in", {1}) | list != []', COMPARE, TRUTH),
    "divide": Rule("{1:m} // {0:f}", PRODUCT, NUMBER),
    "ge": Rule("{0:c} >= {1:c}", COMPARE, TRUTH),
    "gt": Rule("{0:c} > {1:c}", COMPARE, TRUTH),
    "hmacSHA256Hex": Rule("{0:f} | hmac_sha256({1})"),
    "html": Rule("{0:f}" + _HTML),
    "in": Rule("{1:c} in {0:c}", COMPARE, TRUTH),
    "indent": Rule("{1:f} | indent({0}, true)"),
    "join": Rule("{1:f} | join({0})"),
    "le": Rule("{0:c} <= {1:c}", COMPARE, TRUTH),
    "len": Rule("{0:f} | length", FILTER, NUMBER),
    "lt": Rule("{0:c} < {1:c}", COMPARE, TRUTH),
    "md5sum": Rule("{0:f} | md5"),
    "maximum": Rule("[{1}, {0}] | max", FILTER, NUMBER),
    "minimum": Rule("[{1}, {0}] | min", FILTER, NUMBER),
    "modulo": Rule("{1:m} % {0:f}", PRODUCT, NUMBER),
    "multiply": Rule("{1:m} * {0:f}", PRODUCT, NUMBER),
    "parseBool": Rule('{0:f} | lower in ["1", "t", "true"]', COMPARE, TRUTH),
    "parseFloat": Rule("{0:f} | float", FILTER, FLOAT),
    "parseInt": Rule("{0:f} | int", FILTER, NUMBER),
    "parseJSON": Rule("{0:f} | fromjson", FILTER, ANY),
    "parseUint": Rule("{0:f} | int", FILTER, NUMBER),
    "replaceAll": Rule("{2:f} | replace({0}, {1})"),
    "sha256Hex": Rule("{0:f} | sha256"),
    "split": Rule(_SPLIT, CONDITION, LIST),
    "sprig_b64dec": Rule("{0:f} | b64decode"),
    "sprig_b64enc": Rule("{0:f} | b64encode"),
    "sprig_contains": Rule("{0:c} in {1:c}", COMPARE, TRUTH),
    "sprig_hasKey": Rule("{1:c} in {0:c}", COMPARE, TRUTH),
    "sprig_hasPrefix": Rule("{1:p}.startswith({0})", PRIMARY, TRUTH),
    "sprig_hasSuffix": Rule("{1:p}.endswith({0})", PRIMARY, TRUTH),
    "sprig_indent": Rule("{1:f} | indent({0}, true, true)"),
    "sprig_int": Rule("{0:f} | int", FILTER, NUMBER),
    "sprig_join": Rule("{1:f} | join({0})"),
    "sprig_lower": Rule("{0:f} | lower"),
    "sprig_nindent": Rule('"\\n" ~ ({1:f} | indent({0}, true, true))', CONCAT),
    "sprig_quote": Rule("{0:f} | string | json"),
    "sprig_replace": Rule("{2:f} | replace({0}, {1})"),
    "sprig_sha256sum": Rule("{0:f} | sha256"),
    "sprig_splitList": Rule("{1:p}.split({0})", PRIMARY, LIST),
    "sprig_squote": Rule('"\'" ~ {0:m} ~ "\'"', CONCAT),
    "sprig_ternary": Rule("{0:o} if {2:o} else {1:o}", CONDITION, ANY),
    "sprig_toJson": Rule("{0:f} | json" + _ESCAPED),
    "sprig_toPrettyJson": Rule("{0:f} | json(2)" + _ESCAPED),
    "sprig_toRawJson": Rule("{0:f} | json"),
    "sprig_toString": Rule("{0:f} | string"),
    "sprig_trim": Rule("{0:f} | trim"),
    "sprig_trimAll": Rule("{1:f} | trim({0})"),
    "sprig_trimPrefix": Rule("{1:p}.removeprefix({0})", PRIMARY),
    "sprig_trimSuffix": Rule("{1:p}.removesuffix({0})", PRIMARY),
    "sprig_upper": Rule("{0:f} | upper"),
    "subtract": Rule("{1:s} - {0:t}", SUM, NUMBER),
    "toJSON": Rule("{0:f} | json" + _ESCAPED),
    "toJSONPretty": Rule("{0:f} | json(2)" + _ESCAPED),
    "toLower": Rule("{0:f} | lower"),
    "toTitle": Rule("{0:f} | title"),
    "toUnescapedJSON": Rule("{0:f} | json"),
    "toUnescapedJSONPretty": Rule("{0:f} | json(2)"),
    "toUpper": Rule("{0:f} | upper"),
    "toYAML": Rule("{0:f} | yaml | trim"),
    "trim": Rule("{1:f} | trim({0})"),
    "trimPrefix": Rule("{1:p}.removeprefix({0})", PRIMARY),
    "trimSpace": Rule("{0:f} | trim"),
    "trimSuffix": Rule("{1:p}.removesuffix({0})", PRIMARY),
    "urlquery": Rule('{0:f} | urlencode | replace("%20", "+")'),
}

ZERO_IS_FALSE = "Jinja treats a number 0 in a secret as false; Go treats all numbers from Vault as true"
_CONDITIONS = ("and", "not", "or", "sprig_coalesce", "sprig_default", "sprig_empty", "sprig_ternary")
_JSON_FUNCTIONS = (
    *("sprig_toJson", "sprig_toPrettyJson", "sprig_toRawJson"),
    *("toJSONPretty", "toUnescapedJSON", "toUnescapedJSONPretty"),
)
_NEGATIVE = "for negative numbers, `//` and `%` round down; Go's divide and modulo round toward zero"
_NOT_A_NUMBER = "`| int` and `| float` return 0 for text that is not a number; Go's parse functions fail"
DIFFERENCES: Mapping[str, str] = {
    **dict.fromkeys(_CONDITIONS, ZERO_IS_FALSE),
    **dict.fromkeys(["divide", "modulo"], _NEGATIVE),
    **dict.fromkeys(["parseFloat", "parseInt", "parseUint"], _NOT_A_NUMBER),
    "indent": "`| indent` also indents an empty first line",
    "len": "`| length` counts the characters of a text; Go's len counts bytes",
    "parseBool": "a text that is not a boolean is false; Go's parseBool fails",
    "parseJSON": "Jinja writes JSON numbers in full and keeps the order of keys; Go writes large numbers as 1e+06 and"
    " sorts keys",
    "sprig_int": "`| int` accepts 08 and 1.5; Go's sprig_int returns 0 for them",
    "sprig_quote": "control characters are escaped as in JSON; Go has other escapes",
    **dict.fromkeys(_JSON_FUNCTIONS, "U+2028 and U+2029 are not escaped; Go escapes them (equivalent JSON)"),
    "toJSON": "the import escapes <, > and & as Go does; `| json` alone writes equivalent, shorter JSON",
    "toYAML": "YAML may be quoted and folded differently (equivalent data)",
    "toTitle": "`| title` changes the other letters of a word to lower case, and begins a word after white space and"
    " - ( [ { < only; Go's toTitle keeps them, and begins one after nearly every sign",
}
"""How the results of functions may differ from Go's."""

_CONSUL = frozenset({
    "byKey", "byMeta", "byPort", "byTag", "caLeaf", "caRoots", "connect", "datacenters", "exportedServices",
    "importedServices", "key", "keyExists", "keyOrDefault", "ls", "node", "nodes", "nomadService", "nomadServices",
    "nomadVar", "nomadVarExists", "nomadVarList", "nomadVarListSafe", "partitions", "peerings", "safeLs", "safeTree",
    "service", "services", "tree",
})  # fmt: skip
_EXTERNAL = frozenset({"file", "plugin", "sockaddr"})
_DEBUG = frozenset({"spew_dump", "spew_printf", "spew_sdump", "spew_sprintf"})
_CLOCK = frozenset({"timestamp", "sprig_now", "sprig_date", "sprig_ago"})


def _unsupported(name: str) -> UnsupportedError:
    if name in _CONSUL:
        what = f"{name} reads Consul or Nomad, and lessee reads only Vault"
        return UnsupportedError(what, "put the value into a KV secret")
    if name in _EXTERNAL:
        what = f"{name} accesses files, programs or the network, which lessee's templates cannot"
        todo = "put the value into a KV secret, or into the agent's environment and read it with env()"
        return UnsupportedError(what, todo)
    if name in _DEBUG:
        return UnsupportedError(f"{name} writes the types of Go's values, for debugging", "remove it, or use toJSON")
    if name in _CLOCK:
        what = f"{name} returns another time at each rendering, so the file would change each time"
        return UnsupportedError(what, "remove it")
    return UnsupportedError(f"lessee has no function {name}", "rewrite this part, or let the reader of the file do it")


def and_(arguments: Sequence[Expr]) -> Expr:
    """Go's `and`: the first false argument, or the last one."""
    return _chain(arguments, "and", "a", "n", AND)


def or_(arguments: Sequence[Expr]) -> Expr:
    """Go's `or`: the first true argument, or the last one. A missing field is false."""
    return _chain(arguments, "or", "o", "a", OR)


def _chain(arguments: Sequence[Expr], operator: str, first: str, later: str, precedence: int) -> Expr:
    *before, last = arguments
    texts = [format(argument.condition, later if at else first) for at, argument in enumerate(before)]
    spec = later if before else first
    kind = last.kind if all(argument.kind == last.kind for argument in arguments) else ANY
    chain = Expr(f" {operator} ".join([*texts, format(last, spec)]), precedence, kind)
    optional = Expr(f" {operator} ".join([*texts, format(last.condition, spec)]), precedence, kind)
    return replace(chain, optional=optional)


def equal(arguments: Sequence[Expr], *, negated: bool = False) -> Expr:
    """Go's `eq`, which compares the first argument with each of the others, and `ne`.

    A number in a secret equals the text of its digits.
    """
    with_digits = any(_DIGITS.fullmatch(argument.text) for argument in arguments)
    first, *others = [
        Expr(f"{argument:f} | string", FILTER, TEXT) if with_digits and argument.kind == ANY else argument
        for argument in arguments
    ]
    if len(others) == 1:
        return Expr(f"{first:c} {'!=' if negated else '=='} {others[0]:c}", COMPARE, TRUTH)
    if negated or not others:
        raise UnsupportedError("eq needs at least two values, and ne exactly two", "correct the arguments")
    return Expr(f"{first:c} in [{', '.join(f'{other}' for other in others)}]", COMPARE, TRUTH)
