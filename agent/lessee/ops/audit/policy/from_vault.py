"""What the server's policies and roles say: who may do what, and whether one reaches two environments."""

from collections.abc import Iterable, Iterator, Mapping

from lessee.core.errors import ConfigError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.access.policy.rules import Kind, Rule, rules_of
from lessee.ops.audit.policy.rows import Row, Section
from lessee.ops.incident.policy.findings import AccessKind, AffectedPolicy, Login, Role

_ACL = "sys/policies/acl"


class Seen(ImmutableStruct, frozen=True):
    """Of one environment: the policies that reach it, and who is given them."""

    environment: str
    affected_policies: tuple[AffectedPolicy, ...]
    roles: tuple[Role, ...] = ()
    logins: tuple[Login, ...] = ()


def access(policies: Mapping[str, str], seen: Iterable[Seen]) -> Iterator[Row]:
    """A line for each role and each rule of a policy that it gives."""
    for one in seen:
        reaching = {policy.name: policy for policy in one.affected_policies}
        for role in one.roles:
            yield from _rows(f"AppRole {role}", f"auth/{role.mount}/role/{role.name}", role.policies, one, policies)
        for login in one.logins:
            yield from _rows(login.path, login.path, login.policies, one, policies)
        given = {name for role in one.roles for name in role.policies}
        given |= {name for login in one.logins for name in login.policies}
        for name in sorted(reaching.keys() - given):
            what = reaching[name].path or "somewhere"
            detail = "no role or user that can be seen gives this policy"
            yield Row(Section.ACCESS, one.environment, f"policy {name}", what, detail, "", f"{_ACL}/{name}")


def separation(seen: Iterable[Seen]) -> Iterator[Row]:
    """A policy that reaches more than one environment is an exception; that there is none is told too."""
    seen = tuple(seen)
    reached: dict[str, dict[str, AffectedPolicy]] = {}
    for one in seen:
        for policy in one.affected_policies:
            reached.setdefault(policy.name, {})[one.environment] = policy
    for name, places in sorted(reached.items()):
        if len(places) > 1:
            where = "; ".join(f"{environment}: {_reached(policy)}" for environment, policy in places.items())
            what = f"reaches {', '.join(places)}"
            yield Row(Section.SEPARATION, "", f"policy {name}", what, where, "", f"{_ACL}/{name}")
    for one in seen:
        others = sum(len(reached[policy.name]) > 1 for policy in one.affected_policies)
        what = f"{len(one.affected_policies)} policies reach it, {others} of them another environment too"
        yield Row(Section.SEPARATION, one.environment, one.environment, what, "", "", _ACL)


def _rows(who: str, place: str, names: Iterable[str], one: Seen, policies: Mapping[str, str]) -> Iterator[Row]:
    reaching = {policy.name for policy in one.affected_policies}
    for name in names:
        if name not in reaching:
            continue
        source = f"{place}, {_ACL}/{name}"
        try:
            rules = rules_of(policies.get(name, ""), name)
        except ConfigError:
            yield Row(Section.ACCESS, one.environment, who, "everything", "the policy cannot be read", "", source)
            continue
        for rule in rules:
            granted = ", ".join(sorted(rule.capabilities))
            yield Row(Section.ACCESS, one.environment, who, _path(rule), granted, "", source)


def _path(rule: Rule) -> str:
    more = "{{…}}" if rule.templated else "*" if rule.kind is Kind.PREFIX else ""
    return f"{rule.path}{more}"


def _reached(policy: AffectedPolicy) -> str:
    return "its text cannot be read" if policy.access is AccessKind.UNREADABLE else policy.path
