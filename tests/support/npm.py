"""What npm has of the readers that files are tried with: exact versions, installed once.

As a program it installs them, so that no test has to wait for that.
"""

import fcntl
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from support.needs import need

_ASKED = Path(__file__).parents[1] / "readers"
_FOLDER = _ASKED / ".cache"


def packages():
    """The folder in whose node_modules lies what readers/package.json asks for; run node there."""
    need(shutil.which("node") and shutil.which("npm"), "needs Node.js 20 or later and its npm: apt install nodejs npm")
    _FOLDER.mkdir(exist_ok=True)
    with (_FOLDER / "lock").open("w") as lock:
        # Another run of the tests may be about to install the same.
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install()
    return _FOLDER


def program(folder, name):
    """The path of a node: the machine's own, or one of the packages."""
    path = shutil.which("node") if name == "node" else folder / "node_modules" / name / "bin/node"
    need(shutil.which(path), f"needs {name}, which npm has for x86-64")
    return path


def _install():
    wanted = (_ASKED / "package-lock.json").read_bytes()
    done = _FOLDER / "installed"
    if done.exists() and done.read_bytes() == wanted:
        return
    done.unlink(missing_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(_ASKED / name, _FOLDER)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    installed = subprocess.run(command, cwd=_FOLDER, capture_output=True, text=True, check=False)
    need(installed.returncode == 0, f"needs a registry that npm reaches: {installed.stderr}")
    done.write_bytes(wanted)


if __name__ == "__main__":
    # Without them the tests that want them are skipped; in CI this fails, as they would.
    with suppress(pytest.skip.Exception):
        packages()
