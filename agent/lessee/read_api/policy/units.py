"""Which unit of systemd asks for a credential, and whether the kernel confirms that."""

from collections.abc import Collection

from lessee.core.cgroups import places_in
from lessee.core.immutable import ImmutableStruct


class CredentialRequest(ImmutableStruct, frozen=True):
    """What systemd says in its address when it connects for LoadCredential= (systemd.exec(5))."""

    unit: str
    credential: str


def request_of(address: bytes | str) -> CredentialRequest | None:
    """Read the address of a client, such as `@a94c5d3e/unit/web.service/web.env`; None: it is not systemd's.

    Any process can have such an address, so `refusal` must confirm it.
    """
    if not isinstance(address, bytes) or not address.startswith(b"\0"):
        return None
    try:
        match address[1:].decode().split("/"):
            case [_, "unit", unit, credential] if unit and credential:
                return CredentialRequest(unit, credential)
            case _:
                return None
    except UnicodeDecodeError:
        return None


def refusal(request: CredentialRequest | None, units: Collection[str], *, uid: int, own_uid: int, cgroups: str) -> str:
    """Why this client gets no credential; empty if it is systemd and starts the unit that it names.

    `cgroups` is the client's /proc/PID/cgroup: systemd reads credentials in a process that it has already put into the
    cgroup of the unit. A process of another unit or of a container is not there, and only root can move it there.
    """
    if uid not in {0, own_uid}:
        return f"uid {uid} is neither root nor the agent's own user"
    if request is None:
        return "the client is not systemd"
    if request.unit not in units:
        return "the configuration does not name this unit"
    manager = "/" if uid == 0 else f"/user.slice/user-{uid}.slice/user@{uid}.service/"
    if not any(_is_of_unit(cgroup, manager, request.unit) for cgroup in _cgroups(cgroups)):
        return "the client is not in the cgroup of this unit"
    return ""


def _cgroups(lines: str) -> Collection[str]:
    """The cgroups that systemd manages: that of version 2 and, on machines with version 1, systemd's own hierarchy."""
    return [path for controllers, path in places_in(lines) if controllers in {"", "name=systemd"}]


def _is_of_unit(cgroup: str, manager: str, unit: str) -> bool:
    """Whether this is the unit's cgroup or one below it. Only slices are above a unit of the manager."""
    if not cgroup.startswith(manager):
        return False
    below = cgroup.removeprefix(manager).split("/")
    return next((element for element in below if not element.endswith(".slice")), "") == unit
