"""Derives the smallest Vault policy for the monitor: what its responses change, without undo, and the raft peers."""

from collections.abc import Iterator

from msgspec.structs import replace

from lessee.config import Config
from lessee.config.grammar.monitor import Monitor
from lessee.config.grammar.responses import DisableRole, Emergency, Responses, RevokeToken
from lessee.config.grammar.rotation import admin_of
from lessee.ops.access.policy import rotator_policy
from lessee.ops.access.policy.least_privilege import Rule, hcl, is_pattern
from lessee.ops.access.policy.rotator_policy import TOKEN_RULES

_ROLE = "auth/approle/role/"
_NETWORKS = "/secret-id-bound-cidrs"
DISABLED = "255.255.255.255/32"
"""The only network from which a disabled role accepts logins. No client has this address: RFC 919, section 7."""
_SERVICES = ("rotator", "monitor")

_Request = tuple[str, tuple[str, ...], str]
"""A path, its capabilities, and their purpose."""


def of_monitor(name: str, config: Config) -> str:
    """The policy in HCL, with a heading; empty if the monitor needs no login. Raises ConfigError as `of_rotator`."""
    found = rules(config)
    if not found or config.monitor is None:
        return ""
    parts = ("responds to alerts", config.monitor.responses), ("counts the raft peers", config.monitor.cluster)
    return hcl([f"{name}: {' and '.join(what for what, block in parts if block is not None)}"], found)


def rules(config: Config) -> tuple[Rule, ...]:
    """The rules, sorted by path; none if the monitor needs no login."""
    if config.monitor is None:
        return ()
    by_path: dict[str, tuple[set[str], dict[str, None]]] = {}
    for path, capabilities, why in _requests(config, config.monitor):
        known, purposes = by_path.setdefault(path, (set(), {}))
        known.update(capabilities)
        purposes[why] = None
    return tuple(
        Rule(path, tuple(sorted(known)), tuple(purposes), _parameters(path, known))
        for path, (known, purposes) in sorted(by_path.items())
    )


def _parameters(path: str, capabilities: set[str]) -> tuple[tuple[str, str], ...]:
    """The only values that may be written at the path."""
    is_network = path.endswith(_NETWORKS) and "update" in capabilities
    return (("secret_id_bound_cidrs", DISABLED),) if is_network else ()


def _requests(config: Config, monitor: Monitor) -> Iterator[_Request]:
    found = [*_of_responses(config, monitor.responses)] if monitor.responses is not None else []
    if monitor.cluster is not None:
        found.append(("sys/storage/raft/configuration", ("read",), "cluster: to count the raft peers"))
    yield from found
    if found:
        for path, capability, why in TOKEN_RULES:
            yield path, (capability,), why


def _of_responses(config: Config, responses: Responses) -> Iterator[_Request]:
    kinds = {type(response) for response in responses.actions if not response.dry_run}
    asking = {type(response) for response in responses.actions}
    if asking & {RevokeToken, DisableRole}:
        yield from _of_tokens(responses)
    if RevokeToken in kinds:
        yield "auth/token/revoke-accessor", ("update",), "revoke-token: to revoke it"
    if DisableRole in asking:
        change = ("read", "update") if DisableRole in kinds else ("read",)
        yield f"{_ROLE}+{_NETWORKS}", change, "disable-role: to refuse all logins of a role, and nothing else"
        for name in _protected_roles(config, responses):
            yield f"{_ROLE}{name}{_NETWORKS}", ("deny",), "a protected role"
    for response in responses.actions:
        if isinstance(response, Emergency):
            yield from _of_emergency(config, response)


def _of_tokens(responses: Responses) -> Iterator[_Request]:
    yield "auth/token/lookup-accessor", ("update",), "to see whose token it is, and whether it is protected"
    yield "sys/capabilities-accessor", ("update",), "to see whether it belongs to an administrator"
    if responses.audit_device is not None:
        yield "auth/token/accessors", ("list", "sudo"), "to find the token of an HMAC in the log"
        yield f"sys/audit-hash/{responses.audit_device}", ("update",), "to find the token of an HMAC in the log"


def _protected_roles(config: Config, responses: Responses) -> Iterator[str]:
    """The names that Vault itself can protect; other patterns only the monitor checks."""
    environments = dict.fromkeys((*config.setup.environments, *filter(None, (config.environment,))))
    yield from (config.setup.role_name(environment, service) for environment in environments for service in _SERVICES)
    yield from (name.lower() for name in responses.protected if not is_pattern(name) and not set(name) & set("?[]/"))


def _of_emergency(config: Config, response: Emergency) -> Iterator[_Request]:
    why = f"emergency {response.path}"
    for path in ("sys/mounts", "sys/auth", "sys/policies/acl/*", "sys/auth/token/tune"):
        yield path, ("read",), f"{why}: to see who has access"
    # The slash at the end: otherwise the rule for what is below would win, which ends with `+` or `*`.
    for path in ("sys/policies/acl/", "sys/namespaces/", "identity/entity/id/", "identity/group/id/"):
        yield path, ("list",), f"{why}: to see who has access"
    for path in ("identity/entity/id/+", "identity/group/id/+"):
        yield path, ("read",), f"{why}: to see who has access"
    for folder in ("role", "roles", "users", "groups", "certs"):
        yield f"auth/+/{folder}/", ("list",), f"{why}: to see who has access"
        yield f"auth/+/{folder}/+", ("read",), f"{why}: to see who has access"
    yield f"{_ROLE}+/secret-id/", ("list",), f"{why}: to end logins"
    yield f"{_ROLE}+/secret-id-accessor/destroy", ("update",), f"{why}: to end logins"
    yield "auth/token/accessors", ("list", "sudo"), f"{why}: to end tokens"
    for path in ("auth/token/lookup-accessor", "auth/token/revoke-accessor", "sys/capabilities-accessor"):
        yield path, ("update",), f"{why}: to end tokens"
    yield f"sys/leases/lookup/{response.path}/*", ("list", "sudo"), f"{why}: to end leases"
    yield f"sys/leases/revoke-prefix/{response.path}", ("sudo", "update"), f"{why}: to end leases"
    place = f"{config.secrets.mount}/metadata/{config.secrets.prefix}{response.path}"
    yield place, ("list", "read"), f"{why}: to list its secrets"
    yield f"{place}/*", ("list", "read"), f"{why}: to list its secrets"
    inside = {
        name: target
        for name, target in config.rotation.items()
        if any(f"{secret}/".startswith(f"{response.path}/") for secret in (target.secret, admin_of(target) or ""))
    }
    if inside:
        for rule in rotator_policy.rules(replace(config, rotation=inside)):
            yield rule.path, rule.capabilities, f"{why}: {rule.comments[0]}"
