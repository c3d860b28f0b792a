"""Who is struck: policies by where they reach, tokens by their policies."""

from collections.abc import Iterable, Mapping

from lessee.core.errors import ConfigError
from lessee.core.immutable import Record
from lessee.ops.access.policy.reach import Region, reach
from lessee.ops.access.policy.rules import Rule, capabilities, rules_of
from lessee.ops.incident.policy.findings import Sight, Struck, Token, Way

ROOT = "root"
_WRAPPING = "response-wrapping"
MAKING = frozenset({"create", "update"})


class Spared(Record, frozen=True):
    """A token that is not revoked here, and why."""

    token: Token
    why: str


def struck(policies: Mapping[str, str], regions: Iterable[Region]) -> tuple[Struck, ...]:
    """The policies that reach into one of the regions, by name. What cannot be read or foreseen is taken to."""
    regions = tuple(regions)
    return tuple(one for name in sorted(policies) if (one := _judged(name, policies[name], regions)) is not None)


def doomed(sight: Sight) -> tuple[tuple[Token, ...], tuple[Spared, ...]]:
    """The tokens to revoke, the youngest first, and those that are left for people.

    Left are the operator's own token, those that may be its parents (with which it would end), and root tokens.
    """
    above = _ancestors(sight)
    ends, spared = [], []
    for token in sorted(sight.tokens, key=lambda token: (-token.created, token.accessor)):
        if token.accessor == sight.own.accessor:
            if token.policies & (sight.names | {ROOT}):
                spared.append(Spared(token, "it is your own"))
        elif ROOT in token.policies:
            spared.append(Spared(token, "it is a root token"))
        elif not token.policies & sight.names and not _holds(token, sight):
            continue
        elif token.accessor in above:
            spared.append(Spared(token, "it may be a parent of your own, which would end with it"))
        else:
            ends.append(token)
    return tuple(ends), tuple(spared)


def grants(policies: Mapping[str, str], names: Iterable[str], path: str) -> frozenset[str]:
    """What policies together grant at a path; of texts that cannot be read, nothing."""
    return capabilities([rule for name in names for rule in _rules(policies.get(name, ""), name) or ()], path)


def _holds(token: Token, sight: Sight) -> bool:
    """Whether it is a wrapping token, and what was read into it is exposed."""
    return _WRAPPING in token.policies and any(token.path in region for region in sight.exposure.regions)


def _judged(name: str, text: str, regions: tuple[Region, ...]) -> Struck | None:
    if name == ROOT:
        return None  # Its tokens are told apart.
    rules = _rules(text, name)
    if rules is None:
        return Struck(name, Way.UNREADABLE)
    reached = reach(rules, regions)
    if reached is None:
        return None
    return Struck(name, Way.TEMPLATED if reached.templated else Way.GRANTS, reached.path)


def _rules(text: str, name: str) -> tuple[Rule, ...] | None:
    try:
        return rules_of(text, name)
    except ConfigError:
        return None


def _ancestors(sight: Sight) -> frozenset[str]:
    """Vault does not tell a token's parent: it may be any older token that may write where the child was made."""
    above: set[str] = set()
    children = [sight.own]
    while children:
        child = children.pop()
        if child.orphan:
            continue
        for token in sight.tokens:
            if token.accessor in above or token.accessor == child.accessor or token.created > child.created:
                continue
            if ROOT in token.policies or grants(sight.policies, token.policies, child.path) & MAKING:
                above.add(token.accessor)
                children.append(token)
    return frozenset(above)
