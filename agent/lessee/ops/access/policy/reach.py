"""Decides whether a policy grants access to any path of a region."""

from collections.abc import Iterable, Iterator

from lessee.core.immutable import ImmutableStruct
from lessee.ops.access.policy.rules import DENY, Kind, Rule, capabilities

READING = frozenset({"read", "list", "create", "update", "patch", "scan"})
"""The capabilities that reveal or change a secret; `delete` and `sudo` alone do not."""
_LISTING = frozenset({"list", "scan"})


class Region(ImmutableStruct, frozen=True):
    """All paths below `root` if it ends with a slash; otherwise that path too."""

    root: str

    def __contains__(self, path: str) -> bool:
        return path.startswith(self.root if self.root.endswith("/") else f"{self.root}/") or path == self.root

    @property
    def stems(self) -> tuple[str, ...]:
        """The prefixes of its paths."""
        return (self.root,) if self.root.endswith("/") else (self.root, f"{self.root}/")


class Reach(ImmutableStruct, frozen=True):
    """A path in a region, and its capabilities; for a templated rule, a path that it may resolve to."""

    path: str
    capabilities: frozenset[str]
    templated: bool = False


def reach(rules: Iterable[Rule], regions: Iterable[Region]) -> Reach | None:
    """A path that shows that these rules grant access to one of the regions; None without such a path.

    For each granting rule it tries paths that only this rule and wider ones can match: if a narrower rule denies
    those, it denies all.
    """
    rules, regions = tuple(rules), tuple(regions)
    for region in regions:
        for path in _tried(rules, region):
            granted = _granted(rules, path)
            if granted:
                return Reach(path, granted)
    for rule in rules:
        if rule.templated and rule.capabilities & READING and DENY not in rule.capabilities:
            for region in regions:
                for path in _paths(_open(rule), region, "…", 1):
                    return Reach(path, rule.capabilities & READING, templated=True)
    return None


def _granted(rules: tuple[Rule, ...], path: str) -> frozenset[str]:
    if not path.endswith("/"):
        return capabilities(rules, path) & READING
    # On OpenBao or on HashiCorp Vault.
    return (capabilities(rules, path) | capabilities(rules, path, bare_first=True)) & _LISTING


def _tried(rules: tuple[Rule, ...], region: Region) -> Iterator[str]:
    said = {letter for rule in rules for letter in rule.path}
    fresh = next(letter for letter in map(chr, range(ord("x"), 0xD800)) if letter not in said)
    deepest = max((rule.path.count("/") for rule in rules), default=0) + 2
    yield from region.stems
    for rule in rules:
        if not rule.templated and rule.capabilities & READING and DENY not in rule.capabilities:
            yield from _paths(rule, region, fresh, deepest)


def _paths(rule: Rule, region: Region, fresh: str, deepest: int) -> Iterator[str]:
    """Paths of the rule in the region, of each length; free segments are `fresh`."""
    for stem in region.stems:
        begun = _shortest_path(rule, stem, fresh)
        if begun is None:
            continue
        tails = ["", *("/".join([fresh] * many) for many in range(1, deepest))] if _is_open(rule) else [""]
        for tail in tails:
            path = f"{begun}{tail}"
            yield from (one for one in (path, f"{path.removesuffix('/')}/") if one in region)


def _shortest_path(rule: Rule, stem: str, fresh: str) -> str | None:
    """The shortest path of the rule that starts with the stem or, for an open rule, can be extended to it."""
    pattern = rule.path.removesuffix("*") if rule.kind is Kind.ELEMENTS else rule.path
    if rule.kind is not Kind.ELEMENTS:
        if pattern.startswith(stem):
            return pattern
        if stem.startswith(pattern) and _is_open(rule):
            return stem
        # A listing has a final slash that the rule may omit.
        return stem if stem == f"{pattern}/" else None
    wanted, given = pattern.split("/"), stem.split("/")
    elements: list[str] = []
    for index, want in enumerate(wanted):
        last = index == len(wanted) - 1
        have = given[index] if index < len(given) else None
        if have is None or (index == len(given) - 1 and not have):
            elements.append(fresh if want == "+" else want)
        elif want in {"+", have} or (last and _is_open(rule) and have.startswith(want)):
            elements.append(have)
        else:
            return None
    elements.extend(given[len(wanted) :])
    return "/".join(elements)


def _is_open(rule: Rule) -> bool:
    return rule.kind is Kind.PREFIX or (rule.kind is Kind.ELEMENTS and rule.path.endswith("*"))


def _open(rule: Rule) -> Rule:
    if rule.kind is Kind.ELEMENTS:
        return Rule(f"{rule.path}*", rule.kind, rule.capabilities)
    return Rule(rule.path, Kind.PREFIX, rule.capabilities)
