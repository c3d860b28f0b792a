"""The texts for a clone of an adopted project: its plan, the missing secrets, and its own Compose file."""

from collections.abc import Iterator, Mapping

from lessee.core.immutable import ImmutableStruct
from lessee.ops.adopt.policy.committed import Committed
from lessee.ops.adopt.policy.override_text import AGENT, HOLDER, scalar
from lessee.ops.adopt.policy.role_owners import rules
from lessee.ops.adopt.policy.rotator_text import SERVICE

LOCAL_FILE = ".lessee/compose.yaml"
"""The Compose file of one clone. git ignores its folder."""
LOCAL_CA = ".lessee/vault-ca.pem"
_OWN_TOKEN = ("auth/token/lookup-self", "auth/token/renew-self", "auth/token/revoke-self")
_CA = "/run/vault-ca.pem"
"""In the containers."""


class ClonePlan(ImmutableStruct, frozen=True):
    """What `lessee adopt` does in a clone."""

    committed: Committed
    address: str
    """Of the user's Vault."""
    image: str
    policies: Mapping[str, str]
    """The policies that the clone's files need, by role."""
    new_roles: tuple[str, ...]
    """Those that this Vault does not have."""
    is_known: bool
    """Another clone of the project has logins in this Vault."""
    files: Mapping[str, bool]
    """The files of variables to write, and whether each is new."""
    missing: tuple[tuple[str, str], ...]
    """Path and field of each secret that Vault does not have."""


def clone_lines(plan: ClonePlan, data: str) -> Iterator[str]:
    """The plan without a value. `data`: the path in Vault's API below which the environment's secrets are."""
    committed = plan.committed
    yield f"project {committed.project} is adopted, and this is a clone of it; environment {committed.environment}"
    yield f"its agent is image {plan.image}, and uses your Vault at {plan.address}"
    written = committed.deployment.vault_address
    if written != plan.address:
        yield f"  lessee/lessee.yaml names {written}: this clone does not use that address"
    yield "what its services may read in Vault:"
    for role, policy in plan.policies.items():
        is_new = " (new in this Vault)" if role in plan.new_roles else ""
        yield f"  {role}{is_new}:"
        yield from (f"    {line}" for line in _granted(policy, data))
    yield f"new logins for {len(plan.policies)} role{'s' * (len(plan.policies) != 1)}, for this clone alone"
    if plan.files:
        yield "files of this clone, with references in the place of secrets:"
        yield from (f"  {'+' if is_new else '~'} {name}" for name, is_new in plan.files.items())


def missing_lines(plan: ClonePlan, *, is_dev: bool) -> Iterator[str]:
    """The secrets that Vault does not have, each with the command that stores it."""
    if not plan.missing:
        return
    yield "secrets that your Vault does not have; each command asks for the value:"
    if is_dev:
        yield '  eval "$(lessee dev --export)"'
    for path, field in plan.missing:
        yield f"  lessee set --config lessee/lessee.yaml --create --no-wait {path} {field}"


def local_override(address: str, committed: Committed, image: str, *, has_ca: bool, has_rotator: bool) -> str:
    """The text of the clone's own Compose file: how its agent reaches Vault."""
    lines = ["# Written by `lessee adopt` for this clone alone: how its agent reaches Vault.", "services:"]
    has_image = image != committed.deployment.image
    for name in (AGENT, *((SERVICE,) if has_rotator else ())):
        lines += [
            f"  {name}:",
            *(f"    {line}" for line in _service(address, image if has_image else "", has_ca=has_ca)),
        ]
    if has_image:
        lines += [f"  {HOLDER}:", f"    image: {scalar(image)}"]
    return "".join(f"{line}\n" for line in lines)


def _service(address: str, image: str, *, has_ca: bool) -> Iterator[str]:
    if image:
        yield f"image: {scalar(image)}"
    yield "environment:"
    yield f"  VAULT_ADDR: {scalar(address)}"
    if has_ca:
        yield f"  VAULT_CACERT: {_CA}"
        yield f"volumes: [{scalar(f'./{LOCAL_CA}:{_CA}:ro')}]"
    if "host.docker.internal" in address:
        yield 'extra_hosts: ["host.docker.internal:host-gateway"]'


def _granted(policy: str, data: str) -> Iterator[str]:
    """Each path that a policy grants, as templates name it. What each agent has for its own work is left out."""
    metadata = data.replace("/data/", "/metadata/", 1)
    found = rules(policy)
    for path, capabilities in found.items():
        secret = path.removeprefix(metadata)
        is_of_secret = secret != path and capabilities == {"read"} and f"{data}{secret}" in found
        if is_of_secret or path.startswith((*_OWN_TOKEN, f"{metadata}lessee/consumers/")):
            continue
        more = capabilities - {"read"}
        name = path.removeprefix(data)
        yield f"{name} ({', '.join(sorted(capabilities))})" if more else name
