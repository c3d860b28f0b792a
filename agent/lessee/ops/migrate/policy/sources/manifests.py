"""Finds the workloads with annotations of an injector in a Kubernetes manifest."""

from collections.abc import Iterator

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from lessee.core.errors import ConfigError, LesseeError
from lessee.core.hcl import Block, Item
from lessee.core.immutable import ImmutableStruct
from lessee.core.source_text import Text

PREFIXES = ("vault.hashicorp.com/", "openbao.org/")
"""The prefixes of the annotations of Vault's and OpenBao's injector."""


class Workload(ImmutableStruct, frozen=True):
    """A pod or a resource that creates pods, and its annotations without the prefix."""

    kind: str
    name: str
    annotations: Block


def find_workloads(text: str, source: str) -> Iterator[Workload]:
    """The workloads with annotations of an injector. Raises ConfigError for invalid YAML."""
    for document in _documents(text, source):
        for resource in _resources(document):
            metadata = _at(resource, "spec", "jobTemplate", "spec", "template", "metadata") or _at(
                resource, "spec", "template", "metadata"
            )
            annotations = _at(metadata or _at(resource, "metadata"), "annotations")
            block = _block(annotations, source)
            if block.items:
                name = _text(_at(resource, "metadata", "name")) or "app"
                yield Workload(_text(_at(resource, "kind")), name, block)


# libyaml is faster and limits the nesting; PyYAML's wheels contain it, but a build from source may not.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _documents(text: str, source: str) -> list[Node]:
    try:
        return list(yaml.compose_all(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark is not None else 1
        raise _error(f"{source}:{line}", "invalid YAML") from None
    except (yaml.YAMLError, RecursionError):
        raise _error(source, "invalid YAML, or nested too deeply") from None


def _error(where: str, what: str) -> ConfigError:
    return ConfigError([LesseeError(what, where=where)])


def _resources(document: Node) -> list[Node]:
    """The items of a list, or the document itself."""
    items = _at(document, "items")
    return list(items.value) if isinstance(items, SequenceNode) else [document]


def _at(node: Node | None, *path: str) -> Node | None:
    for key in path:
        if not isinstance(node, MappingNode):
            return None
        node = next((value for name, value in node.value if name.value == key), None)
    return node


def _text(node: Node | None) -> str:
    return str(node.value) if isinstance(node, ScalarNode) else ""


def _block(annotations: Node | None, source: str) -> Block:
    items: list[Item] = []
    pairs = annotations.value if isinstance(annotations, MappingNode) else []
    for name, value in pairs:
        key, line = _text(name), int(name.start_mark.line) + 1
        for prefix in PREFIXES:
            if key.startswith(prefix) and isinstance(value, ScalarNode):
                literal = value.style == "|"
                text = Text(
                    value.value, source, int(value.start_mark.line) + (2 if literal else 1), is_multiline=literal
                )
                items.append(Item((key.removeprefix(prefix),), text, line))
    return Block(tuple(items), items[0].line if items else 1)
