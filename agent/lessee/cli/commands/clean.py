"""`lessee clean`: leave nothing behind, as a job of CI should."""

import argparse
import os
import select
import time
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from lessee.config import App, Config, Vault
from lessee.core.errors import VaultUnreachableError, WriteError
from lessee.core.redaction import Redactor
from lessee.host.directories import cannot_write
from lessee.host.project import find, read
from lessee.process.hardening import make_private
from lessee.publishing.publication_store import PublicationStore
from lessee.publishing.state_store import StateLockedError, StateStore
from lessee.telemetry.logs import log, open_log
from lessee.vault.cleanup import revoke_all

_FOLDER = "LESSEE_CI"
"""Names the folder that a job of CI has made for all of it."""
_AGAIN = 1.0
_STDIO = 3


def run(arguments: argparse.Namespace) -> int:
    """The files go first: they are what can be read. 69 where Vault did not take back all in time."""
    make_private()
    environ = dict(os.environ)
    config = read(find(arguments.config, environ), environ)
    open_log(Redactor(), level=arguments.log_level, form=arguments.log_format)
    if arguments.after is not None:
        _wait_in_background(arguments.after)
    while True:
        try:
            _clean(config, environ, arguments.timeout)
            if folder := environ.get(_FOLDER):
                _remove(Path(folder))
        except StateLockedError as exc:
            # One that has outlived the job too: nobody else will come when it has gone.
            if arguments.after is None:
                raise StateLockedError(exc.what, where=exc.where, todo="end it first") from None
            time.sleep(_AGAIN)
        else:
            return 0


def _clean(config: Config, environ: Mapping[str, str], timeout: float) -> None:
    """Raises WriteError, or VaultUnreachableError when all else is done."""
    state = Path(config.state_dir)
    there = [app for app in config.apps.values() if _has_ours(Path(app.directory))]
    with cannot_write(state):
        known = state.exists()
    if not known and not there:
        log("info", "nothing to clean", state=config.state_dir)
        return
    if not known:
        log("warning", "no token is known: those that there are end by themselves", state=config.state_dir)
    with closing(StateStore(state, allow_disk=config.allow_disk)) as ledger:
        unwritten = _withdraw(there, ledger)
        failed = _end_all(ledger, environ, time.monotonic() + timeout)
        ledger.remove()
    _remove(*(Path(app.directory) for app in config.apps.values()), state)
    for error in unwritten[1:]:
        log("error", "not cleaned", reason=str(error))
    if failed:
        todo = "it ends with the token's ttl; sooner by the accessor that the log of the login names"
        raise VaultUnreachableError(f"not all was revoked: {', '.join(failed)}", where=config.vault.address, todo=todo)
    if unwritten:
        raise unwritten[0]
    log("info", "cleaned", state=config.state_dir, apps=", ".join(app.name for app in there))


def _has_ours(directory: Path) -> bool:
    """Whether something of ours lies there, or that cannot be seen."""
    try:
        return any(path.name.startswith("..") for path in directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _remove(*folders: Path) -> None:
    """Those that are empty: what is not ours keeps them."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _withdraw(apps: Iterable[App], ledger: StateStore) -> list[WriteError]:
    """Why some cannot be; the others are."""
    problems = []
    for app in apps:
        shelf = PublicationStore(ledger)
        try:
            shelf.open([app])
            shelf.withdraw(app.name)
            shelf.open([])
        except WriteError as exc:
            problems.append(exc)
    return problems


def _end_all(ledger: StateStore, environ: Mapping[str, str], deadline: float) -> list[str]:
    failed = []
    for identity, block in ledger.identities().items():
        with suppress(msgspec.MsgspecError):  # Of another version of lessee: it ends by itself.
            vault = msgspec.json.decode(block, type=Vault)
            tokens = [value for _, value in ledger.tokens(identity)]
            failed += revoke_all(vault, environ, tokens, ledger.leases(identity), deadline=deadline)
    return list(dict.fromkeys(failed))


def _wait_in_background(pid: int) -> None:
    """Return in a process of its own, without a terminal, when the other is gone; the caller's ends meanwhile."""
    try:
        process = os.pidfd_open(pid)
    except (ProcessLookupError, OverflowError):  # No pid is so large.
        log("warning", "it is gone already", pid=pid)
        return
    log("info", "waiting in the background", after=pid)
    for step in (os.setsid, lambda: None):
        if os.fork():
            os._exit(0)  # Nothing is to be tidied twice.
        step()
    # It stays in its directory: lessee.yaml may name a CA's file from there.
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(_STDIO):
        os.dup2(nothing, stream)
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.poll()
