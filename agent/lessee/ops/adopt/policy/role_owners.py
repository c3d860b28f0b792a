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

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata of a secret_id."""
        return {"lessee_adoption": self.adoption, "project": self.project, "environment": self.environment}


def owner_of(metadata: Mapping[str, object] | None) -> Owner:
    """The adoption that made a secret_id with this metadata."""
    known = metadata or {}
    return Owner(*(str(known.get(name) or "") for name in Owner().metadata))


def refusal(role: str, logins: Iterable[Owner], own: Owner, before: str | None, after: str) -> LesseeError | None:
    """Why the policy of the role must not become `after`; None: it may. `before`: the policy that Vault has."""
    others = [login for login in logins if login != own]
    for login in others:
        if login.project and (login.project, login.environment) != (own.project, own.environment):
            what = f"project {login.project} of environment {login.environment} uses this role"
            todo = "give this project another name (`name:` in the Compose file), or pass another --environment"
            return WriteError(what, where=f"auth/approle/role/{role}", todo=f"nothing was changed; {todo}")
    lost = _lost(before or "", after)
    if not others or not lost:
        return None
    what = f"another project of this name, or another clone, uses this policy, and would lose {', '.join(lost)}"
    todo = "use the same files in both, or pass another --environment"
    return WriteError(what, where=f"sys/policies/acl/{role}", todo=f"nothing was changed; {todo}")


def _lost(before: str, after: str) -> tuple[str, ...]:
    """The paths for which `after` grants less."""
    granted = _rules(after)
    return tuple(path for path, capabilities in _rules(before).items() if capabilities - granted.get(path, set()))


def _rules(policy: str) -> dict[str, set[str]]:
    return {path: set(re.findall(r'"(\w+)"', capabilities)) for path, capabilities in _RULE.findall(policy)}
