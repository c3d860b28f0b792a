"""Converts YAML nodes into blocks of the grammar, and reports every problem with its line."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import Annotated, Any, TypeGuard, TypeVar, cast, get_args, get_origin

from msgspec import inspect
from msgspec.structs import FieldInfo, fields, replace
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from lessee.config.expansion import check, expand
from lessee.config.grammar import OPERATOR_BLOCKS, Lessee
from lessee.config.grammar.block import Block, Form, forms, one_of
from lessee.config.grammar.nodes import (
    BOOLEAN,
    LIST,
    MAPPING,
    NULL,
    NUMBER,
    STRING,
    entries_of,
    is_label,
    kind_of,
    line_of,
)
from lessee.config.grammar.problems import Path, Problems
from lessee.config.grammar.scalars import Scalar
from lessee.core.errors import ConfigError

_B = TypeVar("_B", bound=Block)
_SCALARS = {"string": STRING, "integer": NUMBER, "boolean": BOOLEAN}
_MAX_VALUES = 50_000
_LONG_TEXT = 1000
_LONGEST_KEY = 60
_FORBIDDEN = re.compile("[\x00\ud800-\udfff]")


class _InvalidError(Exception):
    """The value has a problem, which is reported; the reader skips it."""


class Reader:
    """Reads one file. It reports invalid values, skips them, and continues with the rest."""

    def __init__(self, problems: Problems, environ: Mapping[str, str], blocks: Collection[str] = ()) -> None:
        """`blocks`: the operator blocks in which variables are expanded too."""
        self.values: dict[Path, object] = {}
        """The parsed value of each key."""
        self._problems = problems
        self._environ = environ
        self._unused = frozenset(OPERATOR_BLOCKS).difference(blocks)
        self._budget = _MAX_VALUES
        self._expands = True

    def read(self, root: MappingNode) -> Lessee:
        """Read a whole lessee.yaml. Raises ConfigError if YAML aliases expand it beyond a limit."""
        return self.read_as(Lessee, root)

    def read_as(self, kind: type[_B], root: MappingNode) -> _B:
        """Read a whole file as this block, which has no required key. Raises ConfigError like `read`."""
        return cast("_B", self._block([_later(kind)], root, ()))

    def read_labels(self, kind: type[_B], node: MappingNode, path: Path) -> _B | None:
        """Read a block whose scalars may be texts of labels, in which nothing is expanded. None if it is invalid."""
        budget, self._budget, self._expands = self._budget, _MAX_VALUES, False
        try:
            return cast("_B", self._value(_later(kind), node, path))
        except (_InvalidError, ConfigError):
            return None
        finally:
            self._budget, self._expands = budget, True

    def _value(self, kind: inspect.Type, node: Node, path: Path) -> object:
        self._problems.lines.setdefault(path, line_of(node))
        self.values[path] = value = self._convert(forms(kind), node, path)
        return value

    def _convert(self, allowed: Sequence[Form], node: Node, path: Path) -> object:
        if not self._expands and is_label(node):
            node = self._label(allowed, node, path)
        found = kind_of(node)
        for form in allowed:
            match form, node:
                case Scalar(), ScalarNode() if found == _SCALARS[form.type] or (found == STRING and "${" in node.value):
                    expands = self._expands and form.expands and "${" in node.value
                    return self._parse(form, self._expanded(node.value, path) if expands else node.value, path)
                case inspect.VarTupleType(), SequenceNode() if found == LIST:
                    return self._list(form, node, path)
                case inspect.DictType(), MappingNode() if found == MAPPING:
                    return self._dict(form, node, path)
                case inspect.StructType(), MappingNode() if found == MAPPING:
                    blocks = [form for form in allowed if isinstance(form, inspect.StructType)]
                    return self._block(blocks, node, path)
        scalars = [form for form in allowed if isinstance(form, Scalar)]
        is_scalar = found not in {MAPPING, LIST, NULL}
        todo = scalars[0].unquoted if scalars and is_scalar else ""
        raise self._invalid(path, f"expected {_expected(allowed)}, found {found}", todo)

    def _label(self, allowed: Sequence[Form], node: Node, path: Path) -> Node:
        """The node for the text of a label."""
        from lessee.config.grammar.label_text import typed_node  # noqa: PLC0415  # Few configurations have labels.

        scalars = [form.type for form in allowed if isinstance(form, Scalar)]
        try:
            return typed_node(node, scalars[0] if scalars else "string", may_be_yaml=len(scalars) < len(allowed))
        except ConfigError as exc:
            [problem] = exc.problems
            raise self._invalid(path, problem.what, problem.todo) from None

    def _parse(self, scalar: Scalar, text: str, path: Path) -> object:
        self._spend(len(text) // _LONG_TEXT, path)
        if _FORBIDDEN.search(text):
            raise self._invalid(
                path,
                "it contains a NUL character or a surrogate, which no path and no argument can contain",
                "remove it",
            )
        try:
            return scalar.read(text)
        except ValueError as exc:
            reason = f", {exc}" if exc.args else ""
            raise self._invalid(
                path, f"expected {scalar.expected}{reason}", self._suggest(text, scalar.choices)
            ) from None

    def _expanded(self, text: str, path: Path) -> str:
        try:
            if path[0] in self._unused and path[:2] != ("setup", "environments"):
                # A sidecar must not need the operator's variables, which may be secrets.
                check(text)
                raise _InvalidError
            return expand(text, self._environ)
        except ConfigError as exc:
            [problem] = exc.problems
            raise self._invalid(path, problem.what, problem.todo) from None

    def _list(self, kind: inspect.VarTupleType, node: SequenceNode, path: Path) -> tuple[object, ...]:
        if len(node.value) < (kind.min_length or 0):
            raise self._invalid(path, "the list is empty", "add an item, or remove the key")
        self._spend(len(node.value), path)
        items = []
        for index, item in enumerate(node.value):
            with suppress(_InvalidError):
                items.append(self._value(kind.item_type, item, (*path, index)))
        return tuple(items)

    def _dict(self, kind: inspect.DictType, node: MappingNode, path: Path) -> dict[object, object]:
        [name] = forms(kind.key_type)
        assert isinstance(name, Scalar)
        items = {}
        for key, value in self._entries(node, path).items():
            at = (*path, key)
            with suppress(_InvalidError):
                items[self._parse(name, key, at)] = self._value(kind.value_type, value, at)
        return items

    def _block(self, kinds: Sequence[inspect.StructType], node: MappingNode, path: Path) -> object:
        entries = self._entries(node, path)
        kind = kinds[0] if len(kinds) == 1 else self._tagged(kinds, entries, path)
        known = {field.encode_name: field for field in kind.fields}
        absent = [name for name in known if name not in entries]
        values: dict[str, object] = {}
        present: set[str] = set()
        for key, value in entries.items():
            at = (*path, key)
            field = known.get(key)
            if field is not None and (field.required or kind_of(value) != NULL):
                present.add(key)
                with suppress(_InvalidError):
                    values[key] = self._value(field.type, value, at)
            elif field is None and key != kind.tag_field and (path or not key.startswith("x-")):
                present.add(self._unknown(kind, at, absent, known))
        self._complete(kind, present, path)
        if any(field.required and name not in values for name, field in known.items()):
            raise _InvalidError
        return kind.cls(**values)

    def _tagged(
        self, kinds: Sequence[inspect.StructType], entries: Mapping[str, Node], path: Path
    ) -> inspect.StructType:
        """The block that the tag key selects."""
        by_tag = {str(kind.tag): kind for kind in kinds}
        key = str(kinds[0].tag_field)
        names = inspect.LiteralType(tuple(by_tag))
        if key not in entries:
            raise self._invalid((*path, key), f"missing; expected {_expected(forms(names))}")
        return by_tag[str(self._value(names, entries[key], (*path, key)))]

    def _unknown(self, kind: inspect.StructType, path: Path, absent: Iterable[str], known: Iterable[str]) -> str:
        """Report an unknown key. Returns the absent key that the user meant, or ""."""
        key = str(path[-1])
        meant = _renamed_key(kind, key)
        todo = f"it is now `{meant}`"
        if not meant:
            meant = _closest(key, absent)
            todo = f"did you mean `{meant}`?" if meant else f"known keys: {_quoted(known)}"
        self._problems.add(path, "unknown key", todo=todo)
        if meant:
            self._problems.mute((*path[:-1], meant))
        return meant

    def _complete(self, kind: inspect.StructType, present: set[str], path: Path) -> None:
        for field in kind.fields:
            if field.required and field.encode_name not in present:
                expected = _expected(forms(field.type))
                self._problems.add((*path, field.encode_name), f"missing; expected {expected}")
        choices = one_of(kind)
        chosen = [name for name in choices if name in present]
        if choices and len(chosen) != 1:
            found = _quoted(chosen) if chosen else "none of them"
            raise self._invalid(path, f"expected exactly one of {_quoted(choices)}, found {found}")

    def _entries(self, node: MappingNode, path: Path) -> dict[str, Node]:
        entries = entries_of(node)
        self._spend(len(entries.nodes), path)
        for key, (key_node, _) in entries.nodes.items():
            self._problems.lines[(*path, key)] = line_of(key_node)
        for key, line, what in entries.faults:
            self._problems.add((*path, key), what, line=line)
        return {key: value for key, (_, value) in entries.nodes.items()}

    def _spend(self, count: int, path: Path) -> None:
        self._budget -= count
        if self._budget < 0:
            self._problems.add(path, "the file expands to too many values", todo="use fewer YAML aliases")
            self._problems.raise_all()

    def _suggest(self, text: str, choices: Sequence[str]) -> str:
        meant = _renamed_value(text, choices)
        if meant:
            return f"it is now `{meant}`"
        meant = _closest(text, choices)
        return f"did you mean `{meant}`?" if meant else ""

    def _invalid(self, path: Path, what: str, todo: str = "") -> _InvalidError:
        self._problems.add(path, what, todo=todo)
        return _InvalidError()


@cache  # A reload, and a process with several files, inspect each type once.
def _later(kind: type[Block]) -> inspect.StructType:
    """The block with types that are inspected on use: a sidecar's file has few keys, and each type costs time."""

    def lazy(field: FieldInfo) -> inspect.Field:
        extra = {"later": cache(partial(_type_of, field.type))}
        return inspect.Field(
            field.name, field.encode_name, inspect.Metadata(inspect.AnyType(), extra=extra), field.required
        )

    config = kind.__struct_config__
    return inspect.StructType(kind, tuple(map(lazy, fields(kind))), config.tag_field, config.tag)


