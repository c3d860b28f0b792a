"""Reads files that SOPS encrypted for age recipients, in this process: no `sops` is started, and nothing is written."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from lessee.core.failures import Kind
from lessee.host.optional_dependencies import library
from lessee.sources.directory import DirectoryReader
from lessee.sources.files import (
    CHANGES,
    SETTLING_TIME,
    TRIES,
    content_of,
    open_source,
    opened,
    refuse_writable,
    refuse_writable_folders,
)
from lessee.sources.policy.sops_format import SopsError, SopsMetadata, decrypted
from lessee.sources.policy.sops_text import ENDINGS, parse
from lessee.sources.reader import ReadError, bounded

EXTRA = "sops"
_IDENTITY = "AGE-SECRET-KEY-1"
_KEY_SIZE = 32
_MAX_RECIPIENTS = 100


class SopsReader:
    """Reads secrets below one directory. It decrypts a file again only when the file has changed."""

    def __init__(self, directory: str, age_key_file: str) -> None:
        self._directory = directory
        self._age_key_file = age_key_file
        self._known: dict[str, tuple[bytes, Mapping[str, object]]] = {}

    def check(self) -> None:
        """Raise ReadError if the directory does not exist, or there is no identity to decrypt with."""
        open_source(self._directory)
        self._identities()

    def read(self, path: str) -> Mapping[str, object]:
        """The plain tree of the file with this path and one of the endings."""
        open_source(self._directory)
        ending, content = self._content(path)
        identities = self._identities()
        digest = sha256(content + repr([str(one) for one in identities]).encode()).digest()
        known = self._known.get(path)
        if known is not None and known[0] == digest:
            return known[1]
        try:
            tree, metadata = parse(content.decode(), ending)
            data = bounded(decrypted(tree, metadata, _opener(_data_key(metadata, identities))))
        except UnicodeDecodeError:
            raise ReadError(Kind.INVALID, f"{path}{ending} is not UTF-8 text") from None
        except SopsError as exc:
            raise ReadError(Kind.INVALID, f"{path}{ending}: {exc}") from None
        self._known[path] = digest, data
        return data

    def names(self, folder: str) -> Sequence[str]:
        """The names of the files directly in a directory, without their endings."""
        files = map(Path, DirectoryReader(self._directory).names(folder))
        return sorted({file.stem for file in files if file.suffix in ENDINGS})

    def _content(self, path: str) -> tuple[str, bytes]:
        found = []
        for ending in ENDINGS:
            try:
                content = self._settled(f"{path}{ending}")
            except ReadError as exc:
                if exc.failure.kind is not Kind.NOT_FOUND:
                    raise
            else:
                found.append((ending, content))
        if not found:
            text = f"there is no {path} with the ending {', '.join(ENDINGS)} in {self._directory}"
            raise ReadError(Kind.NOT_FOUND, text)
        if len(found) > 1:
            names = ", ".join(f"{path}{ending}" for ending, _ in found)
            raise ReadError(Kind.INVALID, f"there are several files: {names}; remove all but one")
        return found[0]

    def _settled(self, name: str) -> bytes:
        for attempt in range(TRIES):
            if attempt:
                time.sleep(SETTLING_TIME)
            refuse_writable_folders(self._directory, name)
            with opened(self._directory, name) as file:
                refuse_writable(file, name)
                if (content := content_of(file, name)) is not None:
                    return content
        raise ReadError(Kind.PATH_ERROR, CHANGES)

    def _identities(self) -> list[Any]:
        pyrage = library("pyrage", EXTRA)
        try:
            with Path(self._age_key_file).open(encoding="utf-8") as file:
                text = file.read(1 << 16)
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
            raise ReadError(Kind.UNAVAILABLE, f"{self._age_key_file} cannot be read: {reason}") from None
        found = []
        for line in text.splitlines():
            if line.startswith(_IDENTITY):
                with suppress(pyrage.IdentityError):
                    found.append(pyrage.x25519.Identity.from_str(line.strip()))
        if not found:
            what = f"{self._age_key_file} has no age identity; write one with `age-keygen -o FILE`"
            raise ReadError(Kind.UNAVAILABLE, what)
        return found


def _data_key(metadata: SopsMetadata, identities: Sequence[Any]) -> bytes:
    pyrage = library("pyrage", EXTRA)
    for key in metadata.keys[:_MAX_RECIPIENTS]:
        with suppress(pyrage.DecryptError):
            found = bytes(pyrage.decrypt(key.encode(), list(identities)))
            if len(found) == _KEY_SIZE:
                return found
    raise SopsError("none of the age identities decrypts it; add its recipient with `sops updatekeys`")


def _opener(key: bytes) -> Any:
    # 5 MiB, and 20 ms.
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    cipher = AESGCM(key)

    def open_(iv: bytes, data: bytes, additional: bytes) -> bytes:
        try:
            return cipher.decrypt(iv, data, additional)
        except InvalidTag:
            raise ValueError from None

    return open_
