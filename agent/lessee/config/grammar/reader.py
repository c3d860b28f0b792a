"""Nodes to blocks of the grammar, with all that is wrong told on the way."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar, cast

from msgspec import inspect
from msgspec.structs import FieldInfo, fields
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from lessee.config.expansion import check, expand
from lessee.config.grammar import OPERATOR, Lessee
from lessee.config.grammar.block import Block
from lessee.config.grammar.nodes import LIST, MAPPING, NOTHING, NUMBER, TEXT, YES_OR_NO, entries_of, kind_of, line_of
from lessee.config.grammar.problems import Path, Problems
from lessee.config.grammar.scalars import Word
from lessee.config.grammar.types import Form, forms, one_of
from lessee.core.errors import ConfigError

_B = TypeVar("_B", bound=Block)
_SCALARS = {"string": TEXT, "integer": NUMBER, "boolean": YES_OR_NO}
_MOST_VALUES = 50_000
_LONG = 1000
_LONGEST_KEY = 60
_UNFIT = re.compile("[\x00\ud800-\udfff]")


class _InvalidError(Exception):
    """What is being read cannot be used."""


class Reader:
    """Reads one file. What is wrong is told and left out, and the rest is read on."""

    def __init__(self, problems: Problems, environ: Mapping[str, str], blocks: Collection[str] = ()) -> None:
        """`blocks`: those of the operator's whose variables are needed too."""
        self.values: dict[Path, object] = {}
        """What each key of the file was read as."""
        self._problems = problems
        self._environ = environ
        self._unwanted = frozenset(OPERATOR).difference(blocks)
        self._left = _MOST_VALUES

    def read(self, root: MappingNode) -> Lessee:
        """The whole file. Raises ConfigError at once where aliases blow the file up."""
        return self.read_as(Lessee, root)

    def read_as(self, kind: type[_B], root: MappingNode) -> _B:
        """A whole file that is this block, none of whose keys must be there. Raises ConfigError as above."""
        return cast("_B", self._block([_later(kind)], root, ()))

    def _value(self, kind: inspect.Type, node: Node, path: Path) -> object:
        self._problems.lines.setdefault(path, line_of(node))
        self.values[path] = value = self._formed(forms(kind), node, path)
        return value

    def _formed(self, allowed: Sequence[Form], node: Node, path: Path) -> object:
        found = kind_of(node)
        for form in allowed:
            match form, node:
                case Word(), ScalarNode() if found == _SCALARS[form.type] or (found == TEXT and "${" in node.value):
                    text = self._expanded(node.value, path) if "${" in node.value else node.value
                    return self._meaning(form, text, path)
                case inspect.VarTupleType(), SequenceNode() if found == LIST:
                    return self._list(form, node, path)
                case inspect.DictType(), MappingNode() if found == MAPPING:
                    return self._dict(form, node, path)
                case inspect.StructType(), MappingNode() if found == MAPPING:
                    blocks = [form for form in allowed if isinstance(form, inspect.StructType)]
                    return self._block(blocks, node, path)
        words = [form for form in allowed if isinstance(form, Word)]
        plain = found not in {MAPPING, LIST, NOTHING}
        todo = words[0].unquoted if words and plain else ""
        raise self._wrong(path, f"expected {_expected(allowed)}, found {found}", todo)

    def _meaning(self, word: Word, text: str, path: Path) -> object:
        self._spend(len(text) // _LONG, path)
        if _UNFIT.search(text):
            raise self._wrong(path, "it holds a character that no path and no argument can hold")
        try:
            return word.read(text)
        except ValueError as exc:
            reason = f", {exc}" if exc.args else ""
            meant = _closest(text, word.choices)
            todo = f"did you mean `{meant}`?" if meant else ""
            raise self._wrong(path, f"expected {word.expected}{reason}", todo) from None

    def _expanded(self, text: str, path: Path) -> str:
        try:
            if path[0] in self._unwanted and path[:2] != ("setup", "environments"):
                # A sidecar shall not need the operator's variables, which may well be secrets.
                check(text)
                raise _InvalidError
            return expand(text, self._environ)
        except ConfigError as exc:
            [problem] = exc.problems
            raise self._wrong(path, problem.what, problem.todo) from None

    def _list(self, kind: inspect.VarTupleType, node: SequenceNode, path: Path) -> tuple[object, ...]:
        if len(node.value) < (kind.min_length or 0):
            raise self._wrong(path, "the list is empty")
        self._spend(len(node.value), path)
        items = []
        for index, item in enumerate(node.value):
            with suppress(_InvalidError):
                items.append(self._value(kind.item_type, item, (*path, index)))
        return tuple(items)

    def _dict(self, kind: inspect.DictType, node: MappingNode, path: Path) -> dict[object, object]:
        [name] = forms(kind.key_type)
        assert isinstance(name, Word)
        items = {}
        for key, value in self._entries(node, path).items():
            at = (*path, key)
            with suppress(_InvalidError):
                items[self._meaning(name, key, at)] = self._value(kind.value_type, value, at)
        return items

    def _block(self, kinds: Sequence[inspect.StructType], node: MappingNode, path: Path) -> object:
        entries = self._entries(node, path)
        kind = kinds[0] if len(kinds) == 1 else self._tagged(kinds, entries, path)
        known = {field.encode_name: field for field in kind.fields}
        values: dict[str, object] = {}
        present: set[str] = set()
        for key, value in entries.items():
            at = (*path, key)
            field = known.get(key)
            if field is not None and (field.required or kind_of(value) != NOTHING):
                present.add(key)
                with suppress(_InvalidError):
                    values[key] = self._value(field.type, value, at)
            elif field is None and key != kind.tag_field and (path or not key.startswith("x-")):
                present.add(self._unknown(at, known.keys() - entries.keys(), known))
        self._complete(kind, present, path)
        if any(field.required and name not in values for name, field in known.items()):
            raise _InvalidError
        return kind.cls(**values)

    def _tagged(
        self, kinds: Sequence[inspect.StructType], entries: Mapping[str, Node], path: Path
    ) -> inspect.StructType:
        """The block that the key which tells them apart names."""
        by_tag = {str(kind.tag): kind for kind in kinds}
        key = str(kinds[0].tag_field)
        names = inspect.LiteralType(tuple(by_tag))
        if key not in entries:
            raise self._wrong((*path, key), f"missing; expected {_expected(forms(names))}")
        return by_tag[str(self._value(names, entries[key], (*path, key)))]

    def _unknown(self, path: Path, absent: Iterable[str], known: Iterable[str]) -> str:
        """Tells of a key that nobody knows; gives the absent key that was meant, or ""."""
        meant = _closest(str(path[-1]), absent)
        todo = f"did you mean `{meant}`?" if meant else f"known here: {_quoted(known)}"
        self._problems.tell(path, "unknown key", todo=todo)
        if meant:
            self._problems.hush((*path[:-1], meant))
        return meant

    def _complete(self, kind: inspect.StructType, present: set[str], path: Path) -> None:
        for field in kind.fields:
            if field.required and field.encode_name not in present:
                expected = _expected(forms(field.type))
                self._problems.tell((*path, field.encode_name), f"missing; expected {expected}")
        choices = one_of(kind)
        chosen = [name for name in choices if name in present]
        if choices and len(chosen) != 1:
            found = _quoted(chosen) if chosen else "none"
            raise self._wrong(path, f"expected exactly one of {_quoted(choices)}, found {found}")

    def _entries(self, node: MappingNode, path: Path) -> dict[str, Node]:
        entries = entries_of(node)
        self._spend(len(entries.nodes), path)
        for key, (key_node, _) in entries.nodes.items():
            self._problems.lines[(*path, key)] = line_of(key_node)
        for key, line, what in entries.faults:
            self._problems.tell((*path, key), what, line=line)
        return {key: value for key, (_, value) in entries.nodes.items()}

    def _spend(self, count: int, path: Path) -> None:
        self._left -= count
        if self._left < 0:
            self._problems.tell(path, "with its aliases the file holds too much")
            self._problems.raise_all()

    def _wrong(self, path: Path, what: str, todo: str = "") -> _InvalidError:
        self._problems.tell(path, what, todo=todo)
        return _InvalidError()


def _later(kind: type[Block]) -> inspect.StructType:
    """The block, whose keys' types are looked into where a file has them: a sidecar's has few, and pays for each."""

    def known(field: FieldInfo) -> inspect.Field:
        extra = {"later": partial(inspect.type_info, field.type)}
        return inspect.Field(
            field.name, field.encode_name, inspect.Metadata(inspect.AnyType(), extra=extra), field.required
        )

    return inspect.StructType(kind, tuple(map(known, fields(kind))))


def _expected(allowed: Sequence[Form]) -> str:
    return " or ".join(dict.fromkeys(_name(form) for form in allowed))


def _name(form: Form) -> str:
    if isinstance(form, Word):
        return form.expected
    return LIST if isinstance(form, inspect.VarTupleType) else MAPPING


def _closest(text: str, choices: Iterable[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415  # Nobody who writes well should pay for it.

    return next(iter(get_close_matches(text[:_LONGEST_KEY], sorted(choices), n=1)), "")


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
