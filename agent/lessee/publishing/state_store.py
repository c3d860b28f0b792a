"""What the agent must remember over its own death, on its state tmpfs: tokens, leases, and what became of each app."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from lessee.agent.machine.protocol.events import Token
from lessee.core.errors import WriteError
from lessee.core.immutable import Record, replace
from lessee.core.leases import Lease
from lessee.host.clock import boot_time
from lessee.host.directories import cannot_write, entries, open_directory
from lessee.host.mounts import is_memory, refuse_disk
from lessee.publishing.publication_record import AppRecord
from lessee.telemetry.logs import log

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NEW = "new"
_OLD = ("token", "token.new")
"""Where an earlier lessee kept its one token."""
_OURS = ("identity-", "token-", "lease-", "app-")
_SOON = 1.0
"""Seconds. What is left of a token when its times mean nothing any more, so that the server is asked at once."""
_LOOK = 0.02
# A FIFO would hang without O_NONBLOCK.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class StateLockedError(WriteError):  # It reads as the sentence it is.
    """The state is another lessee's, for now."""


class _KeptIdentity(Record, frozen=True):
    hidden = ("block",)

    identity: str
    block: bytes

    @property
    def file(self) -> str:
        return _file("identity", self.identity)


class _KeptToken(Record, frozen=True):
    hidden = ("value",)

    identity: str
    boot: str
    token: Token
    value: str

    @property
    def file(self) -> str:
        return _file("token", self.identity, self.token.id)


class _KeptLease(Record, frozen=True):
    identity: str
    boot: str
    lease: Lease

    @property
    def file(self) -> str:
        return _file("lease", self.identity, self.lease.id)


_Kept = TypeVar("_Kept", _KeptIdentity, _KeptToken, _KeptLease)
_Record = TypeVar("_Record", bound=Record)


