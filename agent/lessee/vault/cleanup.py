"""Ends what an agent has left in Vault, without a login: for nothing new is to be begun."""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from lessee.config import Vault
from lessee.config.grammar.vault import TokenAuth
from lessee.core.failures import Kind
from lessee.core.leases import Lease
from lessee.vault.auth.login import TokenLogin
from lessee.vault.connect import address_of
from lessee.vault.engines.leases import revoke, revoke_token
from lessee.vault.responses import RequestFailedError
from lessee.vault.transport import Transport

_PAUSE = 0.5


def end_all(
    vault: Vault, environ: Mapping[str, str], tokens: Iterable[str], leases: Iterable[Lease], *, deadline: float
) -> list[str]:
    """Revoke these tokens, and with them what was issued under them; why something is left, by what there was to do.

    Leases by themselves where the token is not ours to end. Vault that is away is asked again until `deadline`, on the
    monotonic clock.
    """
    transport = Transport(address_of(vault, environ))
    work = [partial(revoke_token, transport, value) for value in tokens]
    if isinstance(vault.auth, TokenAuth):
        own = TokenLogin(vault.auth.token_file, environ)
        work += [partial(_revoke, transport, own, lease.lease_id) for lease in leases if lease.lease_id]
    failed: list[str] = []
    for one in work:
        if failed and time.monotonic() >= deadline:
            break  # A Vault that hangs would take its time for each.
        if (why := _failure(one, deadline)) is not None:
            failed.append(why)
    transport.close()
    return failed


def _revoke(transport: Transport, own: TokenLogin, lease_id: str) -> None:
    revoke(transport, own.value(), lease_id)


def _failure(work: Callable[[], None], deadline: float) -> str | None:
    while True:
        try:
            work()
        except RequestFailedError as exc:
            if exc.failure.kind is Kind.DENIED and not exc.by_policy:
                return None  # It is no more.
            if exc.failure.kind is not Kind.UNAVAILABLE or time.monotonic() + _PAUSE >= deadline:
                return exc.failure.text
            time.sleep(_PAUSE)
        else:
            return None
