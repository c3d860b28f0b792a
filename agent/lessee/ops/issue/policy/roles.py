"""Decides which role a process may have: by its uid, and by the labels of its container or by its systemd unit."""

from collections.abc import Mapping

from lessee.config.containers import is_named
from lessee.config.grammar.issue import Issue, IssuedRole
from lessee.core.immutable import ImmutableStruct

_ONE_OFF = "com.docker.compose.oneoff"


class ContainerPlace(ImmutableStruct, frozen=True):
    """A running container, as the engine describes it."""

    id: str
    name: str
    labels: Mapping[str, str]

    @property
    def key(self) -> str:
        """A name that no other place has."""
        return f"container {self.id}"

    @property
    def title(self) -> str:
        """For people."""
        return f"container {self.name}"


class UnitPlace(ImmutableStruct, frozen=True):
    """A service of systemd."""

    name: str

    @property
    def key(self) -> str:
        """A name that no other place has."""
        return self.title

    @property
    def title(self) -> str:
        """For people."""
        return f"unit {self.name}"


Place = ContainerPlace | UnitPlace


class Refusal(ImmutableStruct, frozen=True):
    """Why a process gets nothing, for its own log and for that of the service."""

    reason: str


def may_ask(issue: Issue, uid: int) -> bool:
    """Whether any role is for this user; without one, nothing else is looked up."""
    return any(role.uid == uid for role in issue.roles.values())


def role_for(issue: Issue, uid: int, place: Place, wanted: str) -> str | Refusal:
    """The role of a process of this user in this place. `wanted`: which of several; empty: there is only one."""
    here = [name for name, role in issue.roles.items() if _is_for(role, place)]
    if isinstance(place, ContainerPlace) and place.labels.get(_ONE_OFF, "").lower() == "true":
        return Refusal(f"`docker compose run` started {place.title}, and such containers get no secret_id")
    if not here:
        return Refusal(f"no role in issue.roles is for {place.title}")
    mine = [name for name in here if issue.roles[name].uid == uid]
    if not mine:
        return Refusal(f"uid {uid} gets no secret_id in {place.title}; see `uid` of issue.roles.{here[0]}")
    if wanted:
        return wanted if wanted in mine else Refusal(f"the role {wanted} is not for {place.title}")
    if len(mine) > 1:
        return Refusal(f"{place.title} may have several roles, {', '.join(mine)}: name one with `secret_id_role`")
    return mine[0]


def _is_for(role: IssuedRole, place: Place) -> bool:
    if isinstance(place, UnitPlace):
        return place.name in role.units
    return is_named(role.containers, place.labels)