def _type_of(annotation: Any) -> inspect.Type:
    """What msgspec's type_info returns, but with blocks whose types are inspected on use."""
    if _is_block(annotation):
        return _later(annotation)
    if not _has_block(annotation):
        return inspect.type_info(annotation)
    origin, (first, *others) = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        lengths = [meta.min_length for meta in others if meta.min_length is not None]
        return replace(_type_of(first), min_length=max(lengths)) if lengths else _type_of(first)
    if origin is tuple:
        return inspect.VarTupleType(_type_of(first))
    if origin is dict:
        return inspect.DictType(_type_of(first), _type_of(others[0]))
    return inspect.UnionType(tuple(map(_type_of, (first, *others))))


def _has_block(annotation: Any) -> bool:
    return _is_block(annotation) or any(map(_has_block, get_args(annotation)))


def _is_block(annotation: Any) -> TypeGuard[type[Block]]:
    return isinstance(annotation, type) and issubclass(annotation, Block)


def _expected(allowed: Sequence[Form]) -> str:
    return " or ".join(dict.fromkeys(_name(form) for form in allowed))


def _name(form: Form) -> str:
    if isinstance(form, Scalar):
        return form.expected
    return LIST if isinstance(form, inspect.VarTupleType) else MAPPING


def _renamed_key(kind: inspect.StructType, key: str) -> str:
    """The present name of a key of an earlier version, or ""."""
    from lessee.config.grammar.renamed import new_key  # noqa: PLC0415  # Only errors need it.

    return new_key(kind.cls, key)


def _renamed_value(text: str, choices: Sequence[str]) -> str:
    """The present name of a value of an earlier version, or ""."""
    from lessee.config.grammar.renamed import new_value  # noqa: PLC0415  # Only errors need it.

    return new_value(text, choices)


def _closest(text: str, choices: Iterable[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415  # Only errors need it.

    return next(iter(get_close_matches(text[:_LONGEST_KEY], sorted(choices), n=1)), "")


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
