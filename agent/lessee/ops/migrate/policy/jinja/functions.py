"""The functions of Go's templates and of consul-template, as Jinja expressions."""

import re
from collections.abc import Mapping, Sequence
from string import Formatter

from lessee.core.immutable import Record, replace
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
    LostError,
)


class Rule(Record, frozen=True):
    """A pattern with the arguments by number, `{1:f}` being the second as an operand of a filter."""

    pattern: str
    level: int = FILTER
    kind: str = TEXT

    @property
    def count(self) -> int:
        """How many arguments it takes."""
        return 1 + max(int(field) for _, field, _, _ in Formatter().parse(self.pattern) if field)


def apply(name: str, arguments: Sequence[Expr]) -> Expr:
    """The call of a function. Raises LostError for one that has no counterpart."""
    rule = _RULES.get(name)
    if rule is None:
        raise _lost(name)
    if len(arguments) != rule.count:
        raise LostError(f"{name} takes {rule.count} arguments and gets {len(arguments)}", "write them out")
    floats = any(one.kind == FLOAT for one in arguments)
    if floats and name == "divide":
        rule = _DIVIDE_FLOATS
    text = rule.pattern.format(*arguments)
    if len(text) > _LONGEST:  # A pattern that names an argument twice doubles it each time.
        raise LostError(f"an expression around {name} becomes too long", "set a part of it to a variable")
    return Expr(text, rule.level, FLOAT if floats and rule.kind == NUMBER and name in _ARITHMETIC else rule.kind)


_LONGEST = 10_000
_DIGITS = re.compile(r'"-?[0-9.]+"')
_ESCAPED = r' | replace("&", "\\u0026") | replace("<", "\\u003c") | replace(">", "\\u003e")'
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
    "divide": Rule("{1:m} // {0:f}", PRODUCT, NUMBER),
    "ge": Rule("{0:c} >= {1:c}", COMPARE, TRUTH),
    "gt": Rule("{0:c} > {1:c}", COMPARE, TRUTH),
    "in": Rule("{1:c} in {0:c}", COMPARE, TRUTH),
    "indent": Rule("{1:f} | indent({0}, true)"),
    "join": Rule("{1:f} | join({0})"),
    "le": Rule("{0:c} <= {1:c}", COMPARE, TRUTH),
    "len": Rule("{0:f} | length", FILTER, NUMBER),
    "lt": Rule("{0:c} < {1:c}", COMPARE, TRUTH),
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

ZERO = "a number 0 in a secret is false to Jinja, where Go takes all numbers of Vault's for true"
_TRUTHS = ("and", "not", "or", "sprig_coalesce", "sprig_default", "sprig_empty", "sprig_ternary")
_JSONS = (
    *("sprig_toJson", "sprig_toPrettyJson", "sprig_toRawJson"),
    *("toJSONPretty", "toUnescapedJSON", "toUnescapedJSONPretty"),
)
_BELOW_ZERO = "`//` and `%` round down, where divide and modulo round towards zero: below zero they differ"
_NO_NUMBER = "`| int` and `| float` give 0 for what is no number, where parseInt and its like fail"
OTHERWISE: Mapping[str, str] = {
    **dict.fromkeys(_TRUTHS, ZERO),
    **dict.fromkeys(["divide", "modulo"], _BELOW_ZERO),
    **dict.fromkeys(["parseFloat", "parseInt", "parseUint"], _NO_NUMBER),
    "indent": "`| indent` indents the first line even if it is empty",
    "len": "`| length` counts the characters of a text, where len counts bytes",
    "parseBool": "what is no boolean is false, where parseBool fails",
    "parseJSON": "numbers of JSON are written in full, where Go writes those of a million and more as 1e+06, and keys"
    " stay in their order, where Go sorts them",
    "sprig_int": "`| int` reads 08 and 1.5 as numbers, where sprig_int gives 0",
    "sprig_quote": "control characters are quoted as in JSON, where Go has escapes of its own",
    **dict.fromkeys(_JSONS, "U+2028 and U+2029 are written as they are, where Go escapes them: the same JSON"),
    "toJSON": "`| json` alone writes <, > and & as they are: the same JSON, and shorter than what the import wrote",
    "toYAML": "YAML may be quoted and folded otherwise than before; it holds the same data",
    "toTitle": "`| title` writes the other letters of a word small, where toTitle leaves them",
}
"""What is to be said of functions whose results can differ."""

_CONSUL = frozenset({
    "byKey", "byMeta", "byPort", "byTag", "caLeaf", "caRoots", "connect", "datacenters", "exportedServices",
    "importedServices", "key", "keyExists", "keyOrDefault", "ls", "node", "nodes", "nomadService", "nomadServices",
    "nomadVar", "nomadVarExists", "nomadVarList", "nomadVarListSafe", "partitions", "peerings", "safeLs", "safeTree",
    "service", "services", "tree",
})  # fmt: skip
_OUTSIDE = frozenset({"file", "plugin", "sockaddr", "spew_dump", "spew_printf", "spew_sdump", "spew_sprintf"})
_CLOCK = frozenset({"timestamp", "sprig_now", "sprig_date", "sprig_ago"})


def _lost(name: str) -> LostError:
    if name in _CONSUL:
        return LostError(
            f"{name} reads Consul or Nomad, and lessee reads Vault alone", "put the value into a KV secret"
        )
    if name in _OUTSIDE:
        what = f"{name} reaches outside the template, which lessee's never do"
        return LostError(what, "put the value into a KV secret, or into the agent's environment and read it with env()")
    if name in _CLOCK:
        return LostError(
            f"{name} gives another time at each rendering, so each would be a change", "leave the time out"
        )
    return LostError(
        f"the function {name} has no counterpart", "write that part another way, or have it done by the reader"
    )


def both(arguments: Sequence[Expr]) -> Expr:
    """Go's `and`: the first that is nothing, or the last."""
    return _chained(arguments, "and", "a", "n", AND)


def either(arguments: Sequence[Expr]) -> Expr:
    """Go's `or`: the first that is anything, or the last; what is missing is as good as nothing."""
    return _chained(arguments, "or", "o", "a", OR)


def _chained(arguments: Sequence[Expr], word: str, first: str, later: str, level: int) -> Expr:
    *before, last = arguments
    texts = [format(one.condition, later if at else first) for at, one in enumerate(before)]
    spec = later if before else first
    kind = last.kind if all(one.kind == last.kind for one in arguments) else ANY
    whole = Expr(f" {word} ".join([*texts, format(last, spec)]), level, kind)
    return replace(whole, absent=Expr(f" {word} ".join([*texts, format(last.condition, spec)]), level, kind))


def equal(arguments: Sequence[Expr], *, is_not: bool = False) -> Expr:
    """Go's `eq`, of one with any of several, and `ne`. What is a number in Vault equals its digits."""
    digits = any(_DIGITS.fullmatch(one.text) for one in arguments)
    first, *others = [
        Expr(f"{one:f} | string", FILTER, TEXT) if digits and one.kind == ANY else one for one in arguments
    ]
    if len(others) == 1:
        return Expr(f"{first:c} {'!=' if is_not else '=='} {others[0]:c}", COMPARE, TRUTH)
    if is_not or not others:
        raise LostError("eq and ne compare two values", "write both of them")
    return Expr(f"{first:c} in [{', '.join(f'{one}' for one in others)}]", COMPARE, TRUTH)
