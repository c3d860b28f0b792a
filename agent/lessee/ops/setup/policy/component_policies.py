"""The policies of components, from their capabilities, and of apps, from what their templates read."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec.structs import replace

from lessee.config.grammar.setup import Capability
from lessee.config.grammar.vault import AppRole
from lessee.core.paths import Ref
from lessee.ops.access.policy.least_privilege import Engine, Rule, hcl, policy
from lessee.rendering.app_templates import CompiledApp

_V2 = 2
_GRANTS: Mapping[Capability, tuple[tuple[str, tuple[str, ...], str], ...]] = {
    "read": (("data", ("read",), "values"), ("metadata", ("read",), "versions, without values")),
    "list": (
        ("metadata", ("list",), "names, without values"),
        ("detailed-metadata", ("list",), "names and versions, without values (OpenBao)"),
    ),
    "create": (("data", ("create",), "new secrets"),),
    "update": (("data", ("patch", "update"), "new versions of existing secrets"),),
    "delete": (
        ("data", ("delete",), "the newest version"),
        ("delete", ("update",), "any version"),
        ("undelete", ("update",), "undelete any version"),
        ("destroy", ("update",), "destroy any version"),
        ("metadata", ("delete",), "all versions, permanently"),
    ),
    "all": (("metadata", ("create", "patch", "update"), "settings, such as cas_required"),),
}
"""What a capability of a component means in KV version 2: the API, Vault's capabilities on it, and what they allow."""


def of_component(name: str, rights: Iterable[Capability], folders: Sequence[str], mount: str, prefix: str) -> str:
    """The policy that grants only these capabilities below these folders of an environment, in KV version 2."""
    granted = frozenset(rights)
    by_path: dict[str, tuple[set[str], list[str]]] = {}
    for folder in folders:
        for right in ("read", "list", "create", "update", "delete", "all"):
            if right not in granted and "all" not in granted:
                continue
            for place, capabilities, why in _GRANTS[right]:
                known, purposes = by_path.setdefault(f"{mount}/{place}/{prefix}{folder}*", (set(), []))
                known.update(capabilities)
                purposes.append(f"{right}: {why}")
    rules = [Rule(path, tuple(sorted(known)), tuple(purposes)) for path, (known, purposes) in sorted(by_path.items())]
    below = ", ".join(f"{mount}/{prefix}{folder}" for folder in folders)
    return hcl([f"{name}: {', '.join(sorted(granted))} below {below}"], rules)


def of_app(name: str, compiled_app: CompiledApp, rotated: Collection[Ref] | None = frozenset()) -> str:
    """The smallest policy for an app's agent, on servers with and without detailed metadata.

    `rotated`: the secrets that are rotated, as for `least_privilege.policy`.
    """
    vault = replace(compiled_app.app.vault, auth=AppRole(role_id=name))
    compiled_app = replace(compiled_app, app=replace(compiled_app.app, vault=vault))
    by_path: dict[str, tuple[set[str], dict[str, None]]] = {}
    for detailed in (True, False):
        for rule in policy(vault, (compiled_app,), Engine(_V2, detailed=detailed), rotated).rules:
            known, comments = by_path.setdefault(rule.path, (set(), {}))
            known.update(rule.capabilities)
            comments.update(dict.fromkeys(rule.comments))
    rules = [Rule(path, tuple(sorted(known)), tuple(purposes)) for path, (known, purposes) in sorted(by_path.items())]
    return hcl([f"{name}: what the templates of {compiled_app.app.name} read"], rules)
