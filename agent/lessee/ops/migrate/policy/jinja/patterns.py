"""Translates functions with a regular expression that is a plain text, which Jinja has without one."""

import re
from collections.abc import Sequence

from lessee.ops.migrate.policy.golang.nodes import Constant
from lessee.ops.migrate.policy.jinja.expressions import COMPARE, FILTER, PRIMARY, TEXT, TRUTH, Expr, quote
from lessee.ops.migrate.policy.jinja.values import Value, to_expr


def translate(name: str, arguments: Sequence[Value]) -> Expr | None:
    """The call of regexMatch or regexReplaceAll; None for another one, or for a pattern with a choice."""
    match name, arguments:
        case "regexMatch", [Constant(str(pattern)), value] if found := _ANCHORED.fullmatch(pattern):
            text, subject = quote(_unescaped(found["text"])), to_expr(value)
            match bool(found["start"]), bool(found["end"]):
                case True, True:
                    return Expr(f"{subject:c} == {text}", COMPARE, TRUTH)
                case True, False:
                    return Expr(f"{subject:p}.startswith({text})", PRIMARY, TRUTH)
                case False, True:
                    return Expr(f"{subject:p}.endswith({text})", PRIMARY, TRUTH)
                case _:
                    return Expr(f"{text} in {subject:c}", COMPARE, TRUTH)
        case "regexReplaceAll", [Constant(str(pattern)), Constant(str(new)), value] if (
            (found := _ANCHORED.fullmatch(pattern)) and not found["start"] and not found["end"] and "$" not in new
        ):
            text = quote(_unescaped(found["text"]))
            return Expr(f"{to_expr(value):f} | replace({text}, {quote(new)})", FILTER, TEXT)
        case _:
            return None


_ANCHORED = re.compile(r"(?P<start>\^?)(?P<text>(?:[^\\.+*?()|\[\]{}^$]|\\[^\w\s])+)(?P<end>\$?)")
"""A pattern without a choice: texts, escaped signs, and the start and end of the text."""


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
