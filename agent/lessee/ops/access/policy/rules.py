"""Parses Vault policies, and evaluates them for a path as Vault does."""

from collections.abc import Iterable, Iterator
from enum import Enum

from lessee.core.hcl import Block, Item, Value, parse
from lessee.core.immutable import ImmutableStruct
from lessee.core.source_text import Text

DENY = "deny"
_LEGACY = {
    "deny": (DENY,),
    "read": ("read", "list"),
    "write": ("create", "read", "update", "delete", "list"),
    "sudo": ("create", "read", "update", "delete", "list", "sudo"),
}
"""The capabilities of the deprecated key `policy` of a rule."""


class Kind(Enum):
    """How a rule's path matches."""

    EXACT = "the path itself"
    PREFIX = "all paths with this prefix"
    ELEMENTS = "segment by segment, where + is any segment"


class Rule(ImmutableStruct, frozen=True):
    """A path and its capabilities. The path of a prefix rule has no `*`.

    `templated`: the path contains `{{…}}` and ends before it here, because only Vault can resolve it.
    """

    path: str
    kind: Kind
    capabilities: frozenset[str]
    templated: bool = False


def rules_of(text: str, name: str) -> tuple[Rule, ...]:
    """The rules in a policy's text, in HCL or JSON. Raises ConfigError if it is malformed."""
    found: list[Rule] = []
    for path, body in _stanzas(parse(text, name)):
        found.append(_rule(path.removeprefix("/"), frozenset(_capabilities(body))))
    return tuple(found)


def capabilities(rules: Iterable[Rule], path: str, *, bare_first: bool = False) -> frozenset[str]:
    """The capabilities of these rules at a path, as `sys/capabilities` returns them; pass the rules of all policies.

    As in vault/acl.go: an exact rule wins; then the rule whose first `*` or `+` is last, that does not end with `*`,
    has fewer `+`, is longer. Rules with the same path are merged, and `deny` removes all. Templated rules are ignored.
    A listing has a slash at its end, which rules may omit: OpenBao 2.7.2 first tries rules with the slash,
    HashiCorp Vault those without (`bare_first`).
    """
    plain = [rule for rule in rules if not rule.templated]
    bare = path.removesuffix("/")
    open_ended = (bare, path) if bare_first else (path, bare)
    for is_exact, candidate in ((True, path), (True, bare), *((False, one) for one in open_ended)):
        matching = [rule for rule in plain if (rule.kind is Kind.EXACT) is is_exact and matches(rule, candidate)]
        if matching:
            first = max(matching, key=_rank)
            granted = frozenset[str]().union(
                *(one.capabilities for one in matching if (one.path, one.kind) == (first.path, first.kind))
            )
            return frozenset() if DENY in granted else granted
    return frozenset()


def matches(rule: Rule, path: str) -> bool:
    """Whether the rule matches this path, regardless of more specific rules."""
    if rule.kind is Kind.ELEMENTS:
        return _matches_elements(rule.path, path.split("/"))
    return path.startswith(rule.path) if rule.kind is Kind.PREFIX else path == rule.path


def _matches_elements(pattern: str, elements: list[str]) -> bool:
    wanted = pattern.removesuffix("*").split("/")
    open_ended = pattern.endswith("*")
    if len(elements) < len(wanted) or (len(elements) > len(wanted) and not open_ended):
        return False
    *head, last = wanted
    if any(want not in {"+", element} for want, element in zip(head, elements, strict=False)):
        return False
    there = elements[len(head)]
    return last in {"+", there} or (open_ended and there.startswith(last))


def _rank(rule: Rule) -> tuple[int, bool, int, int, str]:
    if rule.kind is Kind.PREFIX:
        return len(rule.path), False, 0, len(rule.path), rule.path
    pattern = rule.path.removesuffix("*")
    return (
        rule.path.find("+"),
        not rule.path.endswith("*"),
        -pattern.split("/").count("+"),
        len(pattern),
        pattern,
    )


def _rule(path: str, granted: frozenset[str]) -> Rule:
    before, braces, _ = path.partition("{{")
    if braces:
        return Rule(before, _kind(f"{before}*"), granted, templated=True)
    kind = _kind(path)
    return Rule(path.removesuffix("*") if kind is Kind.PREFIX else path, kind, granted)


def _kind(path: str) -> Kind:
    if path == "+" or "/+" in path or path.startswith("+/"):
        return Kind.ELEMENTS
    return Kind.PREFIX if path.endswith("*") else Kind.EXACT


def _stanzas(block: Block) -> Iterator[tuple[str, Block]]:
    """The paths and bodies. In HCL a path is a label; in JSON a key of an object, or of the objects of a list."""
    for item in block.items:
        match item:
            case Item(keys=("path", path), value=Block() as body):
                yield path, body
            case Item(keys=("path",), value=value):
                for paths in _blocks(value):
                    yield from (
                        (inner.keys[0], body)
                        for inner in paths.items
                        if len(inner.keys) == 1
                        for body in _blocks(inner.value)
                    )
            case _:
                pass


def _blocks(value: Value) -> Iterator[Block]:
    if isinstance(value, Block):
        yield value
    elif isinstance(value, tuple):
        for one in value:
            yield from _blocks(one)


def _capabilities(body: Block) -> Iterator[str]:
    for item in body.items:
        match item:
            case Item(keys=("capabilities",), value=tuple(names)):
                yield from (name.value for name in names if isinstance(name, Text))
            case Item(keys=("policy",), value=Text(value=name)):
                yield from _LEGACY.get(name, ())
            case _:
                pass
