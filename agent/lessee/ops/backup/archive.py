"""Writes and reads an archive: a tar file with a manifest and its members, encrypted with age."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, NamedTuple, Protocol

from lessee.core.immutable import replace
from lessee.host.progress import SILENT, Progress
from lessee.ops.backup.encryption import CHUNK_SIZE, decrypt, decrypt_start, encrypt
from lessee.ops.backup.keys import Keys
from lessee.ops.backup.policy.archive_format import (
    HMAC,
    LARGEST,
    MANIFEST,
    SECRETS,
    SERVER,
    TAR_BLOCK,
    TAR_END,
    ArchiveError,
    Manifest,
    Member,
    encode_manifest,
    is_authentic,
    manifest_hmac,
    parse_manifest,
    read_header,
    tar_header,
    tar_padding,
)
from lessee.ops.backup.policy.records import LONGEST_LINE, Secret, ServerObject, parse_object, parse_secret
from lessee.ops.backup.policy.retention import SealedArchive, sealed_archive


class Content(Protocol):
    """The content of a member."""

    @property
    def member(self) -> Member: ...
    def read(self) -> Iterator[bytes]:
        """Its bytes, once."""


class MemberCopy(NamedTuple):
    """A member of an archive that is being read, as the content of another one."""

    member: Member
    chunks: Iterator[bytes]

    def read(self) -> Iterator[bytes]:
        """Its bytes, once. Raises ArchiveError where they do not match the manifest."""
        return self.chunks


def write(
    manifest: Manifest,
    contents: Iterable[Content],
    out: IO[bytes],
    recipients: Sequence[Any],
    keys: Keys | None,
    progress: Progress = SILENT,
) -> None:
    """Write an archive. `keys`, if available, authenticate its manifest. Raises WriteError."""
    if keys is not None:
        manifest = replace(manifest, authenticated_by=keys.public_keys[0])
    total = sum(member.size for member in manifest.members)
    encrypt(progress.track(_pieces(manifest, contents, keys), "encrypting", total, size=len), out, recipients)


def _pieces(manifest: Manifest, contents: Iterable[Content], keys: Keys | None) -> Iterator[bytes]:
    text = encode_manifest(manifest)
    yield from _member(MANIFEST, text)
    if keys is not None:
        yield from _member(HMAC, manifest_hmac(text, keys.secrets[0].encode()))
    for content in contents:
        member = content.member
        yield tar_header(member.name, member.size)
        yield from content.read()
        yield tar_padding(member.size)
    yield TAR_END


def _member(name: str, content: bytes) -> Iterator[bytes]:
    yield tar_header(name, len(content))
    yield content
    yield tar_padding(len(content))


class Archive:
    """An archive that is read from start to end."""

    def __init__(self, clear: IO[bytes], keys: Keys, *, any_format: bool) -> None:
        self._clear = clear
        text = self._read_small(MANIFEST, LARGEST)
        self.manifest = parse_manifest(text, any_format=any_format)
        self.authenticated = False
        """Whether its HMAC shows that its maker had one of the keys."""
        if self.manifest.authenticated_by:
            self.authenticated = self._authenticate(text, self._read_small(HMAC, 64), keys)
        self._key = bytes.fromhex(self.manifest.key)
        self._next = 0

    @property
    def key(self) -> bytes:
        """The key of its fingerprints."""
        return self._key

    def objects(self) -> Iterator[ServerObject]:
        """The server objects. They come first."""
        return (parse_object(line, self.manifest.format) for line in self._lines(self._member(SERVER)))

    def secrets(self) -> Iterator[Secret]:
        """The secrets, after the objects."""
        return (parse_secret(line, self._key) for line in self._lines(self._member(SECRETS)))

    def snapshot(self) -> Iterator[bytes]:
        """The raft snapshot, after the secrets, if the manifest names one."""
        return self._content(self._member(self.manifest.members[-1].name))

    def members(self) -> Iterator["MemberCopy"]:
        """All members that the manifest names, to be read in this order, instead of their records."""
        return (MemberCopy(member, self._content(self._member(member.name))) for member in self.manifest.members)

    def close(self) -> None:
        """Raises ArchiveError where it does not end here."""
        if read_header(self._read_exactly(TAR_BLOCK)) is not None:
            raise ArchiveError("it contains a member that its manifest does not name")
        if self._read_exactly(TAR_BLOCK) != bytes(TAR_BLOCK):
            raise ArchiveError("its end is malformed")

    def _authenticate(self, text: bytes, digest: bytes, keys: Keys) -> bool:
        if self.manifest.authenticated_by not in keys.public_keys:
            return False
        own = keys.secrets[keys.public_keys.index(self.manifest.authenticated_by)]
        if not is_authentic(text, own.encode(), digest):
            raise ArchiveError(
                "the archive claims to be authenticated with your key, but its HMAC is wrong: it is forged or altered"
            )
        return True

    def _read_small(self, name: str, most: int) -> bytes:
        size = self._header(name)
        if size > most:
            raise ArchiveError(f"its {name} is too large")
        return b"".join(self._read_chunks(size))

    def _header(self, name: str) -> int:
        found = read_header(self._read_exactly(TAR_BLOCK))
        if found is None or found[0] != name:
            raise ArchiveError(f"its {name} is missing or misplaced")
        return found[1]

    def _member(self, name: str) -> Member:
        member = self.manifest.members[self._next]
        self._next += 1
        assert member.name == name
        if self._header(name) != member.size:
            raise ArchiveError(f"its {name} has another size than its manifest says")
        return member

    def _content(self, member: Member) -> Iterator[bytes]:
        found = hashlib.sha256()
        for chunk in self._read_chunks(member.size):
            found.update(chunk)
            yield chunk
        if found.hexdigest() != member.sha256:
            raise ArchiveError(f"its {member.name} does not match the hash in its manifest")

    def _lines(self, member: Member) -> Iterator[bytes]:
        rest = bytearray()
        for chunk in self._content(member):
            *lines, last = chunk.split(b"\n")
            for line in lines:
                yield bytes(rest) + line
                rest.clear()
            rest += last
            if len(rest) > LONGEST_LINE:
                raise ArchiveError(f"a record in its {member.name} is too long")
        if rest:
            raise ArchiveError(f"its {member.name} ends within a record")

    def _read_chunks(self, size: int) -> Iterator[bytes]:
        rest = size
        while rest:
            chunk = self._read_exactly(min(rest, CHUNK_SIZE))
            rest -= len(chunk)
            yield chunk
        self._read_exactly(len(tar_padding(size)))

    def _read_exactly(self, size: int) -> bytes:
        found = self._clear.read(size)
        if len(found) != size:
            raise ArchiveError("it is truncated")
        return found


@contextmanager
def open_for_reading(file: IO[bytes], keys: Keys, where: str, *, any_format: bool = False) -> Iterator[Archive]:
    """The archive in a file, read from its start. Raises ArchiveError with `where`."""
    file.seek(0)
    try:
        with decrypt(file, keys, where) as clear:
            archive = Archive(clear, keys, any_format=any_format)
            yield archive
            archive.close()
    except ArchiveError as exc:
        if exc.where == where:
            raise
        what = f"{exc.where}: {exc.what}" if exc.where else exc.what
        raise ArchiveError(what, where=where, todo=exc.todo) from None


def read_seal(file: IO[bytes], keys: Keys, name: str, where: str) -> SealedArchive:
    """What the seal of an archive says, from its first chunks. Raises ArchiveError if it has no seal of these keys."""
    try:
        with decrypt_start(file, keys, where) as clear:
            archive = Archive(clear, keys, any_format=False)
    except ArchiveError as exc:
        raise exc if exc.where else ArchiveError(exc.what, where=where, todo=exc.todo) from None
    if not archive.authenticated:
        raise ArchiveError("the archive has no seal of this key", where=where)
    found = sealed_archive(name, archive.manifest)
    if found is None:
        raise ArchiveError("the manifest is malformed", where=where)
    return found


def check_complete(file: IO[bytes], keys: Keys, where: str, progress: Progress = SILENT) -> None:
    """Read a file to its end. Raises ArchiveError where it is truncated or altered."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    with decrypt(file, keys, where) as clear:
        for _ in progress.track(iter(lambda: clear.read(CHUNK_SIZE), b""), "reading the archive", size, size=len):
            pass
    file.seek(0)
