"""`lessee clean`: removes the files of all apps, and revokes tokens and leases."""

import argparse
import os
import select
import time
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path

from lessee.agent.stored_vaults import stored_vaults
from lessee.config import App, Config, logins_of
from lessee.core.errors import VaultUnreachableError, WriteError
from lessee.core.redaction import Redactor
from lessee.host.directories import translate_write_errors
from lessee.host.project import find, read
from lessee.process.hardening import harden
from lessee.publishing.leftovers import Leftover, find_leftovers, remove_leftovers
from lessee.publishing.publication_store import PublicationStore
from lessee.publishing.state_store import StateLockedError, StateStore
from lessee.telemetry.logs import log, open_log
from lessee.vault.cleanup import revoke_all

_FOLDER = "LESSEE_CI"
"""The variable with the directory that a CI job created for lessee."""
_RETRY_DELAY = 1.0
_STDIO = 3


def run(arguments: argparse.Namespace) -> int:
    """Removes the files first, because apps can read them. Exits with 69 if Vault did not revoke everything in time."""
    harden()
    environ = dict(os.environ)
    config = read(find(arguments.config, environ), environ)
    open_log(Redactor(), level=arguments.log_level, form=arguments.log_format)
    if arguments.after is not None:
        _wait_in_background(arguments.after)
    while True:
        try:
            if arguments.unused:
                _clean_unused(config)
                return 0
            _clean(config, environ, arguments.timeout)
            if folder := environ.get(_FOLDER):
                _remove(Path(folder))
        except StateLockedError as exc:
            # An agent may outlive the job. No later run would clean up after it, so wait for it.
            if arguments.after is None:
                raise StateLockedError(exc.what, where=exc.where, todo="stop that agent first") from None
            time.sleep(_RETRY_DELAY)
        else:
            return 0


def _clean(config: Config, environ: Mapping[str, str], timeout: float) -> None:
    """Raises WriteError or VaultUnreachableError, after everything else was cleaned."""
    state = Path(config.state_dir)
    published = [app for app in config.apps.values() if _has_published_files(Path(app.directory))]
    with translate_write_errors(state):
        known = state.exists()
    if not known and not published:
        log("info", "nothing to clean", state_dir=config.state_dir)
        return
    if not known:
        log("warning", "saved token not found", state_dir=config.state_dir, note="tokens end with their TTL")
    with closing(StateStore(state, allow_disk=config.allow_disk)) as state_store:
        leftovers = list(find_leftovers(state_store, config.apps))
        unwritten = _withdraw(published, state_store) + remove_leftovers(leftovers, state_store)
        failed = _revoke_all(config, state_store, environ, time.monotonic() + timeout)
        state_store.remove()
    _remove(*(Path(app.directory) for app in config.apps.values()), state)
    for error in unwritten[1:]:
        log("error", "files not removed", reason=str(error))
    if failed:
        todo = "leases and token end with the token's TTL; to end them now, revoke the accessor in the log of the login"
        raise VaultUnreachableError(f"not revoked: {', '.join(failed)}", where=config.vault.address, todo=todo)
    if unwritten:
        raise unwritten[0]
    apps = dict.fromkeys([*(app.name for app in published), *(leftover.app for leftover in leftovers)])
    log("info", "files removed", state_dir=config.state_dir, apps=", ".join(apps))


def _clean_unused(config: Config) -> None:
    """Remove the files in directories that no app uses. Raises WriteError, after all that can be removed is."""
    state = Path(config.state_dir)
    with translate_write_errors(state):
        known = state.exists()
    leftovers: list[Leftover] = []
    if known:
        with closing(StateStore(state, allow_disk=config.allow_disk)) as state_store:
            leftovers = list(find_leftovers(state_store, config.apps))
            problems = remove_leftovers(leftovers, state_store)
        for error in problems[1:]:
            log("error", "files not removed", reason=str(error))
        if problems:
            raise problems[0]
    if not leftovers:
        log("info", "nothing to clean", state_dir=config.state_dir)
        return
    log("info", "unused files removed", directories=", ".join(str(leftover.directory) for leftover in leftovers))


def _has_published_files(directory: Path) -> bool:
    """Whether a publication is in the directory, or the directory cannot be read."""
    try:
        return any(path.name.startswith("..") for path in directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _remove(*folders: Path) -> None:
    """Remove the empty ones; directories with other files stay."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _withdraw(apps: Iterable[App], state_store: StateStore) -> list[WriteError]:
    """Remove the apps' files; return the errors of those that failed."""
    problems = []
    for app in apps:
        publication_store = PublicationStore(state_store)
        try:
            publication_store.open([app])
            publication_store.withdraw(app.name)
            publication_store.open([])
        except WriteError as exc:
            problems.append(exc)
    return problems


def _revoke_all(config: Config, state_store: StateStore, environ: Mapping[str, str], deadline: float) -> list[str]:
    configured = list(logins_of(config))
    failed = []
    with state_store.listed():
        stored = {
            identity: (vault, state_store.tokens(identity), state_store.leases(identity))
            for identity, vault in stored_vaults(state_store).items()
        }
    for vault, tokens, leases in stored.values():
        values = [value for _, value in tokens]
        failed += revoke_all(vault, configured, environ, values, leases, deadline=deadline)
    return list(dict.fromkeys(failed))


def _wait_in_background(pid: int) -> None:
    """Continue in a daemon process once process `pid` has exited; the calling process exits now."""
    try:
        process = os.pidfd_open(pid)
    except (ProcessLookupError, OverflowError):  # Overflow: no pid is that large.
        log("warning", "process already exited", pid=pid)
        return
    log("info", "waiting in the background", pid=pid)
    for step in (os.setsid, lambda: None):
        if os.fork():
            os._exit(0)  # Without cleanup handlers, which must run only once.
        step()
    # The working directory stays: paths in lessee.yaml may be relative to it.
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(_STDIO):
        os.dup2(null, stream)
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.poll()
