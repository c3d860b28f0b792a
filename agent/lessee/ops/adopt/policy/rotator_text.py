"""The service of compose.lessee.yaml that rotates the passwords of the project's stores."""

from collections.abc import Iterator

from lessee.ops.adopt.policy.config_text import IDENTITY, ROTATOR, identity
from lessee.ops.adopt.policy.model import Deployment, Plan
from lessee.ops.adopt.policy.override_text import NETWORK, scalar
from lessee.ops.adopt.policy.rotation import Rotations

PROFILE, SERVICE = "rotate", "lessee-rotator"
_SERVICE = """\
  # Changes passwords in the stores and in Vault; only this service has a login that may. It starts with its profile:
  # docker compose --profile {profile} up -d, or for one password: docker compose run --rm {service} rotate NAME
  {service}:
    <<: *lessee-confined
    profiles: [{profile}]
    command: [rotate, --watch]
    user: "0:0"
    mem_limit: 256m
    pids_limit: 64
    networks: [{networks}]
"""


def rotator_service(plan: Plan, deployment: Deployment, found: Rotations) -> Iterator[str]:
    """The lines of the service; none without targets."""
    if not found.targets:
        return
    services = (plan.project.services[name] for name in found.services)
    networks = dict.fromkeys(network for service in services for network in service.networks or ("default",))
    yield from _SERVICE.format(
        profile=PROFILE,
        service=SERVICE,
        networks=", ".join(map(scalar, (NETWORK, *networks))),
    ).splitlines()
    if "host.docker.internal" in deployment.vault_address:
        yield '    extra_hosts: ["host.docker.internal:host-gateway"]'
    yield '    tmpfs: ["/run/lessee:mode=0700"]'
    own = identity(plan, ROTATOR)
    yield "    volumes:"
    for mount in (f"./{deployment.folder}:/etc/lessee:ro", f"./{deployment.identity}/{own}:{IDENTITY}/{own}:ro"):
        yield f"      - {scalar(mount)}"
