"""Evaluates functions of constants, where Jinja has no such function or another result."""

import json
import re
from collections.abc import Sequence
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from lessee.ops.migrate.policy.golang.nodes import Constant
from lessee.ops.migrate.policy.jinja.expressions import FILTER, LIST, MAP, Expr, UnsupportedError, quote


def evaluate(name: str, arguments: Sequence[object]) -> Constant | Expr | None:
    """The result of the function for constants; None if its Jinja expression has the same result.

    Raises UnsupportedError where the other agent fails, or where the result is not certain.
    """
    match name, arguments:
        case "parseFloat", [Constant(str(text))] if _FLOAT.fullmatch(text):
            return Constant(float(text))
        case (("parseInt" | "parseUint"), [Constant(str(text))]) if _INT.fullmatch(text):
            return Constant(int(text))
        case "toTitle", [Constant(str(text))] if not _JOINS_WORDS.search(text):
            return Constant(_WORD.sub(_title, text))
        case "parseJSON", [Constant(str(text))]:
            return _parse_json(text)
        case "parseYAML", [Constant(str(text))]:
            return _structure(_parse_yaml(text))
        case "splitToMap", [Constant(str(separator)), Constant(str(equals)), Constant(str(text))] if separator:
            return _structure(_split_to_map(text.strip(), separator, equals))
        case _:
            return None


_FLOAT = re.compile(r"[-+]?[0-9]{1,15}(?:\.[0-9]{1,15})?")
_INT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_WORD = re.compile(r"\w+")
_JOINS_WORDS = re.compile("[.:'\u2019\u00b7\u2027\u0300-\u036f\u200d]")
"""Signs that join two words in some places."""
_MAX_YAML = 100_000


def _title(word: re.Match[str]) -> str:
    """The word with its first letter in upper case, as golang.org/x/text writes it."""
    text = word[0]
    at = next((at for at, char in enumerate(text) if char.isalpha()), 0)
    return text[:at] + text[at : at + 1].title() + text[at + 1 :]


def _split_to_map(text: str, separator: str, equals: str) -> dict[str, str]:
    parts = text.split(separator) if text else []
    if not equals:  # Each part is the value of the empty key.
        return dict.fromkeys([""] * bool(parts), "".join(parts[-1:]))
    return {key: value for key, found, value in (part.partition(equals) for part in parts) if found}


def _parse_json(text: str) -> Expr | None:
    try:
        value = json.loads(text, parse_float=_refuse, parse_constant=_refuse)
    except ValueError:
        return None
    except RecursionError:
        raise UnsupportedError("the text is nested too deeply", "make it flat") from None
    return _structure(value) if isinstance(value, dict | list) else None


def _refuse(text: str) -> None:
    raise ValueError(text)


def _structure(value: Any) -> Expr:
    kind = MAP if isinstance(value, dict) else LIST
    return Expr(f"{quote(json.dumps(value, ensure_ascii=False))} | fromjson", FILTER, kind)


def _parse_yaml(text: str) -> Any:
    """The structure of YAML that all parsers read alike."""
    unclear = UnsupportedError("parseYAML gets YAML that parsers read differently", "write it as JSON, with parseJSON")
    if len(text) > _MAX_YAML or re.search(r"(?:^|[\s\[{,])(?:[&*!]|<<)", text):
        raise unclear
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        value = _plain(node) if node is not None else {}
    except (yaml.YAMLError, ValueError, RecursionError):
        raise unclear from None
    if not isinstance(value, dict | list):
        raise unclear
    return value


def _plain(node: Node) -> Any:
    """The value of a node. Raises ValueError for one that depends on YAML's version, or on the parser."""
    match node:
        case MappingNode():
            pairs = [(_plain(key), _plain(value)) for key, value in node.value]
            mapping = dict(pairs)
            if len(mapping) < len(pairs) or not all(isinstance(key, str) for key in mapping):
                raise ValueError
            return mapping
        case SequenceNode():
            return [_plain(item) for item in node.value]
        case ScalarNode(value=str(text), tag=tag) if node.style or tag == _STR:
            if node.style is None and _ONLY_IN_YAML_1_1.fullmatch(text):
                raise ValueError
            return text
        case ScalarNode(value=("true" | "false") as text):
            return text == "true"
        case ScalarNode(value=str(text)) if _INT.fullmatch(text):
            return int(text)
        case _:
            raise ValueError


_STR = "tag:yaml.org,2002:str"
_ONLY_IN_YAML_1_1 = re.compile(r"[yYnN]|0o[0-7]+|[-+.0-9][-+.:_eExX0-9]*")
"""What some parsers do not read as a text, besides what PyYAML's resolver finds."""
