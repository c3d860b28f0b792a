"""An archive as a file: a tar file of a manifest and what it names, in the hands of age."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

from lessee.core.immutable import replace
from lessee.ops.backup.encryption import PIECE, decrypted, encrypt
from lessee.ops.backup.keys import Keys
from lessee.ops.backup.policy import tar
from lessee.ops.backup.policy.manifest import (
    LARGEST,
    MANIFEST,
    SEAL,
    SECRETS,
    SERVER,
    Manifest,
    Member,
    encoded,
    is_sealed,
    manifest_of,
    seal,
)
from lessee.ops.backup.policy.problems import ArchiveError
from lessee.ops.backup.policy.records import LONGEST_LINE, Secret, Thing, secret_of, thing_of
from lessee.ops.backup.spool import Spool


def write(
    manifest: Manifest, spools: Sequence[Spool], out: IO[bytes], recipients: Sequence[Any], keys: Keys | None
) -> None:
    """`keys`: of who makes it, where they are at hand: they seal it. Raises WriteError."""
    if keys is not None:
        manifest = replace(manifest, sealed_by=keys.publics[0])
    encrypt(_pieces(manifest, spools, keys), out, recipients)


def _pieces(manifest: Manifest, spools: Sequence[Spool], keys: Keys | None) -> Iterator[bytes]:
    text = encoded(manifest)
    yield from _member(MANIFEST, text)
    if keys is not None:
        yield from _member(SEAL, seal(text, keys.secrets[0].encode()))
    for spool in spools:
        member = spool.member
        yield tar.header(member.name, member.size)
        yield from spool.read()
        yield tar.padding(member.size)
    yield tar.END


def _member(name: str, content: bytes) -> Iterator[bytes]:
    yield tar.header(name, len(content))
    yield content
    yield tar.padding(len(content))


class Archive:
    """An archive that is being read, from its beginning to its end."""

    def __init__(self, clear: IO[bytes], keys: Keys, *, any_format: bool) -> None:
        self._clear = clear
        text = self._small(MANIFEST, LARGEST)
        self.manifest = manifest_of(text, any_format=any_format)
        self.sealed = False
        """Whether it is known to be made by who has one of our keys."""
        if self.manifest.sealed_by:
            said = self._small(SEAL, 64)
            self.sealed = self._is_sealed(text, said, keys)
        self._key = bytes.fromhex(self.manifest.key)
        self._next = 0

    def things(self) -> Iterator[Thing]:
        """What is saved beside secrets."""
        return map(thing_of, self._lines(self._member(SERVER)))

    def secrets(self) -> Iterator[Secret]:
        """After the things."""
        return (secret_of(line, self._key) for line in self._lines(self._member(SECRETS)))

    def snapshot(self) -> Iterator[bytes]:
        """After the secrets, where the manifest names it."""
        return self._content(self._member(self.manifest.members[-1].name))

    def close(self) -> None:
        """Raises ArchiveError where it does not end here."""
        if tar.header_of(self._exactly(tar.BLOCK)) is not None:
            raise ArchiveError("a member is in it that its manifest does not name")
        if self._exactly(tar.BLOCK) != bytes(tar.BLOCK):
            raise ArchiveError("it does not end as it should")

    def _is_sealed(self, text: bytes, said: bytes, keys: Keys) -> bool:
        if self.manifest.sealed_by not in keys.publics:
            return False
        own = keys.secrets[keys.publics.index(self.manifest.sealed_by)]
        if not is_sealed(text, own.encode(), said):
            raise ArchiveError(
                "it says that it was sealed with your key, and the seal is wrong: it is forged or altered"
            )
        return True

    def _small(self, name: str, most: int) -> bytes:
        size = self._header(name)
        if size > most:
            raise ArchiveError(f"its {name} is too large")
        return b"".join(self._exactly_in_pieces(size))

    def _header(self, name: str) -> int:
        found = tar.header_of(self._exactly(tar.BLOCK))
        if found is None or found[0] != name:
            raise ArchiveError(f"{name} is not in it where it should be")
        return found[1]

    def _member(self, name: str) -> Member:
        member = self.manifest.members[self._next]
        self._next += 1
        assert member.name == name
        if self._header(name) != member.size:
            raise ArchiveError(f"its {name} is not as long as its manifest says")
        return member

    def _content(self, member: Member) -> Iterator[bytes]:
        found = hashlib.sha256()
        for piece in self._exactly_in_pieces(member.size):
            found.update(piece)
            yield piece
        if found.hexdigest() != member.sha256:
            raise ArchiveError(f"its {member.name} is not what its manifest says")

    def _lines(self, member: Member) -> Iterator[bytes]:
        rest = bytearray()
        for piece in self._content(member):
            *lines, last = piece.split(b"\n")
            for line in lines:
                yield bytes(rest) + line
                rest.clear()
            rest += last
            if len(rest) > LONGEST_LINE:
                raise ArchiveError(f"a line of its {member.name} is too long")
        if rest:
            raise ArchiveError(f"its {member.name} ends within a line")

    def _exactly_in_pieces(self, size: int) -> Iterator[bytes]:
        rest = size
        while rest:
            piece = self._exactly(min(rest, PIECE))
            rest -= len(piece)
            yield piece
        self._exactly(len(tar.padding(size)))

    def _exactly(self, size: int) -> bytes:
        found = self._clear.read(size)
        if len(found) != size:
            raise ArchiveError("it ends too early")
        return found


@contextmanager
def opened(file: IO[bytes], keys: Keys, where: str, *, any_format: bool = False) -> Iterator[Archive]:
    """The archive in a file, which is read from its beginning. Raises ArchiveError, told with `where`."""
    file.seek(0)
    try:
        with decrypted(file, keys, where) as clear:
            archive = Archive(clear, keys, any_format=any_format)
            yield archive
            archive.close()
    except ArchiveError as exc:
        if exc.where == where:
            raise
        what = f"{exc.where}: {exc.what}" if exc.where else exc.what
        raise ArchiveError(what, where=where, todo=exc.todo) from None
