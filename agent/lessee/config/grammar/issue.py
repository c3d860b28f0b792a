"""The block `issue`: which containers and units get a secret_id from `lessee issue`, and for which role."""

from __future__ import annotations  # The types are evaluated when a file has the block: a sidecar's has not.

from typing import Annotated

from lessee.config.grammar import scalars
from lessee.config.grammar.app import LabeledContainer
from lessee.config.grammar.block import Block, describe


class IssuedRole(Block, frozen=True, kw_only=True):
    """Which agents get a secret_id of this role."""

    uid: Annotated[
        scalars.Uid,
        describe(
            "The uid of the agent as the host sees it. In a container with a user namespace it is another one than "
            "inside, such as 100000."
        ),
    ] = 0
    containers: Annotated[tuple[LabeledContainer, ...], describe("The containers of the agents.")] = ()
    units: Annotated[
        tuple[scalars.ServiceUnit, ...],
        describe("The systemd units of the agents, such as `lessee@web.service`; not those of users."),
    ] = ()


class Issue(Block, frozen=True, kw_only=True):
    """A socket at which agents of this machine get a secret_id, response-wrapped, without a file."""

    socket: Annotated[
        scalars.AbsolutePath, describe("The path of the socket. Mount its directory into the agents' containers.")
    ] = "/run/lessee-issue/issue.sock"
    mount: Annotated[scalars.AuthMountPath, describe("The mount path of the AppRole auth method.")] = "approle"
    wrap_ttl: Annotated[
        scalars.Lifetime, describe("How long an agent has to unwrap the secret_id; the policy allows no more.")
    ] = 60.0
    roles: Annotated[
        dict[scalars.Name, IssuedRole],
        describe("The roles of AppRole by name, such as production-web, and who gets a secret_id of them."),
    ]
