"""Stores on tmpfs what the agent needs after a restart: tokens, leases, and a record of each app."""

import fcntl
import os
import stat
import sys
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from lessee.core.errors import WriteError
from lessee.core.immutable import ImmutableStruct, replace
from lessee.core.leases import Lease
from lessee.core.tokens import Token
from lessee.host import procfs
from lessee.host.clock import ClockPeriod, boot_time, wall_time
from lessee.host.directories import entries, open_directory, translate_write_errors
from lessee.host.mounts import is_memory, refuse_disk
from lessee.host.ownership import refuse_foreign_writers
from lessee.publishing.generations import write_all
from lessee.publishing.publication_record import AppRecord
from lessee.publishing.state_records import (
    FORMAT,
    Stored,
    StoredDirectory,
    StoredIdentity,
    StoredLease,
    StoredToken,
    decode,
    decode_app,
    encode_app,
    file_name,
    format_of,
    is_newer,
    why_ignored,
)
from lessee.telemetry.logs import log

_NEW = "new"
_OLD = ("token", "token.new")
"""The files of an earlier version of lessee, which stored a single token."""
_CLOCK = "clock"
_KEY, _KEY_SIZE = "key", 32
_OWN_PREFIXES = ("identity-", "token-", "lease-", "app-", "directory-")
_REMAINING_TTL = 1.0
"""Seconds. A token from before a reboot is looked up soon, as its times no longer mean anything."""
_LOCK_POLL = 0.02
_MAX_RECORD = 64 << 20
"""Bytes. The largest record is a lease with its values."""
# A FIFO would hang without O_NONBLOCK.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class StateLockedError(WriteError):
    """Another agent holds the state directory."""


class _StoredClock(ImmutableStruct, frozen=True):
    boot: str
    periods: list[ClockPeriod]
    format: int = 1


