"""Issues, renews and revokes dynamic secrets."""

import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

import msgspec

from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.core.leases import FOREVER, Lease, digest_of
from lessee.core.path_scope import is_of_agent
from lessee.core.paths import DynamicSecret
from lessee.core.redaction import texts
from lessee.core.secrets import Secret, excess
from lessee.core.ttl import clamp, is_ttl
from lessee.vault.auth import certificate_request
from lessee.vault.responses import SMALL, parse_name
from lessee.vault.transport import RequestFailedError, Response, Transport
from lessee.vault.ttl import lease_ttl, static_ttl

ISSUE_TIMEOUT = 30.0
"""Seconds. The system behind Vault creates the credentials, and may be slow."""
ROTATION_MARGIN = 0.5
"""Seconds. Vault counts a static role's ttl in whole seconds, and the rotation itself takes a moment."""

_PERIOD = 30.0
"""Seconds. https://developer.hashicorp.com/vault/api-docs/secret/totp#period"""
_OF_AGENT = Failure(Kind.INVALID, "the answer contains credentials of the agent itself; read another path")

Clock = Callable[[], float]


def issue(
    transport: Transport,
    value: str,
    token_id: str,
    need: DynamicSecret,
    clock: Clock,
    *,
    wall: Clock = time.time,
    inputs: Mapping[str, object] | None = None,
) -> Lease:
    """Issue a secret under the token `value`, which the lease names by `token_id`. Raises RequestFailedError.

    The request is sent once: if its answer is lost, the unknown lease ends by its ttl. `wall`: seconds since 1970, for
    a server that sends no date.
    """
    if is_of_agent(need.path):
        # The templates' scope denies it first. This is for a path of any other origin.
        raise RequestFailedError(_OF_AGENT)
    inputs = inputs or {}
    signing = certificate_request.create(dict(need.params)) if need.local_key else None
    method = "POST" if need.certificate else need.method
    sent_at = clock()
    try:
        answer = transport.request(
            "GET" if method == "LIST" else method,
            need.request_path,
            token=value,
            body=_body(need, signing) | _sent(need, inputs) if method == "POST" else None,
            params={"list": "true"} if method == "LIST" else None,
            timeout=ISSUE_TIMEOUT,
            changes=not need.is_polled,
        )
    except RequestFailedError as exc:
        # A list of nothing is answered by 404, too.
        if method != "LIST" or exc.failure.kind is not Kind.NOT_FOUND:
            raise _with_advice(exc, need, method) from None
        answer = Response({"keys": []}, {})
    if (what := excess(answer.data)) is not None:
        raise RequestFailedError(Failure(Kind.INVALID, f"the answer is too large: {what}"))
    if answer.auth or (value and any(value in text for text in texts(answer.data))):
        raise RequestFailedError(_OF_AGENT)  # By whatever name the server, or a proxy before it, knows the path.
    made = {"private_key": signing.private_key, "private_key_type": signing.private_key_type} if signing else {}
    static = not answer.lease_id and (
        need.is_polled or "last_vault_rotation" in answer.data or _is_time_based_code(need, answer)
    )
    return Lease(
        id=_static_id(need, answer) if static else _digest(_name(answer)),
        need=need,
        secret=Secret({**answer.data, **made}),
        lease_id=parse_name(answer.lease_id),
        token=token_id,
        issued_at=sent_at,
        sent_at=sent_at,
        ttl=_ttl(need, answer, wall, static=static),
        renewable=answer.renewable and not answer.capped,
        static=static,
        inputs=digest_of(inputs),
    )


def renew(transport: Transport, value: str, lease_id: str, clock: Clock) -> tuple[float, float, bool]:
    """Renew a lease; return the time of the request, the ttl from then, and whether it can be renewed again.

    Raises RequestFailedError: NOT_FOUND if it has ended, UNSUPPORTED if it cannot be renewed.
    """
    sent_at = clock()
    answer = _request_lease(transport, "renew", value, lease_id)
    return sent_at, _remaining_ttl(answer.lease_duration), answer.renewable and not answer.capped


def look_up(transport: Transport, value: str, lease_id: str, clock: Clock) -> tuple[float, float, bool]:
    """The rest of a lease, as `renew` returns it. Raises RequestFailedError: NOT_FOUND if it has ended."""
    sent_at = clock()
    data = _request_lease(transport, "lookup", value, lease_id).data
    return sent_at, _remaining_ttl(data.get("ttl")), data.get("renewable") is True


def revoke(transport: Transport, value: str, lease_id: str) -> None:
    """Revoke a lease. Vault does it in the background, and retries until it succeeds. An unknown lease is no error."""
    _request_lease(transport, "revoke", value, lease_id)


