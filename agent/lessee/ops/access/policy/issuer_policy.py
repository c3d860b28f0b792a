"""Derives the policy of `lessee issue`: wrapped secret_ids of the configured roles, and nothing else."""

from math import ceil

from msgspec.structs import replace

from lessee.config.grammar.issue import Issue
from lessee.ops.access.policy.least_privilege import Rule, hcl
from lessee.ops.access.policy.rotator_policy import TOKEN_RULES


def of_issuer(name: str, issue: Issue) -> str:
    """The policy in HCL, with a heading."""
    return hcl([f"{name}: hands out wrapped secret_ids"], rules(issue))


def issued_in(environment: str, issue: Issue) -> Issue | None:
    """The roles of one environment alone: its issuer hands out no secret_id of another one. None: it has no role."""
    roles = {name: role for name, role in issue.roles.items() if name.lower().startswith(f"{environment.lower()}-")}
    return replace(issue, roles=roles) if roles else None


def rules(issue: Issue) -> tuple[Rule, ...]:
    """The rules, sorted by path. Vault itself refuses a secret_id that is not wrapped, or for longer."""
    longest = f"{ceil(issue.wrap_ttl)}s"
    found = [
        Rule(
            f"auth/{issue.mount}/role/{role}/secret-id",
            ("update",),
            ("a secret_id of this role, response-wrapped",),
            wrapping_ttl=("1s", longest),
        )
        for role in issue.roles
    ]
    found += [Rule(path, (capability,), (why,)) for path, capability, why in TOKEN_RULES]
    return tuple(sorted(found, key=_path))


def _path(rule: Rule) -> str:
    return rule.path
