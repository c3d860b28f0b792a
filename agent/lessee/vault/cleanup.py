"""Revokes what an agent has left in Vault, without a new login."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial

from lessee.config import Vault
from lessee.config.grammar.vault import TokenAuth
from lessee.core.failures import Kind
from lessee.core.leases import Lease
from lessee.vault.auth.login import TokenLogin
from lessee.vault.client_factory import recorded_address_of
from lessee.vault.engines.leases import revoke, revoke_token
from lessee.vault.responses import RequestFailedError
from lessee.vault.transport import Transport

_RETRY_DELAY = 0.5


def revoke_all(
    vault: Vault,
    configured: Collection[Vault],
    environ: Mapping[str, str],
    tokens: Iterable[str],
    leases: Iterable[Lease],
    *,
    deadline: float,
) -> list[str]:
    """Revoke these tokens, and so all leases under them; return the reason for each revocation that failed.

    With a token from the operator (method: token) revoke the leases alone, if the Vault is one of the `configured`
    ones: no other server gets that token. Retry an unavailable Vault until `deadline`, on the monotonic clock.
    """
    transport = Transport(recorded_address_of(vault, configured, environ))
    revocations = [partial(revoke_token, transport, value) for value in tokens]
    if isinstance(vault.auth, TokenAuth) and vault in configured:
        own = TokenLogin(vault.auth.token_file, environ)
        revocations += [partial(_revoke, transport, own, lease.lease_id) for lease in leases if lease.lease_id]
    failed: list[str] = []
    for revocation in revocations:
        if failed and time.monotonic() >= deadline:
            break  # A hanging Vault would use up the read timeout for each.
        if (why := _failure(revocation, deadline)) is not None:
            failed.append(why)
    transport.close()
    return failed


def _revoke(transport: Transport, own: TokenLogin, lease_id: str) -> None:
    revoke(transport, own.value(), lease_id)


def _failure(revocation: Callable[[], None], deadline: float) -> str | None:
    while True:
        try:
            revocation()
        except RequestFailedError as exc:
            if exc.failure.kind is Kind.DENIED and not exc.by_policy:
                return None  # The token has ended already.
            if exc.failure.kind is not Kind.UNAVAILABLE or time.monotonic() + _RETRY_DELAY >= deadline:
                return exc.failure.text
            time.sleep(_RETRY_DELAY)
        else:
            return None
