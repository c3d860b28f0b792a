"""Reads apps out of the labels of a resolved Compose model, into the nodes that lessee.yaml would have for them.

A label may come from the author of any service. So nothing in it is expanded, and what it gets wrong is its own.
"""

import re
from collections.abc import Iterator, Mapping

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from lessee.config.grammar.label_text import unescape
from lessee.config.grammar.nodes import LABEL, NULL, Entries, entries_of, kind_of, line_of
from lessee.config.grammar.problems import Path, spell
from lessee.core.immutable import ImmutableStruct, replace
from lessee.core.inline_references import may_have_reference

PREFIX = "lessee."
_STRING, _NULL, _MAPPING, _SEQUENCE = (f"tag:yaml.org,2002:{name}" for name in ("str", "null", "map", "seq"))
_DEEPEST = 10
_Tree = dict[str, "Node | _Tree"]
_FILES = re.compile(r"(template|format|mode|owner)\.(.+)", re.DOTALL)
_SHORT: Mapping[Path, Path] = {
    ("notify",): ("notify", "action"),
    ("notify", "cmdline"): ("notify", "process", "cmdline"),
    ("notify", "name"): ("notify", "process", "name"),
}
"""The longer names of labels. `lessee.notify` may also be the whole mapping."""
_SETTINGS = "`true` for the references in `environment`, or `all` for all variables in it"
_ENV_FILE = "env.sh"


class Fault(ImmutableStruct, frozen=True):
    """What is wrong with a label or variable."""

    key: str
    line: int
    what: str
    todo: str = ""


class LabeledApp(ImmutableStruct, frozen=True):
    """An app of a service's labels. It is the Origin of its problems."""

    hidden = ("node",)

    source: str
    service: str
    line: int
    name: Node
    """The name of the app."""
    node: MappingNode
    """What `apps.NAME` of lessee.yaml would have."""
    keys: Mapping[Path, str]
    """The label or variable that sets a key."""
    faults: tuple[Fault, ...]

    def with_default(self, key: str, text: str) -> MappingNode:
        """The node with a key that no label sets."""
        if any(name.value == key for name, _ in self.node.value):
            return self.node
        pair = (_key(key, self.name), _scalar(text, self.name))
        return MappingNode(self.node.tag, [*self.node.value, pair], self.node.start_mark, self.node.end_mark)

    def spell(self, path: Path) -> str:
        """Format a key of the app as the label that sets it."""
        below, place = path[2:], f"service {printable(self.service)}"
        for end in range(len(below), 0, -1):
            if (key := self.keys.get(below[:end])) is not None:
                rest = spell(("", *below[end:]))
                return f"service {printable(self.service)}: {printable(key)}{rest}"
        return f"{place}: {PREFIX}{spell(below)}" if below else place


def labeled_apps(root: MappingNode, source: str) -> Iterator[LabeledApp]:
    """The apps of a model, by the root of its YAML or JSON, and its name."""
    for name, (_, service) in _entries(_child(root, "services")).nodes.items():
        place = _child(service, "labels")
        labels, faults = _pairs(place)
        own = {key: pair for key, pair in labels.items() if key.startswith(PREFIX)}
        faults = [fault for fault in faults if fault.key.startswith(PREFIX)]
        if place is not None and (own or faults):
            yield _App(source, name, own, faults, _child(service, "environment")).read(place)


