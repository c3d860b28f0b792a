"""Earlier versions of lessee, for tests that run them.

`PYTHONPATH=tests .venv/bin/python -m support.released VERSION COMMIT` packs one: the package of a commit without the
features in OMITTED, which read no file of another version. The archive is the same bytes for the same commit. Its
program needs no other packages than this version's environment has.
"""

import io
import lzma
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from support.paths import ROOT, TESTS

VERSIONS = TESTS / "e2e" / "versions"
_COMMANDS = ("commands/wrapping/", "commands/setting_up/", "validation/", "emergency/", "setup/")
OMITTED = ("core/importing/", "core/wrapping/", "lessee.schema.json", *_COMMANDS)
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 4, "lp": 0, "pb": 0}]


def unpack(version: str, folder: Path) -> Path:
    """Unpack a version, and return the folder to name in PYTHONPATH."""
    with tarfile.open(VERSIONS / f"lessee-{version}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def run(version: str, script: str, *arguments: object) -> str:
    """Run a Python script that imports `lessee` of a version, and return what it prints."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(unpack(version, Path(folder)))}
        command = [sys.executable, "-c", script, *map(str, arguments)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def pack(version: str, commit: str) -> bytes:
    """The archive of a version."""
    done = subprocess.run(["git", "archive", commit, "agent/lessee"], cwd=ROOT, capture_output=True, check=True)
    packed = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(done.stdout)) as source,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as target,
    ):
        for member in sorted(source.getmembers(), key=lambda member: member.name):
            name = member.name.removeprefix("agent/")
            if member.isfile() and not name.removeprefix("lessee/").startswith(OMITTED):
                info = tarfile.TarInfo(name)
                info.size = member.size
                target.addfile(info, source.extractfile(member))
    text = packed.getvalue()
    assert f'__version__ = "{version}"'.encode() in text
    return lzma.compress(text, format=lzma.FORMAT_XZ, filters=_FILTERS)


if __name__ == "__main__":
    (VERSIONS / f"lessee-{sys.argv[1]}.tar.xz").write_bytes(pack(*sys.argv[1:3]))