class StateStore:
    """A directory (0700) of small files (0600), each replaced atomically. One agent at a time holds it.

    An identity is a hash of a `vault` block, in hex: under each the agent has tokens of its own. All that writes raises
    WriteError.
    """

    def __init__(self, directory: Path, *, allow_disk: bool, lock_timeout: float = 0.0) -> None:
        """Raises WriteError: not tmpfs, not writable, not the agent's alone, or held by another agent.

        It waits for another agent for `lock_timeout` seconds.
        """
        self._path = directory
        self._fd = open_directory(directory, make=(0o700, None, None))
        try:
            # Another user's records would be believed, and so obeyed.
            refuse_foreign_writers(self._fd, directory, "state_dir")
            if not allow_disk:
                refuse_disk(self._fd, directory, "state_dir")
            self._memory = is_memory(self._fd)
            self._lock = self._take_lock(boot_time() + lock_timeout)
        except BaseException:
            os.close(self._fd)
            raise
        self._boot = procfs.boot_id()
        self._ignored: set[str] = set()
        self._key = b""
        self._listed: list[str] | None = None
        """The names in the directory, in order, within `listed`."""
        for leftover in (_NEW, *_OLD):
            self._remove(leftover)
        with self.listed():
            for name in self._names("identity-"):
                if format_of(content := self._read(name)) == 1:
                    self._upgrade(name, content)

    def close(self) -> None:
        """Release the directory for another agent; its files stay."""
        os.close(self._lock)
        os.close(self._fd)

    def remove(self) -> None:
        """Delete all records; other files in the directory stay."""
        for name in sorted(entries(self._fd)):
            if name.startswith(_OWN_PREFIXES) or name in {"lock", "status.sock", _CLOCK, _KEY}:
                self._remove(name)

    @contextmanager
    def listed(self) -> Iterator[None]:
        """List the directory once for all that is read in this context: each of many identities reads a few records."""
        self._listed = sorted(entries(self._fd))
        try:
            yield
        finally:
            self._listed = None

    def identities(self) -> dict[str, bytes]:
        """The `vault` block of each stored identity, as JSON."""
        return {stored.identity: stored.block for stored in self._read_all(StoredIdentity, "identity-")}

    def store_identity(self, identity: str, block: bytes) -> None:
        """Store how to reach the Vault that issued this identity's tokens and leases."""
        self._write_record(StoredIdentity(identity, block, FORMAT))

    def forget_identity(self, identity: str) -> None:
        """Delete an identity that has no tokens and leases left."""
        self._remove(file_name("identity", identity))

    def tokens(self, identity: str) -> list[tuple[Token, str]]:
        """The tokens of an identity with their values, the oldest first; the last one is in use.

        A token from before a reboot has a second left, as only the server knows its TTL.
        """
        stored = [
            entry
            for entry in self._read_all(StoredToken, file_name("token", identity, ""))
            if entry.identity == identity
        ]
        stored.sort(key=lambda entry: (entry.boot == self._boot, entry.token.sent_at))
        return [(self._current_token(entry), entry.value) for entry in stored]

    def store_token(self, identity: str, token: Token, value: str) -> None:
        """Store a token, before its first use."""
        self._write_record(StoredToken(identity, self._boot, token, value, FORMAT))

    def forget_token(self, identity: str, token_id: str) -> None:
        """Delete a token that was revoked or expired."""
        self._remove(file_name("token", identity, token_id))

    def leases(self, identity: str) -> list[Lease]:
        """The leases of an identity.

        A lease from before a reboot has expired, until the server says otherwise; one without an end has not, and a
        certificate without a lease is valid until its notAfter.
        """
        stored = self._read_all(StoredLease, file_name("lease", identity, ""))
        return [self._current_lease(entry) for entry in stored if entry.identity == identity]

    def store_lease(self, identity: str, lease: Lease) -> None:
        """Store a lease, before its first use."""
        self._write_record(StoredLease(identity, self._boot, lease, FORMAT))

    def forget_lease(self, identity: str, lease_id: str) -> None:
        """Delete a lease that was revoked or expired, by the agent's own id of it."""
        self._remove(file_name("lease", identity, lease_id))

    def clock_periods(self) -> list[ClockPeriod]:
        """The periods of the wall clock that a previous run saw in this boot."""
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            stored = msgspec.json.decode(self._read(_CLOCK), type=_StoredClock)
            if stored.format == FORMAT and stored.boot == self._boot:
                return stored.periods
        return []

    def store_clock_periods(self, periods: Iterable[ClockPeriod]) -> None:
        """Store what the times of files were on the boot clock."""
        self._write(_CLOCK, msgspec.json.encode(_StoredClock(self._boot, list(periods), FORMAT)))

    def app(self, name: str) -> AppRecord:
        """The record of an app; empty if it does not exist or cannot be read."""
        content = self._read(_app_file(name))
        record = decode_app(content)
        if record is None:
            record = AppRecord()
            if is_newer(content):
                self._warn(_app_file(name), content)
        return record if record.boot == self._boot else replace(record, published_at=None)

    def store_app(self, name: str, record: AppRecord) -> None:
        """Replace the record of an app; an empty record deletes it."""
        if replace(record, boot="") == AppRecord():
            self._remove(_app_file(name))
        else:
            self._write(_app_file(name), encode_app(replace(record, boot=self._boot)))

    def key(self) -> bytes:
        """The key of this state directory, by which the agent knows what it published; made at the first use."""
        if len(self._key) != _KEY_SIZE:
            self._key = self._read(_KEY)
        if len(self._key) != _KEY_SIZE:
            self._key = os.urandom(_KEY_SIZE)
            self._write(_KEY, self._key)
        return self._key

    def directories(self) -> dict[str, str]:
        """The directories in which the agent published files, each with its app."""
        return {stored.path: stored.app for stored in self._read_all(StoredDirectory, "directory-")}

    def store_directory(self, path: str, app: str) -> None:
        """Store that the agent publishes the app's files in this directory, before it does."""
        self._write_record(StoredDirectory(path, app, FORMAT))

    def forget_directory(self, path: str) -> None:
        """Delete the record of a directory without published files."""
        self._remove(StoredDirectory(path, "").file)

    def _upgrade(self, name: str, content: bytes) -> None:
        """Take over what lessee 0.1.0 stored of an identity. A kill meanwhile loses nothing: the next start repeats it.

        What cannot be read stays where it is, and is reported as every record that is ignored.
        """
        from lessee.publishing import state_format_1 as old  # noqa: PLC0415  # After an upgrade alone.

        errors = msgspec.MsgspecError, UnicodeDecodeError, RecursionError
        with suppress(*errors):
            upgraded = old.upgrade_identity(name, content)
            if upgraded is None:
                return
            before, identity = upgraded
            self._write_record(identity)
            taken = 0
            for kind, upgrade in (("token", old.upgrade_token), ("lease", old.upgrade_lease)):
                for file in self._names(file_name(kind, before, "")):
                    record: StoredToken | StoredLease | None = None
                    stored = self._read(file)
                    with suppress(*errors):
                        record = upgrade(file, stored, before, identity.identity)
                    if record is None:
                        self._warn(file, stored)
                    else:
                        self._write_record(record)
                        self._remove(file)
                        taken += 1
            self._remove(name)
            log("info", "state of an earlier version read", identity=identity.identity[:8], records=taken)

    def _current_token(self, stored: StoredToken) -> Token:
        if stored.boot == self._boot:
            return stored.token
        return replace(stored.token, sent_at=boot_time(), ttl=_REMAINING_TTL)

    def _current_lease(self, stored: StoredLease) -> Lease:
        if stored.boot == self._boot:
            return stored.lease
        lease = stored.lease
        began = boot_time() + _seconds_left(lease) - lease.ttl
        return replace(lease, issued_at=began, sent_at=began)

    def _read_all(self, kind: type[Stored], prefix: str) -> Iterator[Stored]:
        for name in self._names(prefix):
            content = self._read(name)
            stored = decode(content, kind)
            if stored is not None and stored.file == name:
                yield stored
            else:
                self._warn(name, content)

    def _warn(self, name: str, content: bytes) -> None:
        if name not in self._ignored:
            self._ignored.add(name)
            log("warning", "state record ignored", file=str(self._path / name), reason=why_ignored(content))

    def _names(self, prefix: str) -> list[str]:
        """The names with this prefix, in order. Within `listed`, a record that was removed since is still named."""
        if self._listed is None:
            return sorted(name for name in entries(self._fd) if name.startswith(prefix))
        # No name has a character after the last one of Unicode.
        first, end = bisect_left(self._listed, prefix), bisect_left(self._listed, prefix + chr(sys.maxunicode))
        return self._listed[first:end]

    def _write_record(self, stored: StoredIdentity | StoredToken | StoredLease | StoredDirectory) -> None:
        self._write(stored.file, msgspec.json.encode(stored))

    def _read(self, name: str) -> bytes:
        """The bytes of a record; empty without one that this user or root wrote."""
        with suppress(OSError):
            fd = os.open(name, _READ, dir_fd=self._fd)
            try:
                status = os.fstat(fd)
                is_own = stat.S_ISREG(status.st_mode) and status.st_uid in {0, os.geteuid()}
                if not is_own or status.st_size > _MAX_RECORD:
                    return b""
                with os.fdopen(fd, "rb", closefd=False) as stream:
                    return stream.read(_MAX_RECORD)
            finally:
                os.close(fd)
        return b""

    def _write(self, name: str, content: bytes) -> None:
        with translate_write_errors(self._path):
            try:
                fd = os.open(_NEW, _CREATE, 0o600, dir_fd=self._fd)
            except FileExistsError:  # From a write that failed.
                os.unlink(_NEW, dir_fd=self._fd)
                fd = os.open(_NEW, _CREATE, 0o600, dir_fd=self._fd)
            try:
                write_all(fd, content)
                if not self._memory:
                    os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(_NEW, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
            if not self._memory:
                os.fsync(self._fd)

    def _remove(self, name: str) -> None:
        with translate_write_errors(self._path), suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._fd)

    def _take_lock(self, until: float) -> int:
        with translate_write_errors(self._path):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open("lock", flags, 0o600, dir_fd=self._fd)
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if boot_time() < until:
                    time.sleep(_LOCK_POLL)
                    continue
                os.close(fd)
                raise StateLockedError(
                    "another lessee uses this state directory",
                    where=str(self._path),
                    todo="reach it by `lessee status` or `lessee refresh`, or set another `state_dir`",
                ) from None
            return fd


def _seconds_left(lease: Lease) -> float:
    """How long what was issued before a reboot is valid by the wall clock, which alone has gone on since."""
    not_after = lease.secret.data.get("expiration")
    if lease.ends_with_token:
        return 0.0
    if not isinstance(not_after, int | float):
        from lessee.core.own_end import end_of  # noqa: PLC0415  # Only after a reboot.

        not_after = end_of(lease.secret.data) or 0.0
    return min(max(not_after - wall_time(), 0.0), lease.ttl)


def _app_file(name: str) -> str:
    return f"app-{name}"
