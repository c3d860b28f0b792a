"""Parses what SOPS writes, as YAML, JSON or dotenv: nothing that grows, and no type that its MAC would not know."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from lessee.sources.policy.sops_format import SopsError, SopsMetadata, metadata_of, unflattened

ENDINGS = (".yaml", ".yml", ".json", ".env")
"""Of the files that are read."""
_BLOCK = "sops"
_MAX_DEPTH = 60
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
_WORDS: Mapping[str, object] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_UNLIKE = re.compile(
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[tT ].*)?|[-+]?0[xXoObB][0-9a-fA-F_]+|[-+]?0[0-9_]+"
    r"|[-+]?[0-9][0-9_]*_[0-9_.]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
"""Plain scalars that YAML may take for a time or another notation of a number."""

# libyaml, where it is there.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse(text: str, ending: str) -> tuple[Mapping[str, Any], SopsMetadata]:
    """The encrypted tree of a file, and its metadata. Raises SopsError."""
    if ending == ".env":
        values, block = unflattened(_dotenv(text))
        return values, metadata_of(block or None)
    try:
        tree = _json(text) if ending == ".json" else _yaml(text)
    except RecursionError:
        raise SopsError(f"it has more than {_MAX_DEPTH} levels") from None
    if not isinstance(tree, dict):
        raise SopsError("it is no mapping of names to values")
    block = tree.pop(_BLOCK, None)
    return tree, metadata_of(block)


def _dotenv(text: str) -> Iterator[tuple[str, str]]:
    for line in text.split("\n"):
        if line and not line.startswith("#"):
            key, sign, value = line.partition("=")
            if not sign:
                raise SopsError("a line in it has no `=`")
            yield key, value.replace("\\n", "\n")


def _json(text: str) -> Any:
    def constant(_name: str) -> Any:
        raise SopsError("it has a number that JSON does not have")

    try:
        tree = json.loads(text, object_pairs_hook=_mapping, parse_constant=constant)
        json.dumps(tree, ensure_ascii=False).encode()
    except SopsError:
        raise
    except UnicodeEncodeError:
        raise SopsError("it has half a surrogate pair, which is invalid UTF-8") from None
    except ValueError:
        raise SopsError("it is not valid JSON") from None
    return tree


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise SopsError("it has the same key twice")
    return found


def _yaml(text: str) -> Any:
    try:
        depth = 0
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, AliasEvent):
                raise SopsError("it has an alias, which SOPS never writes")
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > _MAX_DEPTH:
                raise SopsError(f"it has more than {_MAX_DEPTH} levels")
        return _plain(yaml.compose(text, Loader=_LOADER))
    except (yaml.YAMLError, ValueError) as exc:
        if isinstance(exc, SopsError):
            raise
        # Its text may quote the file.
        raise SopsError("it is not one document of YAML") from None


def _plain(node: Node | None) -> Any:
    match node:
        case MappingNode(value=pairs):
            return _mapping([(_key(key), _plain(value)) for key, value in pairs])
        case SequenceNode(value=items):
            return [_plain(item) for item in items]
        case ScalarNode():
            return _scalar(node)
        case _:
            return None


def _key(node: Node) -> str:
    if not isinstance(node, ScalarNode) or node.value == "<<":
        raise SopsError("a key in it is no text")
    return str(node.value)


def _scalar(node: ScalarNode) -> Any:
    text = str(node.value)
    if node.style:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _UNLIKE.fullmatch(text):
        raise SopsError("an unencrypted value in it is a time or an unusual number; quote it")
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
