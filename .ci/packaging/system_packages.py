"""The packages for Debian and for Red Hat's family, made by nfpm of one description."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from source import ROOT
from tree import ENTRY, link_python

_SYSTEM = Path(__file__).parent / "system"
_UNITS = ROOT / "compose/systemd"
HOME = "/opt/lessee"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_DESCRIPTION = """\
Sidecar that renders secrets from Vault or OpenBao to files
lessee logs in to OpenBao or HashiCorp Vault, renders Jinja templates to files
on tmpfs, keeps leases alive, notices changed secrets and signals the app.
The app needs no Vault library; it reads a file."""


def make(folder: Path, output: Path, version: str, machine: str, extra: Path, epoch: int) -> list[Path]:
    """Pack a folder that `tree.lay_out` made, with `extra` files below /usr/share. Returns the packages."""
    link_python(folder, HOME, "/usr/bin/python3", ENTRY)
    # nfpm's own `mtime` is not for the files of a folder.
    for path in (folder, *folder.rglob("*"), *extra.rglob("*")):
        if not path.is_symlink():
            # nfpm packs modes as they are, and those of another umask would lock the agents' users out.
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)
    description = folder.parent / "nfpm.json"
    description.write_text(json.dumps(described(folder, version, machine, extra, epoch)), encoding="utf-8")
    nfpm = Path(sys.executable).with_name("nfpm")
    for packager in ("deb", "rpm"):
        command = [nfpm, "package", f"--config={description}", f"--packager={packager}", f"--target={output}/"]
        done = subprocess.run(
            command,
            env=os.environ | {"SOURCE_DATE_EPOCH": str(epoch)},
            capture_output=True,
            text=True,
            check=False,
            umask=0o022,
        )
        if done.returncode:
            raise SystemExit(f"nfpm: {done.stdout}{done.stderr}")
    return sorted([*output.glob("*.deb"), *output.glob("*.rpm")])


def described(folder: Path, version: str, machine: str, extra: Path, epoch: int) -> dict:
    """What nfpm packs (https://nfpm.goreleaser.com/configuration/)."""
    scripts = {name: str(_SYSTEM / f"{name_of}.sh") for name, name_of in _SCRIPTS.items()}
    return {
        "name": "lessee",
        "arch": ARCHITECTURES[machine],
        "platform": "linux",
        # ~ precedes the release: to dpkg and rpm, 1.0.0rc1 would follow 1.0.0.
        "version": re.sub(r"(?=(a|b|rc)\d)", "~", version),
        "version_schema": "none",
        "release": "1",
        "section": "admin",
        "priority": "optional",
        "maintainer": "The lessee project <lessee@localhost>",
        "description": _DESCRIPTION,
        "license": "Apache-2.0",
        "mtime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch)),
        "contents": list(_contents(folder, extra)),
        "overrides": {
            "deb": {
                "depends": ["python3 (>= 3.11)", "python3 (<< 3.15)", "libc6 (>= 2.28)"],
                "scripts": scripts,
            },
            "rpm": {
                "depends": ["python3 >= 3.11", "python3 < 3.15", "glibc >= 2.28"],
                # The scripts of the old version run after `postinstall` of the new one.
                "scripts": {name: path for name, path in scripts.items() if name != "postinstall"},
            },
        },
        "rpm": {
            "scripts": {"posttrans": scripts["postinstall"]},
            "group": "System Environment/Daemons",
            "compression": "zstd",
            # By default the name of the machine that builds it.
            "buildhost": "lessee",
        },
        "deb": {"compression": "zstd"},
    }


_SCRIPTS = {"postinstall": "after-install", "preremove": "before-remove", "postremove": "after-remove"}


def _contents(folder: Path, extra: Path) -> Iterator[dict]:
    yield {"src": f"{folder}/", "dst": HOME, "type": "tree"}
    yield {"src": f"{HOME}/bin/lessee", "dst": "/usr/bin/lessee", "type": "symlink"}
    for unit in ("lessee@.service", "lessee-drill.service", "lessee-drill.timer"):
        yield _file(_UNITS / unit, f"/usr/lib/systemd/system/{unit}")
    for kind in ("sysusers", "tmpfiles"):
        yield _file(_SYSTEM / f"lessee.{kind}", f"/usr/lib/{kind}.d/lessee.conf")
    yield {"dst": "/etc/lessee", "type": "dir", "file_info": {"mode": 0o755}}
    for name in ("lessee.yaml", "app.env.j2"):
        yield _file(_SYSTEM / name, f"/etc/lessee/{name}") | {"type": "config|noreplace"}
    yield _file(ROOT / "LICENSE", "/usr/share/doc/lessee/copyright")
    for file in sorted(file for file in extra.rglob("*") if file.is_file()):
        name = str(file.relative_to(extra))
        yield _file(file, f"/usr/share/{name}") | ({"packager": "rpm"} if name.startswith("zsh/") else {})
        if name.startswith("zsh/"):
            # Debian's zsh searches another folder.
            yield _file(file, f"/usr/share/zsh/vendor-completions/{file.name}") | {"packager": "deb"}


def _file(source: Path, target: str) -> dict:
    return {"src": str(source), "dst": target, "file_info": {"mode": 0o644}}
