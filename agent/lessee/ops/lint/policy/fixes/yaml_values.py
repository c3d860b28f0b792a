"""What a YAML text means, so that an edit is held against what it should change."""

from collections.abc import Mapping

from yaml.nodes import MappingNode, Node, SequenceNode

from lessee.config.grammar.nodes import NULL, STRING, documents, entries_of, kind_of
from lessee.core.errors import ConfigError, LesseeError
from lessee.ops.lint.policy.fixes.model import Data, Path
from lessee.ops.lint.policy.fixes.yaml_text import flow

Value = tuple[str, str] | list["Value"] | dict[str, "Value"]
"""A scalar with its kind, a list, or a mapping with what `<<` merges."""
_MOST = 50_000
"""Values: aliases can make more of them than any memory holds."""
_DEPTH = len(("services", "web", "networks"))
_MEMBER: Value = (NULL, "")
_STARTED: Value = {"condition": (STRING, "service_started")}


class NotEditableError(LesseeError):
    """The text is written in a way in which an edit would change more than it should."""


def root_of(text: str) -> MappingNode:
    """The root of the only document. Raises NotEditableError."""
    try:
        roots = documents(text, "")
    except ConfigError:
        raise NotEditableError("it is not valid YAML") from None
    if len(roots) != 1:
        raise NotEditableError("the file has several documents")
    return roots[0]


def values_of(text: str) -> Value:
    """The values of a text, where equal ones mean the same for Compose. Raises NotEditableError."""
    return _Reader().value(root_of(text), ())


def with_document(value: Value, document: Mapping[str, Data], path: Path = ()) -> Value:
    """The values with a document added to the mapping at a path. Raises NotEditableError."""
    before, new = at(value, path), values_of(flow(document))
    if before is None:
        raise NotEditableError("it is not written there")
    return _replaced(value, path, _merged(before, new)) if path else _merged(before, new)


def with_scalar(value: Value, path: Path, new: str) -> Value:
    """The values with another string at a path."""
    return _replaced(value, path, (STRING, new))


def without(value: Value, path: Path) -> Value:
    """The values without a key or an item, and without its collection if that would be empty."""
    parent = at(value, path[:-1])
    if parent is not None and len(parent) == 1 and len(path) > 1:
        return without(value, path[:-1])
    return _replaced(value, path, None)


def at(value: Value, path: Path) -> Value | None:
    """The value at a path, if there is one."""
    found: Value | None = value
    for step in path:
        match found, step:
            case dict(), str():
                found = found.get(step)
            case list(), int() if step < len(found):
                found = found[step]
            case _:
                return None
    return found


class _Reader:
    def __init__(self) -> None:
        self._count = 0

    def value(self, node: Node, path: Path) -> Value:
        self._count += 1
        if self._count > _MOST or len(path) > 100:  # noqa: PLR2004  # Deeper than any file of people.
            raise NotEditableError("its aliases expand to too many values")
        if isinstance(node, MappingNode):
            return {key: self.value(item, (*path, key)) for key, (_, item) in entries_of(node).nodes.items()}
        if not isinstance(node, SequenceNode):
            kind = kind_of(node)
            tag = f"{node.tag} " if node.tag.startswith("!") else ""
            return _MEMBER if kind == NULL else (kind, f"{tag}{node.value}")
        items = [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return _as_mapping(path, items) if len(path) == _DEPTH and path[0] == "services" else items


def _as_mapping(path: Path, items: list[Value]) -> Value:
    """A list of a service as the mapping that means the same."""
    texts = [item[1] for item in items if isinstance(item, tuple)]
    match path[-1]:
        case "depends_on":
            return dict.fromkeys(texts, _STARTED)
        case "networks":
            return dict.fromkeys(texts, _MEMBER)
        case "environment":
            pairs = [text.partition("=") for text in texts]
            return {name: (STRING, found) if equals else _MEMBER for name, equals, found in pairs}
        case _:
            return items


def _merged(before: Value, new: Value) -> Value:
    if isinstance(before, dict) and isinstance(new, dict):
        return before | {key: _merged(before[key], item) if key in before else item for key, item in new.items()}
    if isinstance(before, list) and isinstance(new, list):
        return [*before, *(item for item in new if item not in before)]
    return new


def _replaced(value: Value, path: Path, new: Value | None) -> Value:
    """None removes it."""
    below = new if len(path) == 1 else _replaced(at(value, path[:1]) or {}, path[1:], new)
    if isinstance(value, dict):
        rest = {key: item for key, item in value.items() if key != path[0]}
        return rest if below is None else rest | {str(path[0]): below}
    assert isinstance(value, list)
    step = int(path[0])
    return [*value[:step], *([] if below is None else [below]), *value[step + 1 :]]