def revoke_token(transport: Transport, value: str) -> None:
    """Revoke a token, and so all leases under it. Raises RequestFailedError (DENIED: it is not valid)."""
    transport.request("POST", "auth/token/revoke-self", token=value, limits=SMALL)


def _request_lease(transport: Transport, action: str, value: str, lease_id: str) -> Response:
    body = {"lease_id": lease_id}
    return transport.request("POST", f"sys/leases/{action}", token=value, body=body, limits=SMALL)


def _sent(need: DynamicSecret, inputs: Mapping[str, object]) -> dict[str, object]:
    """The parameters from secrets. Raises RequestFailedError for a field that a secret does not have."""
    sent = dict(inputs)
    for each in need.inputs:
        value = sent[each.name]
        if value is None or (each.encoded and not isinstance(value, str)):
            field = ".".join(each.keys)
            what = f"the parameter {each.name}: {each.secret} has no {'text' if each.encoded else 'value'} in {field}"
            raise RequestFailedError(Failure(Kind.INVALID, what))
        if each.encoded:
            sent[each.name] = b64encode(str(value).encode(errors="surrogatepass")).decode()
    return sent


def _body(need: DynamicSecret, signing: certificate_request.SigningRequest | None) -> dict[str, Any]:
    if signing is None:
        return dict(need.params) | (msgspec.json.decode(need.body) if need.body else {})
    return {name: value for name, value in need.params if name not in certificate_request.LOCAL_PARAMETERS} | {
        "csr": signing.csr
    }


def _with_advice(exc: RequestFailedError, need: DynamicSecret, method: str) -> RequestFailedError:
    match exc.failure.kind:
        case Kind.UNSUPPORTED if method == "GET":
            todo = 'if the endpoint needs a POST, add method="POST"'
        case Kind.INVALID if need.local_key:
            todo = (
                "does the role allow these names and this key_type? (the default here is ec, and that of a role is rsa)"
            )
        case _:
            return exc
    failure = replace(exc.failure, text=f"{exc.failure.text}; {todo}")
    return RequestFailedError(failure, exc.data, by_policy=exc.by_policy)


def _name(answer: Response) -> str:
    return str(answer.lease_id or answer.data.get("serial_number") or answer.request_id)


def _is_time_based_code(need: DynamicSecret, answer: Response) -> bool:
    """Whether it is the code of a TOTP key. The server shows the same one until its period ends."""
    return "code" in answer.data and need.path.split("/")[-2] == "code"


def _static_id(need: DynamicSecret, answer: Response) -> str:
    rotation = answer.data.get("last_vault_rotation") or msgspec.json.encode(answer.data, order="sorted").decode()
    return f"static-{_digest(f'{need} {rotation}')}"


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def _ttl(need: DynamicSecret, answer: Response, wall: Clock, *, static: bool) -> float:
    data, where = answer.data, str(need)
    if answer.lease_id:
        return lease_ttl(answer.lease_duration, where)
    if need.is_polled:
        return 0.0
    if "code" in data and static:
        return static_ttl(_period_left(data, answer.date or wall()), where) + ROTATION_MARGIN
    if static:
        return static_ttl(data.get("ttl"), where) + ROTATION_MARGIN
    if "certificate" in data and _is_number(data.get("expiration")):
        # Both are truncated to whole seconds, so up to one second has passed already.
        return lease_ttl(float(data["expiration"]) - (answer.date or wall()) - 1, where)
    ttl = next((data[key] for key in ("ttl", "token_ttl") if _is_number(data.get(key))), None)
    if ttl is not None and (need.every is None or ttl > 0):
        return lease_ttl(ttl, where)
    from lessee.core.own_end import end_of  # noqa: PLC0415  # Few answers need it.

    if (end := end_of(data)) is not None:
        return lease_ttl(end - (answer.date or wall()) - 1, where) if end != FOREVER else 0.0
    if need.every is None:
        todo = 'read KV secrets with secret(), and any other path with vault(…, every="5m")'
        text = f"the answer has neither a lease, nor a ttl, nor an end of its own; {todo}"
        raise RequestFailedError(Failure(Kind.INVALID, text))
    return 0.0


def _period_left(data: Mapping[str, Any], now: float) -> float:
    """Seconds until the period of a code ends. HashiCorp Vault does not say, and its keys have 30 s by default."""
    end, begun = data.get("expire_time"), data.get("generated")
    if is_ttl(end) and is_ttl(begun):
        return end - begun
    return _PERIOD - now % _PERIOD


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _remaining_ttl(ttl: object) -> float:
    if not is_ttl(ttl) or ttl <= 0:
        # It is in its last second, or being revoked.
        raise RequestFailedError(Failure(Kind.NOT_FOUND, "the lease has ended"))
    return clamp(ttl)
