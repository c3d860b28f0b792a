"""The single file lessee.pyz: a zipapp (PEP 441) with all modules, and a start that unpacks them."""

import hashlib
import io
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path

from tree import ENTRY

_MAIN = Path(__file__).parent / "zipapp/__main__.py"
_SHEBANG = b"#!/usr/bin/env -S python3 -IS\n"
"""Isolated from variables, the user's packages and the current folder; `env -S` is in coreutils since 8.30."""


def make(folder: Path, output: Path, version: str, machine: str, pythons: Iterable[str], epoch: int) -> Path:
    """Pack a folder that `tree.lay_out` made. The file has the same bytes for the same modules and time."""
    files = {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
    files["lessee.py"] = ENTRY.encode()
    key = hashlib.sha256()
    for name, content in sorted(files.items()):
        key.update(f"{name}\0{len(content)}\0".encode() + content)
    main = _MAIN.read_text(encoding="utf-8")
    key.update(main.encode())
    values = {"VERSION": version, "KEY": key.hexdigest()[:16], "MACHINE": machine, "PYTHONS": '", "'.join(pythons)}
    for name, value in values.items():
        main = main.replace(f"@{name}@", value)
    # A time of a zip is in steps of two seconds.
    date = time.gmtime(max(epoch, 315532800))[:6]
    packed = io.BytesIO(_SHEBANG)
    packed.seek(0, io.SEEK_END)
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, content in [("__main__.py", main.encode()), *sorted(files.items())]:
            entry = zipfile.ZipInfo(name, date)
            entry.compress_type, entry.external_attr, entry.create_system = zipfile.ZIP_DEFLATED, 0o100644 << 16, 3
            archive.writestr(entry, content)
    output.write_bytes(packed.getvalue())
    output.chmod(0o755)
    return output
