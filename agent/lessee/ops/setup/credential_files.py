"""Writes role_ids and secret_ids, or response-wrapping tokens for them, to files for the agents."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, flock
from functools import partial
from pathlib import Path

from lessee.audit_trail.policy.actions import rfc3339
from lessee.core.errors import DeniedError, WriteError
from lessee.core.tokens import EMERGENCY_KEY
from lessee.host.directories import check_writers, entries, open_directory, translate_write_errors
from lessee.ops.setup.named_requests import approle
from lessee.ops.setup.policy.objects import Kind, Object
from lessee.ops.setup.revoked_logins import Revoked
from lessee.vault.admin import AdminClient, unless_missing

ROLE_ID, SECRET_ID = "role_id", "secret_id"
_FOLDER = (0o700, None, None)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Report = Callable[[str], None]


def missing(
    folder: Path, roles: Iterable[Object], destroyed: Collection[Path] = ()
) -> Iterator[tuple[Object, Path, tuple[str, ...]]]:
    """The roles that lack a file, the directory of their files, and the names of the missing ones.

    `destroyed`: directories whose secret_id an emergency has destroyed.
    """
    for role in roles:
        place = folder / role.environment / role.name
        if absent := _absent(place, destroyed):
            yield role, place, absent


def stale_role_ids(client: AdminClient, folder: Path, roles: Iterable[Object]) -> Iterator[Path]:
    """The role_id files that no longer match their role, because the role was created again since."""
    for role in roles:
        file = folder / role.environment / role.name / ROLE_ID
        try:
            saved = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            continue  # There is no file, or lessee did not write it.
        if saved != _find_role_id(client, role):
            yield file


def prepare_folder(folder: Path) -> None:
    """Make the folder. Raises WriteError where this user may not write in it, before anything is created in Vault."""
    fd = open_directory(folder, make=_FOLDER)
    try:
        may_write = os.access(".", os.W_OK | os.X_OK, dir_fd=fd, effective_ids=True)
    finally:
        os.close(fd)
    if not may_write:
        what = "this user may not create files here, or it is mounted read-only"
        raise WriteError(what, where=str(folder), todo="choose another folder, or let this user write in it")


def write_credentials(
    client: AdminClient,
    folder: Path,
    roles: Iterable[Object],
    wrap_ttl: float | None,
    report: Report,
    revoked: Revoked,
    destroyed: Collection[Path],
) -> None:
    """Write the missing files; existing files stay, except `destroyed` secret_ids.

    Raises WriteError, DeniedError or VaultUnreachableError.

    With `wrap_ttl` in seconds, secret_id holds a response-wrapping token, which unwraps once within that time.
    """
    for role, place, _ in missing(folder, roles, destroyed):
        with _opened(folder, place) as fd:
            absent = _absent(place, destroyed)  # Another run may have written them in the meantime.
            if not absent:
                continue
            if ROLE_ID in absent:
                _write(fd, place, ROLE_ID, partial(_role_id, client, role))
            if SECRET_ID in absent:
                _write(fd, place, SECRET_ID, partial(_secret_id, client, role, wrap_ttl, revoked.get(role.path)))
        report(file_line(place, absent))


def file_line(place: Path, absent: Iterable[str]) -> str:
    """The files written to a directory, as text."""
    return f"  + {place}: {', '.join(absent)}"


def roles_of(desired: Iterable[object]) -> list[Object]:
    """The roles among the desired objects."""
    return [item for item in desired if isinstance(item, Object) and item.kind is Kind.ROLE]


def _absent(place: Path, destroyed: Collection[Path]) -> tuple[str, ...]:
    dead = {SECRET_ID} if place in destroyed else set()
    return tuple(name for name in (ROLE_ID, SECRET_ID) if name in dead or not os.path.lexists(place / name))


@contextmanager
def _opened(folder: Path, place: Path) -> Iterator[int]:
    """The opened and locked directory of a role: only one run at a time writes there."""
    for item in (folder, place.parent):
        os.close(open_directory(item, make=_FOLDER))
    fd = open_directory(place, make=_FOLDER)
    try:
        check_writers(fd, place, uid=None, gid=None)
        with translate_write_errors(place):
            flock(fd, LOCK_EX)
        yield fd
    finally:
        os.close(fd)


def _write(fd: int, place: Path, name: str, value: Callable[[], str]) -> None:
    """Create the file before the value: a secret_id that could not be saved would stay valid and unused."""
    new = f".{name}.new"
    with translate_write_errors(place / name):
        if new in entries(fd):
            os.unlink(new, dir_fd=fd)  # An interrupted run left it.
        file = os.open(new, _NEW, 0o600, dir_fd=fd)
    try:
        text = value()
        with translate_write_errors(place / name), os.fdopen(os.dup(file), "w", encoding="ascii") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(file)
        with translate_write_errors(place / name):
            os.rename(new, name, src_dir_fd=fd, dst_dir_fd=fd)
    except BaseException:
        with suppress(FileNotFoundError):  # The interruption followed the rename.
            os.unlink(new, dir_fd=fd)
        raise
    finally:
        os.close(file)


def _role_id(client: AdminClient, role: Object) -> str:
    value = _find_role_id(client, role)
    if value is None:
        raise DeniedError("the role does not exist", where=role.path, todo="set up roles as well")
    return value


def _find_role_id(client: AdminClient, role: Object) -> str | None:
    found = unless_missing(lambda: client.hvac.auth.approle.read_role_id(**approle(role)))
    return None if found is None else str(found["data"]["role_id"])


def _secret_id(client: AdminClient, role: Object, wrap_ttl: float | None, revoked_at: float | None) -> str:
    metadata = None if revoked_at is None else {EMERGENCY_KEY: rfc3339(revoked_at)}
    answer = client.hvac.auth.approle.generate_secret_id(**approle(role), metadata=metadata, wrap_ttl=wrap_ttl)
    value = answer["data"].get("secret_id") if wrap_ttl is None else (answer["wrap_info"] or {}).get("token")
    if not value:
        raise DeniedError("Vault returned no secret_id", where=role.path)
    return str(value)
