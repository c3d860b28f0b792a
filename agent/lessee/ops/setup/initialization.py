"""Initialises a new server, and keeps its keys."""

import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lessee.core.errors import LesseeError, DeniedError, VaultUnreachableError, WriteError
from lessee.ops.setup.key_folder import KeyFolder
from lessee.ops.setup.policy.initialization import Seal, InitOptions, contents, names, request, seal_of, unseal_keys
from lessee.vault.admin import AdminClient

_INITIALISING = 60.0
"""Seconds: raft storage elects itself first, which takes ten with its defaults."""
_WAKING = 60.0
_PAUSE = 0.1
_INTERRUPTIONS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def initialize(
    server: AdminClient, options: InitOptions, folder: Path
) -> tuple[tuple[Path, ...], Seal, tuple[str, ...]]:
    """Make a new server's keys, and write them into `folder`: the files, how it is sealed, and keys that open it.

    Its answer exists only once. So files with room in them are made before, nothing interrupts from the request on
    until all is on the disk, and nothing else is asked meanwhile. What cannot be helped is a crash of this machine or
    of the way to the server in between, some milliseconds; the server holds nothing yet, so begin again with an
    empty storage. Raises DeniedError, VaultUnreachableError or WriteError.
    """
    seal = seal_of(server.read("sys/seal-status") or {})
    if seal.initialized or (server.read("sys/init") or {}).get("initialized") is not False:
        raise DeniedError("it is initialised already", where="sys/init", todo=_todo(seal))
    with KeyFolder(folder) as keys:
        keys.reserve(names(options, seal))
        with _uninterrupted():
            try:
                answer = server.write("sys/init", request(options, seal), method="PUT", timeout=_INITIALISING).data
            except VaultUnreachableError as exc:
                todo = "see `vault status`; if it is initialised now, its keys are lost: begin again with empty storage"
                raise VaultUnreachableError(exc.what, where=exc.where, todo=todo) from None
            except DeniedError as exc:
                todo = "is each PGP key a whole public one that can encrypt?" if options.pgp_keys else ""
                raise DeniedError(exc.what, where=exc.where, todo=todo) from None
            files = _keep(keys, contents(options, seal, answer))
        return files, seal, unseal_keys(options, seal, answer)


def unseal(server: AdminClient, keys: Iterable[str]) -> Seal:
    """Open it with as many of the keys as it needs; how it is sealed then. Raises DeniedError or VaultUnreachableError."""
    seal = seal_of(server.read("sys/seal-status") or {})
    for key in keys:
        if not seal.sealed:
            break
        try:
            seal = seal_of(server.write("sys/unseal", {"key": key}, method="PUT").data)
        except DeniedError as exc:
            # Keys that anybody gave before counted too, and are forgotten now.
            todo = "is it a key of this server, and not encrypted? then run it again: others are forgotten now"
            raise DeniedError(exc.what, where=exc.where, todo=todo) from None
        if seal.sealed and not seal.progress:
            seal = _joined(server)
    return seal


def _joined(server: AdminClient) -> Seal:
    """A node of a cluster joins it when its keys are there, and opens a moment later."""
    deadline = time.monotonic() + _WAKING
    while (seal := seal_of(server.read("sys/seal-status") or {})).sealed:
        if time.monotonic() > deadline:
            what = "its keys are right, and it has not joined its cluster after a minute"
            raise VaultUnreachableError(what, todo="does it reach the active node (`retry_join`)? see its log")
        time.sleep(_PAUSE)
    return seal


def wait_until_active(server: AdminClient) -> None:
    """Or until it stands by for a node that is. Raises VaultUnreachableError where it does not serve within a minute."""
    deadline = time.monotonic() + _WAKING
    while True:
        try:
            health = server.read("sys/health", {"standbyok": "true", "perfstandbyok": "true"}) or {}
            # Before an election too a node of raft stands by.
            if not health.get("standby") or (server.read("sys/leader") or {}).get("leader_address"):
                return
            why = "no node is active"
        except LesseeError as exc:
            why = exc.what
        if time.monotonic() > deadline:
            todo = "see its log; the keys are kept"
            raise VaultUnreachableError(f"it does not serve after a minute: {why}", todo=todo)
        time.sleep(_PAUSE)


def _keep(keys: KeyFolder, texts: dict[str, str]) -> tuple[Path, ...]:
    try:
        return keys.keep(texts)
    except WriteError as exc:
        todo = "the server is initialised, and this key is lost: begin again with empty storage"
        raise WriteError(exc.what, where=exc.where, todo=todo) from None


def _todo(seal: Seal) -> str:
    if seal.sealed and not seal.automatic:
        return "unseal it: `lessee setup --unseal DIR`, where DIR holds its keys"
    return "set $VAULT_TOKEN to a token of an administrator, and run `lessee setup`"


@contextmanager
def _uninterrupted() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTIONS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
