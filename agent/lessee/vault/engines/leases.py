"""What Vault makes when it is asked, and how it is kept or let go."""

import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.core.leases import Lease
from lessee.core.paths import DynamicSecret
from lessee.core.secrets import Secret
from lessee.vault.auth import certificate_request
from lessee.vault.transport import Answer, RequestFailedError, Transport

ISSUE_TIMEOUT = 30.0
"""The system behind Vault has to make what is asked for, and may be slow."""
SHORTEST = 0.5
"""A ttl of 0 would mean that it does not end."""
UNTIL_ROTATED = 0.5
"""Vault counts a static role's ttl in whole seconds, and needs a moment for the rotation itself."""

Clock = Callable[[], float]


def issue(
    transport: Transport, value: str, token_id: str, need: DynamicSecret, clock: Clock, *, wall: Clock = time.time
) -> Lease:
    """Have it made under the token `value`, which the lease will name by `token_id`. Raises RequestFailedError.

    It is asked for once: an answer that is lost leaves a lease that nobody knows and that ends by its ttl. `wall`:
    seconds since 1970, where the server does not say its own.
    """
    signing = certificate_request.make(dict(need.params)) if need.local_key else None
    method = "POST" if need.certificate else need.method
    sent_at = clock()
    try:
        answer = transport.ask(
            method,
            need.request_path,
            token=value,
            body=_body(need, signing) if method == "POST" else None,
            timeout=ISSUE_TIMEOUT,
            changes=True,
        )
    except RequestFailedError as exc:
        raise _explained(exc, need, method) from None
    made = {"private_key": signing.private_key, "private_key_type": signing.private_key_type} if signing else {}
    static = not answer.lease_id and "last_vault_rotation" in answer.data
    return Lease(
        id=_static_id(need, answer) if static else _digest(_name(answer)),
        need=need,
        secret=Secret({**answer.data, **made}),
        lease_id=answer.lease_id,
        token=token_id,
        issued_at=sent_at,
        sent_at=sent_at,
        ttl=_ttl(answer, wall, static=static),
        renewable=answer.renewable and not answer.capped,
        static=static,
    )


def renew(transport: Transport, value: str, lease_id: str, clock: Clock) -> tuple[float, float, bool]:
    """Renew a lease by its role's ttl; when it was asked, the ttl from then on, and whether it can be renewed again.

    Raises RequestFailedError: MISSING where it is gone, UNSUPPORTED where it cannot be renewed.
    """
    sent_at = clock()
    answer = transport.ask("POST", "sys/leases/renew", token=value, body={"lease_id": lease_id})
    return sent_at, _left(answer.lease_duration), answer.renewable and not answer.capped


def look_up(transport: Transport, value: str, lease_id: str, clock: Clock) -> tuple[float, float, bool]:
    """What is left of a lease, as `renew` says it. Raises RequestFailedError: MISSING where it is gone."""
    sent_at = clock()
    data = transport.ask("POST", "sys/leases/lookup", token=value, body={"lease_id": lease_id}).data
    return sent_at, _left(data.get("ttl")), bool(data.get("renewable"))


def revoke(transport: Transport, value: str, lease_id: str) -> None:
    """End a lease: Vault does it in its own time, and again until it succeeds. One that is gone is no error."""
    transport.ask("POST", "sys/leases/revoke", token=value, body={"lease_id": lease_id})


def revoke_token(transport: Transport, value: str) -> None:
    """End the token, and with it all that was issued under it. Raises RequestFailedError (DENIED: it is not valid)."""
    transport.ask("POST", "auth/token/revoke-self", token=value)


def _body(need: DynamicSecret, signing: certificate_request.SigningRequest | None) -> Mapping[str, Any]:
    if signing is None:
        return dict(need.params)
    return {name: value for name, value in need.params if name not in certificate_request.OURS} | {"csr": signing.csr}


def _explained(exc: RequestFailedError, need: DynamicSecret, method: str) -> RequestFailedError:
    match exc.failure.kind:
        case Kind.UNSUPPORTED if method == "GET":
            todo = 'if it wants a POST, add method="POST"'
        case Kind.INVALID if need.local_key:
            todo = "does the role take this key_type (ec where none is given; a role's own default is rsa), and names?"
        case _:
            return exc
    failure = replace(exc.failure, text=f"{exc.failure.text}; {todo}")
    return RequestFailedError(failure, exc.data, by_policy=exc.by_policy)


def _name(answer: Answer) -> str:
    return str(answer.lease_id or answer.data.get("serial_number") or answer.request_id)


def _static_id(need: DynamicSecret, answer: Answer) -> str:
    rotation = answer.data["last_vault_rotation"]
    return f"static-{_digest(f'{need} {rotation}')}"


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def _ttl(answer: Answer, wall: Clock, *, static: bool) -> float:
    data = answer.data
    if answer.lease_id:
        return answer.lease_duration
    if static:
        return max(float(data.get("ttl") or 0), 0) + UNTIL_ROTATED
    if "certificate" in data and _is_number(data.get("expiration")):
        # Both are cut to whole seconds: at worst a second of it is already over.
        return max(float(data["expiration"]) - (answer.date or wall()) - 1, SHORTEST)
    ttl = next((data[key] for key in ("ttl", "token_ttl") if _is_number(data.get(key))), None)
    if ttl is None:
        text = "it gives neither a lease nor a ttl: read KV secrets with secret()"
        raise RequestFailedError(Failure(Kind.INVALID, text))
    return max(float(ttl), SHORTEST)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _left(ttl: float | None) -> float:
    if not ttl or ttl <= 0:
        # In its last second, or being revoked.
        raise RequestFailedError(Failure(Kind.NOT_FOUND, "the lease is gone"))
    return float(ttl)
