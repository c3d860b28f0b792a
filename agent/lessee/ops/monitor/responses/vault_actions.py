"""What responses ask of Vault: which token an accessor in the log is, to revoke it, and to disable an AppRole."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import TypeVar

import msgspec

from lessee.core.errors import LesseeError, VaultRequestError
from lessee.core.failures import Kind
from lessee.ops.monitor.policy.protection import (
    ROOT,
    Protection,
    Token,
    is_in_same_namespace,
    parse_token,
    refusal,
    role_refusal,
)
from lessee.vault.admin import AdminClient

DISABLED = "255.255.255.255/32"
"""As in the monitor's policy, which allows no other value."""
_HASHED = "hmac-"
_MAX_TOKENS = 50_000
_WRITES = frozenset({"create", "update", "patch", "sudo", "root"})

_OTHER_NAMESPACE = "it belongs to another namespace than the monitor's login"

_T = TypeVar("_T")


class NotStruckError(LesseeError):
    """Nothing was changed, and the text says why."""


class VaultActions:
    """The requests with one login. Every method raises the errors of AdminClient."""

    def __init__(
        self, client: AdminClient, protection: Protection, audit_device: str | None, known: MutableMapping[str, str]
    ) -> None:
        """`known`: the accessors by their HMAC, which outlive this object."""
        self._client, self._protection, self._device, self._known = client, protection, audit_device, known
        self._own: Token | None = None

    def find(self, logged: str) -> Token:
        """The token that may be struck, by its accessor in the log. Raises NotStruckError."""
        own, accessor = self._own_token(), self._accessor(logged)
        if not is_in_same_namespace(accessor, own.accessor):
            raise NotStruckError(f"{accessor} is not struck: {_OTHER_NAMESPACE}")
        token = self._look_up(accessor)
        if reason := refusal(token, own, self._protection):
            raise NotStruckError(f"{token} is not struck: {reason}")
        paths = self._protection.policy_paths
        granted = self._client.request(
            "POST", "sys/capabilities-accessor", body={"accessor": token.accessor, "paths": paths}, changes=False
        ).data
        if any(_WRITES & set(granted.get(path) or ()) for path in paths):
            raise NotStruckError(f"{token} is not struck: it may write policies, as an administrator may")
        return token

    def lacking(self, needs: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
        """What the monitor's own token may not do of `needs`, in words."""
        body = {"accessor": self._own_token().accessor, "paths": list(needs)}
        granted = self._client.request("POST", "sys/capabilities-accessor", body=body, changes=False).data
        for path, capabilities in needs.items():
            missing = set(capabilities).difference(granted.get(path) or ())
            if missing and ROOT not in (granted.get(path) or ()):
                yield f"{' and '.join(sorted(missing))} at {path}"

    def revoke(self, accessor: str) -> None:
        """Revoke a token, with its children and leases."""
        self._client.write("auth/token/revoke-accessor", {"accessor": accessor})

    def role_of(self, token: Token) -> str:
        """The AppRole that may be disabled because of this token. Raises NotStruckError."""
        role = token.approle
        if not role:
            raise NotStruckError(f"{token} has no AppRole of auth/approle: it was created at {token.path}")
        return role

    def networks_of(self, role: str) -> tuple[str, ...]:
        """The CIDRs from which a role that may be disabled accepts logins. Empty: any. Raises NotStruckError."""
        if reason := role_refusal(role, self._protection):
            raise NotStruckError(f"role {role} is not disabled: {reason}")
        found = read_networks(self._client, role)
        if is_disabled(found):
            raise NotStruckError(f"role {role} is disabled already")
        return found

    def disable(self, role: str) -> None:
        """Refuse all logins of a role."""
        write_networks(self._client, role, (DISABLED,))

    def _own_token(self) -> Token:
        if self._own is None:
            self._own = _parsed(lambda: parse_token(self._client.read("auth/token/lookup-self")))
        return self._own

    def _look_up(self, accessor: str) -> Token:
        def ask() -> Token:
            body = {"accessor": accessor}
            found = self._client.request("POST", "auth/token/lookup-accessor", body=body, changes=False)
            return parse_token(found.data)

        try:
            return _parsed(ask)
        except VaultRequestError as exc:
            if exc.kind not in {Kind.NOT_FOUND, Kind.INVALID}:
                raise
            raise NotStruckError("the token has ended already") from None

    def _accessor(self, logged: str) -> str:
        if not logged.startswith(_HASHED):
            return logged
        if self._device is None:
            todo = "set `monitor.responses.audit_device`, or the audit device's `hmac_accessor = false`"
            raise LesseeError("the log has the HMACs of accessors", where="monitor.responses", todo=todo)
        if logged in self._known:
            return self._known[logged]
        hashed = set(self._known.values())
        accessors = self._client.list("auth/token/accessors")
        if len(accessors) > _MAX_TOKENS:
            todo = "set the audit device's `hmac_accessor = false`"
            raise NotStruckError(f"more than {_MAX_TOKENS} tokens, whose HMACs take too long", todo=todo)
        for gone in hashed.difference(accessors):
            self._known.pop(next(key for key, value in self._known.items() if value == gone))
        for accessor in accessors:
            if accessor not in hashed:
                self._known[self._hash(accessor)] = accessor
        if logged not in self._known:
            raise NotStruckError(f"the token has ended already, or {_OTHER_NAMESPACE}")
        return self._known[logged]

    def _hash(self, accessor: str) -> str:
        path = f"sys/audit-hash/{self._device}"
        return str(self._client.request("POST", path, body={"input": accessor}, changes=False).data["hash"])


def read_networks(client: AdminClient, role: str) -> tuple[str, ...]:
    """The CIDRs from which a role accepts logins. Raises NotStruckError without such a role."""
    found = client.read(_path(role))
    if found is None:
        raise NotStruckError(f"there is no role {role}")
    return tuple(map(str, found.get("secret_id_bound_cidrs") or ()))


def write_networks(client: AdminClient, role: str, networks: tuple[str, ...]) -> None:
    """Accept logins of a role from these networks alone, or without networks from any."""
    if networks:
        client.write(_path(role), {"secret_id_bound_cidrs": ",".join(networks)})
    else:
        client.delete(_path(role))


def is_disabled(networks: tuple[str, ...]) -> bool:
    """Whether these are the networks of a role that a response disabled."""
    return [network.removesuffix("/32") for network in networks] == [DISABLED.removesuffix("/32")]


def _path(role: str) -> str:
    return f"auth/approle/role/{role}/secret-id-bound-cidrs"


def _parsed(look_up: Callable[[], _T]) -> _T:
    try:
        return look_up()
    except msgspec.ValidationError:
        raise NotStruckError("Vault's answer about the token is not known to this version of lessee") from None