class _App:
    """Collects the labels of one service."""

    def __init__(
        self, source: str, service: str, labels: Mapping[str, ScalarNode], faults: list[Fault], environment: Node | None
    ) -> None:
        self._source = source
        self._service = service
        self._labels = labels
        self._faults = faults
        self._keys: dict[Path, str] = {(fault.key,): fault.key for fault in faults}
        self._environment = environment
        self._tree: _Tree = {}
        self._files: dict[str, dict[str, tuple[str, ScalarNode]]] = {}
        self._variables: dict[str, tuple[str, ScalarNode]] = {}

    def read(self, place: Node) -> LabeledApp:
        first = next(iter(self._labels.values()), place)
        self._name = _scalar(self._service, first)
        for label, found in self._labels.items():
            if (node := self._text(label, found)) is not None:
                self._take(label, label.removeprefix(PREFIX), node)
        self._add_files()
        self._add_variables()
        root = _mapping(self._tree, first)
        return LabeledApp(
            self._source, self._service, line_of(first), self._name, root, self._keys, tuple(self._faults)
        )

    def _text(self, key: str, found: ScalarNode) -> ScalarNode | None:
        text = unescape("" if kind_of(found) == NULL and found.value in {"null", "~"} else str(found.value))
        if text is None:
            todo = "write the value out, or `$$` for a `$`; or run `docker compose config` without --no-interpolate"
            self._fault(key, found, "it has a variable that Compose has not replaced", todo)
            return None
        return ScalarNode(LABEL, text, found.start_mark, found.end_mark)

    def _take(self, label: str, key: str, node: ScalarNode) -> None:
        file, is_yaml = _FILES.fullmatch(key), str(node.value).lstrip().startswith(("{", "["))
        if key == "app":
            self._name = node
        elif file is not None:
            self._files.setdefault(file[2], {})[file[1]] = (label, node)
        elif key == "env" and not is_yaml:
            self._take_environment(label, node)
        elif key.startswith("env."):
            self._variables[key.removeprefix("env.")] = (label, node)
        else:
            path: Path = tuple(key.split(".", _DEEPEST))
            self._set(path if is_yaml and path == ("notify",) else _SHORT.get(path, path), label, node)

    def _set(self, path: Path, label: str, node: Node) -> None:
        """Set a key of the app."""
        tree = self._tree
        for depth, name in enumerate(path[:-1], 1):
            inner = tree.setdefault(str(name), {})
            if not isinstance(inner, dict):
                self._fault(label, node, f"{self._keys[path[:depth]]} sets it too", "remove one of them")
                return
            tree = inner
        if str(path[-1]) in tree:
            other = next(other for at, other in self._keys.items() if at[: len(path)] == path)
            self._fault(label, node, f"{other} sets it too", "remove one of them")
            return
        tree[str(path[-1])] = node
        self._keys[path] = label

    def _add_files(self) -> None:
        items: list[Node] = []
        for name, settings in self._files.items():
            label, template = settings.get("template", ("", None))
            if template is None:
                for label, node in settings.values():
                    self._fault(label, node, f"there is no label {PREFIX}template.{name}", "add it, or remove this one")
                continue
            at: Path = ("files", len(items))
            kind = "template" if is_template_path(str(template.value)) else "contents"
            keys = {"name": (label, _scalar(name, template)), kind: (label, template)}
            keys |= {key: found for key, found in settings.items() if key != "template"}
            self._keys |= {(*at, key): label for key, (label, _) in keys.items()}
            self._keys[at] = label
            items.append(_mapping({key: node for key, (_, node) in keys.items()}, template))
        if items:
            self._set(("files",), self._keys["files", 0], SequenceNode(_SEQUENCE, items, items[0].start_mark))

    def _take_environment(self, label: str, node: ScalarNode) -> None:
        """The references of the service's environment, or all its variables."""
        if node.value == "false":
            return
        if node.value not in {"true", "all"}:
            self._fault(label, node, "expected true, all or false", f"write {_SETTINGS}")
            return
        variables, faults = _pairs(self._environment)
        for fault in faults:
            self._report(replace(fault, key=f"environment.{fault.key}"))
        chosen = {
            name: found
            for name, found in variables.items()
            if node.value == "all" or may_have_reference(str(found.value))
        }
        if not chosen:
            what = "the service's `environment` has no reference such as ref+openbao://database/postgres#password"
            self._fault(label, node, what, f"write one, or {PREFIX}env.NAME")
        for name, found in chosen.items():
            key = f"environment.{name}"
            if kind_of(found) == NULL:
                todo = f"write its value, or set {PREFIX}env to true"
                self._fault(key, found, "Compose takes its value from where it runs", todo)
            elif (text := self._text(key, found)) is not None:
                self._variables.setdefault(name, (key, text))

    def _add_variables(self) -> None:
        for name, (label, node) in self._variables.items():
            self._set(("env", name), label, node)
        if self._variables and "env_file" not in self._tree:
            self._set(("env_file",), f"{PREFIX}env", _scalar(_ENV_FILE, next(iter(self._variables.values()))[1]))

    def _fault(self, key: str, node: Node, what: str, todo: str) -> None:
        self._report(Fault(key, line_of(node), what, todo))

    def _report(self, fault: Fault) -> None:
        self._faults.append(fault)
        self._keys.setdefault((fault.key,), fault.key)


def is_template_path(text: str) -> bool:
    """Whether the text of `lessee.template.FILE` is the path of a template: one line that ends in `.j2`."""
    return text.endswith(".j2") and "\n" not in text


def _pairs(node: Node | None) -> tuple[dict[str, ScalarNode], list[Fault]]:
    """The entries of a mapping, or of a list of `NAME=VALUE`."""
    found: dict[str, ScalarNode] = {}
    faults: list[Fault] = []
    if isinstance(node, SequenceNode):
        for item in node.value:
            if isinstance(item, ScalarNode):
                name, equals, text = str(item.value).partition("=")
                tag = _STRING if equals else _NULL
                found[name] = ScalarNode(tag, text, item.start_mark, item.end_mark)
        return found, faults
    entries = _entries(node)
    for name, (_, value) in entries.nodes.items():
        if isinstance(value, ScalarNode):
            found[name] = value
        else:
            faults.append(Fault(name, line_of(value), f"expected a text, found {kind_of(value)}", "quote it"))
    faults += [Fault(name, line, what) for name, line, what in entries.faults]
    return found, faults


def _entries(node: Node | None) -> Entries:
    return entries_of(node) if isinstance(node, MappingNode) else Entries()


def _child(node: Node | None, key: str) -> Node | None:
    entry = _entries(node).nodes.get(key)
    return entry[1] if entry is not None else None


def _scalar(text: str, place: Node) -> ScalarNode:
    return ScalarNode(LABEL, text, place.start_mark, place.end_mark)


def _mapping(tree: _Tree, place: Node) -> MappingNode:
    pairs: list[tuple[Node, Node]] = []
    for name, inner in tree.items():
        node = _mapping(inner, place) if isinstance(inner, dict) else inner
        pairs.append((_key(name, node), node))
    return MappingNode(_MAPPING, pairs, place.start_mark, place.end_mark)


def _key(text: str, place: Node) -> ScalarNode:
    return ScalarNode(_STRING, text, place.start_mark, place.end_mark)


def printable(text: str) -> str:
    """A name of the model in one line."""
    return "".join(char if char.isprintable() else "?" for char in text[:100])
