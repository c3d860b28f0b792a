"""Rows from Vault's policies and roles: current access, and policies that reach two environments."""

from collections.abc import Iterable, Iterator, Mapping

from lessee.core.errors import ConfigError
from lessee.core.immutable import ImmutableStruct
from lessee.core.printable import counted
from lessee.ops.access.policy.rules import Kind, Rule, rules_of
from lessee.ops.audit.policy.rows import Row, Section
from lessee.ops.incident.policy.findings import AccessKind, AffectedPolicy, Login, Role

_ACL = "sys/policies/acl"


class EnvironmentAccess(ImmutableStruct, frozen=True):
    """The policies that reach an environment, and the roles and logins that get them."""

    environment: str
    affected_policies: tuple[AffectedPolicy, ...]
    roles: tuple[Role, ...] = ()
    logins: tuple[Login, ...] = ()


def access_rows(policies: Mapping[str, str], accesses: Iterable[EnvironmentAccess]) -> Iterator[Row]:
    """A row for each rule of a policy, by the role or login that gets the policy."""
    for access in accesses:
        reaching = {policy.name: policy for policy in access.affected_policies}
        for role in access.roles:
            yield from _rows(f"AppRole {role}", f"auth/{role.mount}/role/{role.name}", role.policies, access, policies)
        for login in access.logins:
            yield from _rows(login.path, login.path, login.policies, access, policies)
        assigned = {name for role in access.roles for name in role.policies}
        assigned |= {name for login in access.logins for name in login.policies}
        for name in sorted(reaching.keys() - assigned):
            item = reaching[name].path or "unknown paths"
            detail = "no visible role or login gets this policy"
            yield Row(Section.ACCESS, access.environment, f"policy {name}", item, detail, "", f"{_ACL}/{name}")


def separation_rows(accesses: Iterable[EnvironmentAccess]) -> Iterator[Row]:
    """A row for each policy that reaches several environments, and one for each environment."""
    accesses = tuple(accesses)
    reached: dict[str, dict[str, AffectedPolicy]] = {}
    for access in accesses:
        for policy in access.affected_policies:
            reached.setdefault(policy.name, {})[access.environment] = policy
    for name, environments in sorted(reached.items()):
        if len(environments) > 1:
            detail = "; ".join(f"{environment}: {_reached(policy)}" for environment, policy in environments.items())
            item = f"reaches {', '.join(environments)}"
            yield Row(Section.SEPARATION, "", f"policy {name}", item, detail, "", f"{_ACL}/{name}")
    for access in accesses:
        shared = sum(len(reached[policy.name]) > 1 for policy in access.affected_policies)
        reaching = len(access.affected_policies)
        reach = "reaches" if reaching == 1 else "reach"
        item = f"{counted(reaching, 'policy')} {reach} it, {shared} of them another environment too"
        yield Row(Section.SEPARATION, access.environment, access.environment, item, "", "", _ACL)


def _rows(
    actor: str, origin: str, names: Iterable[str], access: EnvironmentAccess, policies: Mapping[str, str]
) -> Iterator[Row]:
    reaching = {policy.name for policy in access.affected_policies}
    for name in names:
        if name not in reaching:
            continue
        source = f"{origin}, {_ACL}/{name}"
        try:
            rules = rules_of(policies.get(name, ""), name)
        except ConfigError:
            detail = "the policy cannot be parsed"
            yield Row(Section.ACCESS, access.environment, actor, "possibly everything", detail, "", source)
            continue
        for rule in rules:
            capabilities = ", ".join(sorted(rule.capabilities))
            yield Row(Section.ACCESS, access.environment, actor, _path(rule), capabilities, "", source)


def _path(rule: Rule) -> str:
    suffix = "{{…}}" if rule.templated else "*" if rule.kind is Kind.PREFIX else ""
    return f"{rule.path}{suffix}"


def _reached(policy: AffectedPolicy) -> str:
    return "the policy cannot be parsed" if policy.access is AccessKind.UNREADABLE else policy.path
