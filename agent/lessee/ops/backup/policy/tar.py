"""The headers of a tar file: those few that an archive has, and no others."""

import tarfile

from lessee.ops.backup.policy.problems import ArchiveError

BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)


def header(name: str, size: int) -> bytes:
    """Of a regular file that is its owner's alone, whoever unpacks it."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    # GNU's form writes sizes beyond 8 GiB into the same block.
    return info.tobuf(tarfile.GNU_FORMAT)


def padding(size: int) -> bytes:
    """What fills a member's last block."""
    return bytes(-size % BLOCK)


def header_of(block: bytes) -> tuple[str, int] | None:
    """Name and size; None is the end. Raises ArchiveError for what is no plain file."""
    if block == bytes(BLOCK):
        return None
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError, ValueError):
        raise ArchiveError("it is cut, or no tar file is in it") from None
    if info.type != tarfile.REGTYPE or info.size < 0:
        raise ArchiveError("something that is no file is in it")
    return info.name, info.size
