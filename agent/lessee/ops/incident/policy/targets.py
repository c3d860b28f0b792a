"""Selects what to revoke: policies by the paths that they grant, and tokens by their policies."""

from collections.abc import Iterable, Mapping

from lessee.core.errors import ConfigError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.access.policy.reach import Region, reach
from lessee.ops.access.policy.rules import Rule, capabilities, rules_of
from lessee.ops.incident.policy.findings import AccessKind, AffectedPolicy, Findings, Token

ROOT = "root"
_WRAPPING = "response-wrapping"
CREATE_CAPABILITIES = frozenset({"create", "update"})


class SkippedToken(ImmutableStruct, frozen=True):
    """A token that is not revoked automatically, and why."""

    token: Token
    reason: str


def affected_policies(policies: Mapping[str, str], regions: Iterable[Region]) -> tuple[AffectedPolicy, ...]:
    """The policies that grant access to one of the regions, by name.

    A policy that is templated or cannot be parsed counts as one where it may grant access.
    """
    regions = tuple(regions)
    found = (_affected(name, policies[name], regions) for name in sorted(policies))
    return tuple(policy for policy in found if policy is not None)


def tokens_to_revoke(findings: Findings) -> tuple[tuple[Token, ...], tuple[SkippedToken, ...]]:
    """The tokens to revoke, the newest first, and those that a user must revoke.

    Skipped are the operator's own token, tokens that may be its parents (it would be revoked with them), and root
    tokens.
    """
    ancestors = _ancestors(findings)
    revoked, skipped = [], []
    for token in sorted(findings.tokens, key=lambda token: (-token.created, token.accessor)):
        if token.accessor == findings.own_token.accessor:
            if token.policies & (findings.affected_names | {ROOT}):
                skipped.append(SkippedToken(token, "it is your own token"))
        elif ROOT in token.policies:
            skipped.append(SkippedToken(token, "it is a root token"))
        elif not token.policies & findings.affected_names and not _wraps_exposed(token, findings):
            continue
        elif findings.protects(token.policies):
            skipped.append(SkippedToken(token, "its policy is protected by --protect"))
        elif token.accessor in ancestors:
            skipped.append(SkippedToken(token, "it may be a parent of your own token, which would be revoked with it"))
        else:
            revoked.append(token)
    return tuple(revoked), tuple(skipped)


def granted(policies: Mapping[str, str], names: Iterable[str], path: str) -> frozenset[str]:
    """The capabilities that policies together grant at a path; policies that cannot be parsed grant none."""
    return capabilities([rule for name in names for rule in _rules(policies.get(name, ""), name) or ()], path)


def _wraps_exposed(token: Token, findings: Findings) -> bool:
    """Whether it is a wrapping token with an exposed secret."""
    return _WRAPPING in token.policies and any(token.path in region for region in findings.exposure.regions)


def _affected(name: str, text: str, regions: tuple[Region, ...]) -> AffectedPolicy | None:
    if name == ROOT:
        return None  # Root tokens are selected on their own.
    rules = _rules(text, name)
    if rules is None:
        return AffectedPolicy(name, AccessKind.UNREADABLE)
    reached = reach(rules, regions)
    if reached is None:
        return None
    return AffectedPolicy(name, AccessKind.TEMPLATED if reached.templated else AccessKind.GRANTED, reached.path)


def _rules(text: str, name: str) -> tuple[Rule, ...] | None:
    try:
        return rules_of(text, name)
    except ConfigError:
        return None


def _ancestors(findings: Findings) -> frozenset[str]:
    """The accessors of tokens that may be the own token's ancestors.

    Vault does not report a token's parent. It may be any older token that may create tokens at the child's path.
    """
    ancestors: set[str] = set()
    children = [findings.own_token]
    while children:
        child = children.pop()
        if child.orphan:
            continue
        for token in findings.tokens:
            if token.accessor in ancestors or token.accessor == child.accessor or token.created > child.created:
                continue
            may_create = granted(findings.policies, token.policies, child.path) & CREATE_CAPABILITIES
            if ROOT in token.policies or may_create:
                ancestors.add(token.accessor)
                children.append(token)
    return frozenset(ancestors)
