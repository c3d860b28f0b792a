"""Decides whether an adoption may change a role's policy, which other projects or other clones may use too."""

import re
from collections.abc import Iterable, Mapping

from lessee.core.errors import LesseeError, WriteError
from lessee.core.immutable import ImmutableStruct

_RULE = re.compile(r'^path "((?:[^"\\]|\\.)*)" \{\s*capabilities = \[([^\]]*)\]', re.MULTILINE)


class Owner(ImmutableStruct, frozen=True):
    """An adoption, as the metadata of its secret_ids in Vault names it. All are empty for other logins."""

    adoption: str = ""
    project: str = ""
    environment: str = ""
    project_id: str = ""
    """Distinguishes two projects of the same name."""

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata of a secret_id."""
        return {
            "lessee_adoption": self.adoption,
            "project": self.project,
            "environment": self.environment,
            "project_id": self.project_id,
        }


def owner_of(metadata: Mapping[str, object] | None) -> Owner:
    """The adoption that made a secret_id with this metadata."""
    known = metadata or {}
    return Owner(*(str(known.get(name) or "") for name in Owner().metadata))


def refusal(role: str, logins: Iterable[Owner], own: Owner, before: str | None, after: str) -> LesseeError | None:
    """Why the policy of the role must not become `after`; None: it may. `before`: the policy that Vault has."""
    others = [login for login in logins if login != own]
    refused = foreign(role, others, own)
    if refused is not None:
        return refused
    lost = _lost(before or "", after)
    if not others or not lost:
        return None
    what = f"another clone, or another program, uses this policy, and would lose {', '.join(lost)}"
    todo = "use the same files in all clones, or pass another --environment"
    return WriteError(what, where=f"sys/policies/acl/{role}", todo=f"nothing was changed; {todo}")


def foreign(role: str, logins: Iterable[Owner], own: Owner) -> LesseeError | None:
    """Why a role with these logins is another project's; None: it is not."""
    where = f"auth/approle/role/{role}"
    rename = "give this project another name (`name:` in the Compose file), or pass another --environment"
    for login in logins:
        if not login.project:
            continue
        if (login.project, login.environment) != (own.project, own.environment):
            what = f"project {login.project} of environment {login.environment} uses this role"
            return WriteError(what, where=where, todo=f"nothing was changed; {rename}")
        if login.project_id != own.project_id:
            what = f"another project of the name {login.project} uses this role"
            todo = (
                "if this is a clone of it, take over its compose.lessee.yaml and lessee/ (commit them there, and pull "
                f"here), and run this command again; otherwise {rename}"
            )
            return WriteError(what, where=where, todo=f"nothing was changed; {todo}")
    return None


def missing(role: str, policy: str, needed: str) -> LesseeError | None:
    """Why a clone cannot use a role whose policy others use too; None: it can. A clone does not change it."""
    lost = _lost(needed, policy)
    if not lost:
        return None
    what = f"this clone's files need more than this policy grants: {', '.join(lost)}"
    todo = "see who changed lessee/; who adopted the project gives the policy more with `lessee adopt`"
    return WriteError(what, where=f"sys/policies/acl/{role}", todo=f"nothing was changed; {todo}")


def _lost(before: str, after: str) -> tuple[str, ...]:
    """The paths for which `after` grants less."""
    granted = rules(after)
    return tuple(path for path, capabilities in rules(before).items() if capabilities - granted.get(path, set()))


def rules(policy: str) -> dict[str, set[str]]:
    """The capabilities that a policy grants, by path."""
    return {path: set(re.findall(r'"(\w+)"', capabilities)) for path, capabilities in _RULE.findall(policy)}
