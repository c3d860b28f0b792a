"""The source distribution and the wheel, with the same bytes for the same commit."""

import gzip
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

_BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"


def build(source: Path, output: Path, epoch: int) -> tuple[Path, Path]:
    """Build both from an exported source, and return their paths. The wheel is made of the source distribution."""
    _call("build_sdist", source, output, epoch)
    [sdist] = output.glob("*.tar.gz")
    sdist.write_bytes(same_bytes(sdist.read_bytes(), epoch))
    unpacked = source.parent / "unpacked"
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    [folder] = unpacked.iterdir()
    _call("build_wheel", folder, output, epoch)
    [wheel] = output.glob("*.whl")
    return sdist, wheel


def same_bytes(sdist: bytes, epoch: int) -> bytes:
    """The archive without what depends on the machine: setuptools writes the time, user and umask of the build."""
    packed = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(sdist)) as old,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, "", ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    # Without a name and a time in the header.
    return gzip.compress(packed.getvalue(), mtime=epoch)


def _call(hook: str, source: Path, output: Path, epoch: int) -> None:
    environ = os.environ | {"SOURCE_DATE_EPOCH": str(epoch), "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-c", _BUILD, hook, output]
    done = subprocess.run(command, cwd=source, env=environ, capture_output=True, text=True, check=False, umask=0o022)
    if done.returncode:
        raise SystemExit(f"{hook}: {done.stdout}{done.stderr}")