class StateStore:
    """A directory of small files, 0600 in a folder of 0700, each replaced whole. One agent at a time holds it.

    An identity is who the agent is to a Vault: a hash of the `vault` block, in hex. Whatever writes raises WriteError.
    """

    def __init__(self, directory: Path, *, allow_disk: bool, patience: float = 0.0) -> None:
        """Raises WriteError: not tmpfs, not writable, or held by another agent after `patience` seconds."""
        self._path = directory
        self._fd = open_directory(directory, make=(0o700, None, None))
        if not allow_disk:
            refuse_disk(self._fd, directory)
        self._memory = is_memory(self._fd)
        self._lock = self._take_lock(boot_time() + patience)
        self._boot = _boot_id()
        self._ignored: set[str] = set()
        for left in (_NEW, *_OLD):
            self._remove(left)

    def close(self) -> None:
        """Let another agent have it; what is written stays."""
        os.close(self._lock)
        os.close(self._fd)

    def remove(self) -> None:
        """Forget all of it; whatever else lies in the directory stays."""
        for name in sorted(entries(self._fd)):
            if name.startswith(_OURS) or name in {"lock", "status.sock"}:
                self._remove(name)

    def identities(self) -> dict[str, bytes]:
        """Of every identity on record its `vault` block, as JSON."""
        return {kept.identity: kept.block for kept in self._kept(_KeptIdentity, "identity-")}

    def keep_identity(self, identity: str, block: bytes) -> None:
        """Note how to reach the Vault that knows the tokens and leases of this identity."""
        self._keep(_KeptIdentity(identity, block))

    def forget_identity(self, identity: str) -> None:
        """When nothing is left of it."""
        self._remove(_file("identity", identity))

    def tokens(self, identity: str) -> list[tuple[Token, str]]:
        """The tokens of an identity with their values, the oldest first: the last one is in use.

        One that was kept before the machine booted is good for a moment: only the server knows.
        """
        kept = [one for one in self._kept(_KeptToken, _file("token", identity, "")) if one.identity == identity]
        kept.sort(key=lambda one: (one.boot == self._boot, one.token.sent_at))
        return [(self._as_of_now(one), one.value) for one in kept]

    def keep_token(self, identity: str, token: Token, value: str) -> None:
        """Note a token, before it is used."""
        self._keep(_KeptToken(identity, self._boot, token, value))

    def forget_token(self, identity: str, token_id: str) -> None:
        """The token is no more."""
        self._remove(_file("token", identity, token_id))

    def leases(self, identity: str) -> list[Lease]:
        """The leases of an identity. One that was kept before the machine booted has ended, until the server is asked.

        What does not end at all does not end by that either.
        """
        kept = self._kept(_KeptLease, _file("lease", identity, ""))
        return [self._as_it_is(one) for one in kept if one.identity == identity]

    def keep_lease(self, identity: str, lease: Lease) -> None:
        """Note a lease, before it is used."""
        self._keep(_KeptLease(identity, self._boot, lease))

    def forget_lease(self, identity: str, lease_id: str) -> None:
        """The lease is no more; the id is ours."""
        self._remove(_file("lease", identity, lease_id))

    def app(self, name: str) -> AppRecord:
        """What is noted of an app; an empty record where nothing is, or it is broken."""
        record = self._decoded(_app_file(name), AppRecord) or AppRecord()
        return record if record.boot == self._boot else replace(record, shown_at=None)

    def keep_app(self, name: str, record: AppRecord) -> None:
        """Note this of an app, and nothing else; an empty record leaves nothing."""
        if replace(record, boot="") == AppRecord():
            self._remove(_app_file(name))
        else:
            self._write(_app_file(name), msgspec.json.encode(replace(record, boot=self._boot)))

    def _as_of_now(self, kept: _KeptToken) -> Token:
        if kept.boot == self._boot:
            return kept.token
        return replace(kept.token, sent_at=boot_time(), ttl=_SOON)

    def _as_it_is(self, kept: _KeptLease) -> Lease:
        if kept.boot == self._boot:
            return kept.lease
        ended = boot_time() - kept.lease.ttl
        return replace(kept.lease, issued_at=ended, sent_at=ended)

    def _kept(self, kind: type[_Kept], prefix: str) -> Iterator[_Kept]:
        for name in sorted(entries(self._fd)):
            if not name.startswith(prefix):
                continue
            kept = self._decoded(name, kind)
            if kept is not None and kept.file == name:
                yield kept
            elif name not in self._ignored:
                self._ignored.add(name)
                log("warning", "record ignored", file=str(self._path / name), reason="it is broken, or not lessee's")

    def _decoded(self, name: str, kind: type[_Record]) -> _Record | None:
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return msgspec.json.decode(self._read(name), type=kind)
        return None

    def _keep(self, kept: _KeptIdentity | _KeptToken | _KeptLease) -> None:
        self._write(kept.file, msgspec.json.encode(kept))

    def _read(self, name: str) -> bytes:
        with suppress(OSError):
            fd = os.open(name, _READ, dir_fd=self._fd)
            try:
                with os.fdopen(fd, "rb", closefd=False) as stream:
                    return stream.read()
            finally:
                os.close(fd)  # fdopen raises where it is a directory, and leaves the descriptor open.
        return b""

    def _write(self, name: str, content: bytes) -> None:
        with cannot_write(self._path):
            with suppress(FileNotFoundError):
                os.unlink(_NEW, dir_fd=self._fd)
            with os.fdopen(os.open(_NEW, _CREATE, 0o600, dir_fd=self._fd), "wb") as stream:
                stream.write(content)
                if not self._memory:
                    stream.flush()
                    os.fsync(stream.fileno())
            os.rename(_NEW, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
            if not self._memory:
                os.fsync(self._fd)

    def _remove(self, name: str) -> None:
        with cannot_write(self._path), suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._fd)

    def _take_lock(self, until: float) -> int:
        with cannot_write(self._path):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open("lock", flags, 0o600, dir_fd=self._fd)
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if boot_time() < until:
                    time.sleep(_LOOK)
                    continue
                os.close(fd)
                raise StateLockedError(
                    "another lessee holds this state",
                    where=str(self._path),
                    todo="ask it with `lessee status` or `lessee refresh`, or give this one a `state` of its own",
                ) from None
            return fd


def _file(kind: str, identity: str, *ids: str) -> str:
    # The identity is in every name: two of them may read the same static role, whose lease always has the same id.
    return "-".join((kind, identity[:16], *ids))


def _app_file(name: str) -> str:
    return f"app-{name}"


def _boot_id() -> str:
    """Tell one boot from another: CLOCK_BOOTTIME starts anew with each."""
    with suppress(OSError):
        return _BOOT_ID.read_text().strip()
    return ""
