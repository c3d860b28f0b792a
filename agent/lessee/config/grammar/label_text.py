"""The texts of labels: what Compose escapes in them, and YAML where a key takes a list or a mapping."""

import re

from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from lessee.config.grammar.nodes import compose_value
from lessee.core.errors import ConfigError, LesseeError

_TYPES = {"string": "str", "integer": "int", "boolean": "bool"}
_PREFIX = "tag:yaml.org,2002:"
_YAML = re.compile(r"\s*[\[{]|\s*- ")
_VARIABLE = re.compile(r"(?<!\$)(?:\$\$)*\$(?:\{|[A-Za-z_])")


def unescape(text: str) -> str | None:
    """The text as a container gets it: Compose writes `$` as `$$`. None if it has a variable that is not replaced."""
    return None if _VARIABLE.search(text) else text.replace("$$", "$")


def escape(text: str) -> str:
    """The text as a Compose file has it."""
    return text.replace("$", "$$")


def typed_node(node: Node, kind: str, *, may_be_yaml: bool) -> Node:
    """The node of a label's text, as a scalar of this type. Raises ConfigError.

    `may_be_yaml`: the key takes a list or a mapping too, which begins with `[`, `{` or `- `.
    """
    text = str(node.value)
    if not may_be_yaml or not _YAML.match(text):
        return ScalarNode(f"{_PREFIX}{_TYPES[kind]}", text, node.start_mark, node.end_mark)
    try:
        found = compose_value(text, "label")
    except ConfigError as exc:
        [problem] = exc.problems
        line = problem.where.rpartition(":")[2]
        raise _error(f"line {line} of its text: {problem.what}", problem.todo) from None
    assert found is not None  # The text begins a list or a mapping.
    waiting, seen = [found], set[int]()
    while waiting:
        inner = waiting.pop()
        if id(inner) in seen:
            raise _error("its text has a YAML alias", "write the value out")
        seen.add(id(inner))
        inner.start_mark = node.start_mark
        if isinstance(inner, MappingNode):
            waiting += [part for pair in inner.value for part in pair]
        elif isinstance(inner, CollectionNode):
            waiting += inner.value
    return found


def _error(what: str, todo: str) -> ConfigError:
    return ConfigError([LesseeError(what, todo=todo)])
