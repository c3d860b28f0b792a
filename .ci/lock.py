"""Writes the lock files, with the hash of each file of each package, and the list of what an image contains.

    make lock                   # keeps locked versions that still fit
    make lock UPGRADE=yes       # takes the newest

`requirements.lock` is for development and CI, and `packaging.txt` for `make dist`. `runtime/base.txt` is what an agent
needs, `runtime/EXTRA.txt` what an extra of pyproject.toml adds, and `runtime/build.txt` builds the wheel. `sbom.json`
(CycloneDX 1.6) has the packages of an image, and so none of `docs`.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Set as AbstractSet
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parent / "pyproject.toml"
DEVELOPMENT = HERE / "requirements.lock"
RUNTIME = HERE / "runtime"
PACKAGING = HERE / "packaging.txt"
OPENBAO = HERE.parent / "compose/quickstart/openbao/requirements.txt"
SBOM = HERE / "sbom.json"
_NOT_IN_IMAGES = {"build", "docs"}
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^ ;\\]+)", re.MULTILINE)


def pins(lock: str) -> dict[str, str]:
    """The versions in a lock file, by the packages' normalized names."""
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in _PIN.findall(lock)}


def version() -> str:
    """The version of lessee, which the package has."""
    text = (HERE.parent / "agent/lessee/__init__.py").read_text()
    return re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)[1]


def without(lock: str, names: AbstractSet[str]) -> str:
    """A lock file without some packages."""
    entries = re.split(r"^(?=\S)", lock, flags=re.MULTILINE)
    return "".join(entry for entry in entries if not names & pins(entry).keys())


def sbom(locks: dict[str, str], version: str) -> str:
    """The packages of the lock files of an image, given by their names. What is not in `base` is optional."""
    base = pins(locks["base"])
    found = {name: version for lock in locks.values() for name, version in pins(lock).items()}
    components = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{name}@{found[name]}",
            "name": name,
            "version": found[name],
            "purl": f"pkg:pypi/{name}@{found[name]}",
            "scope": "required" if name in base else "optional",
        }
        for name in sorted(found)
    ]
    application = {"type": "application", "bom-ref": "lessee", "name": "lessee", "version": version}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": application},
        "components": components,
    }
    return json.dumps(document, indent=1) + "\n"


def main() -> None:
    """Write all files."""
    project = tomllib.loads(PROJECT.read_text())
    options = ["--upgrade"] if sys.argv[1:] == ["--upgrade"] else []
    with tempfile.TemporaryDirectory() as folder:
        build = Path(folder) / "build.in"
        build.write_text("\n".join(project["build-system"]["requires"]))
        packaging = Path(folder) / "packaging.in"
        packaging.write_text("\n".join(project["dependency-groups"]["packaging"]))
        extras = [word for extra in ("test", "demo", "docs") for word in ("--extra", extra)]
        _compile(DEVELOPMENT, [str(PROJECT), str(build), *extras], *options)
        _compile(PACKAGING, [str(packaging)], "--constraint", str(DEVELOPMENT), *options)
        RUNTIME.mkdir(exist_ok=True)
        # They have the versions that the tests run with.
        same = ["--constraint", str(DEVELOPMENT)]
        _compile(RUNTIME / "build.txt", [str(build)], *same)
        _compile(RUNTIME / "base.txt", [str(PROJECT)], *same)
        for extra in sorted(set(project["project"]["optional-dependencies"]) - {"test"}):
            _compile(path := RUNTIME / f"{extra}.txt", [str(PROJECT), "--extra", extra], *same)
            path.write_text(without(path.read_text(), pins((RUNTIME / "base.txt").read_text()).keys()))
    OPENBAO.write_text((RUNTIME / "demo.txt").read_text())
    locks = {path.stem: path.read_text() for path in sorted(RUNTIME.glob("*.txt")) if path.stem not in _NOT_IN_IMAGES}
    SBOM.write_text(sbom(locks, version()))


def _compile(path: Path, sources: list[str], *options: str) -> None:
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--python-version", "3.11"]
    command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
    command += ["--output-file", str(path)]
    subprocess.run([*command, *options, *sources], check=True, cwd=HERE.parent)


if __name__ == "__main__":
    main()
