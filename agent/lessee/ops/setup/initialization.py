"""Initializes and unseals a server, and saves its keys."""

import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lessee.core.errors import DeniedError, LesseeError, VaultUnreachableError, WriteError
from lessee.ops.setup.key_folder import KeyFolder
from lessee.ops.setup.policy.initialization import InitOptions, Seal, contents, names, request, seal_of, unseal_keys
from lessee.vault.admin import AdminClient

_INIT_TIMEOUT = 60.0
"""Seconds: raft storage first elects a leader, which takes ten seconds by default."""
_READY_TIMEOUT = 60.0
_PAUSE = 0.1
_BLOCKED_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def initialize(
    server: AdminClient, options: InitOptions, folder: Path
) -> tuple[tuple[Path, ...], Seal, tuple[str, ...]]:
    """Initialize a new server and write its keys into `folder`; return the files, the seal, and the unseal keys.

    Vault sends the keys only once. So the files are created with reserved space before the request, and signals are
    blocked until everything is on disk. A crash of this host or of the connection in these milliseconds loses the
    keys; the server holds no data yet, so start again with empty storage.
    Raises DeniedError, VaultUnreachableError or WriteError.
    """
    system = server.with_timeout(_INIT_TIMEOUT).hvac.sys
    seal = seal_of(system.read_seal_status())
    if seal.initialized or system.is_initialized() is not False:
        raise DeniedError("the server is already initialized", where="sys/init", todo=_todo(seal))
    with KeyFolder(folder) as keys:
        keys.reserve(names(options, seal))
        with _signals_blocked():
            try:
                answer = system.initialize(**request(options, seal))
            except VaultUnreachableError as exc:
                todo = "run `bao status`; if the server is initialized now, its keys are lost: start with empty storage"
                raise VaultUnreachableError(exc.what, where=exc.where, todo=todo) from None
            except DeniedError as exc:
                todo = "check that each PGP key is complete, public, and able to encrypt" if options.pgp_keys else ""
                raise DeniedError(exc.what, where=exc.where, todo=todo) from None
            files = _save(keys, contents(options, seal, answer))
        return files, seal, unseal_keys(options, seal, answer)


def unseal(server: AdminClient, keys: Iterable[str]) -> Seal:
    """Unseal the server with as many of the keys as it needs, and return its seal.

    Raises DeniedError or VaultUnreachableError.
    """
    system = server.hvac.sys
    seal = seal_of(system.read_seal_status())
    for key in keys:
        if not seal.sealed:
            break
        try:
            seal = seal_of(system.submit_unseal_key(key))
        except DeniedError as exc:
            # Vault discards all keys given until now, also those of other operators.
            todo = "check that the key is this server's and not encrypted; then give all keys again"
            raise DeniedError(exc.what, where=exc.where, todo=todo) from None
        if seal.sealed and not seal.progress:
            seal = _wait_for_join(server)
    return seal


def _wait_for_join(server: AdminClient) -> Seal:
    """Wait for a node that joins its raft cluster: it unseals a moment after it got its keys."""
    deadline = time.monotonic() + _READY_TIMEOUT
    while (seal := seal_of(server.hvac.sys.read_seal_status())).sealed:
        if time.monotonic() > deadline:
            what = "the keys are right, but the node did not join its cluster within a minute"
            raise VaultUnreachableError(what, todo="check in its log that it reaches the active node (`retry_join`)")
        time.sleep(_PAUSE)
    return seal


def wait_until_active(server: AdminClient) -> None:
    """Wait until the node is active, or standby of an active node. Raises VaultUnreachableError after a minute."""
    deadline = time.monotonic() + _READY_TIMEOUT
    while (why := why_inactive(server)) is not None:
        if time.monotonic() > deadline:
            todo = "see the server's log; its keys are saved"
            raise VaultUnreachableError(f"the server is not active after a minute: {why}", todo=todo)
        time.sleep(_PAUSE)


def why_inactive(server: AdminClient) -> str | None:
    """Why the node is neither active nor standby of an active node; None where it is."""
    try:
        health = server.health()
        # A raft node is standby before the election too.
        active = not health["standby"] or bool(server.hvac.sys.read_leader_status().get("leader_address"))
    except LesseeError as exc:
        return exc.what
    if health["sealed"]:
        return "it is sealed"
    return None if active else "no node is active"


def _save(keys: KeyFolder, texts: dict[str, str]) -> tuple[Path, ...]:
    try:
        return keys.write(texts)
    except WriteError as exc:
        todo = "the server is initialized and this key is lost: start again with empty storage"
        raise WriteError(exc.what, where=exc.where, todo=todo) from None


def _todo(seal: Seal) -> str:
    if seal.sealed and not seal.automatic:
        return "unseal it with `lessee setup --unseal DIR`, where DIR holds its keys"
    return "set $VAULT_TOKEN to an administrator's token, and run `lessee setup`"


@contextmanager
def _signals_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
