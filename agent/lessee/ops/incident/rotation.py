"""Rotates a target after a leak: the old credential ends with the publication, whoever still uses it."""

from lessee.config.grammar.rotation import InVault, Postgres, Rotation
from lessee.core.errors import LesseeError
from lessee.ops.incident.policy.manual_steps import shown, unchanged
from lessee.ops.rotate.command.context import foreseen
from lessee.ops.rotate.documents import Kept
from lessee.ops.rotate.policy.journal import Fields
from lessee.ops.rotate.targets import Project, rotator
from lessee.vault.admin import AdminClient


def rotate_at_once(project: Project, name: str, client: AdminClient) -> tuple[str, ...]:
    """Nobody is waited for, nothing kept, and what had begun before is done anew, for it may be known too.

    The keys of the secret that stayed as they were. Raises what `rotator` and `Rotator.run` do, and LesseeError where
    the old credential is of one whom nobody here may take out of use.
    """
    said, target = project.said(name), project.target(name)
    kept = Kept(client, project.config.secrets.mount)
    before = kept.read(target.path).fields
    with foreseen(), rotator(project, name, client, at_once=True) as one:
        one.run(open_only=True)
        one.run(force=True)
        if isinstance(said, InVault) and any(value.previous is not None for value in said.keys.values()):
            # The value before is still taken by whoever reads it: let it be one that nobody has seen.
            one.run(force=True)
    _refuse_stranger(said, before, target.path)
    return unchanged(before, kept.read(target.path).fields)


def _refuse_stranger(said: Rotation, before: Fields, where: str) -> None:
    user = before.get("username")
    if isinstance(said, Postgres) and user and user not in said.roles:
        todo = "the apps have the new one; take the old one out of use by hand: ALTER ROLE … NOLOGIN"
        raise LesseeError(f"{shown(str(user))} is none of the roles, and can still log in", where=where, todo=todo)
