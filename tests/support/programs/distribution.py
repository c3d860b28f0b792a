"""What `make dist` makes, for one Python and one kind of machine, and machines on which to install it."""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

from e2e.engine import PYTHON, WITH_PYTHON, debian
from support.needs import need
from support.paths import ROOT

PACKAGING = ROOT / ".venv/packaging/bin/python"
MACHINE = os.uname().machine


def system_python():
    """The version of the system's Python, such as 3.13."""
    program = "import sys; print(*sys.version_info[:2], sep='.')"
    return subprocess.run([PYTHON, "-c", program], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def make_dist(folder):
    """Run what `make dist` runs, without extras and for the system's Python alone; or copy $DIST, which it made."""
    if made := os.environ.get("DIST"):
        return shutil.copytree(made, folder)
    need(PACKAGING.exists(), "needs the programs of `make dist`: make .venv/packaging")
    selected = (f"--machine={MACHINE}", f"--python={system_python()}", "--extras=", "--uncommitted", "--without-image")
    command = [PACKAGING, ROOT / ".ci/packaging/dist.py", f"--output={folder}", *selected]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return folder


class CleanRoot:
    """A root directory with Python, a shell and coreutils of this machine, and nothing else."""

    def __init__(self, folder):
        self.path = Path(folder)
        self.path.mkdir()
        with debian(*WITH_PYTHON) as archive:
            subprocess.run(["tar", "--extract", f"--file={archive}", f"--directory={folder}"], check=True)
        for name in ("proc", "dev", "tmp", "run", "root"):
            (self.path / name).mkdir(exist_ok=True)

    def run(self, *command, check=True, **environ):
        """Run a command in this root, with its own mounts of /proc, /dev and tmpfs; return its output with stderr."""
        mounts = (
            'mount -t proc proc $0/proc; mount --rbind /dev $0/dev; mount -t tmpfs tmpfs $0/run; exec chroot "$0" "$@"'
        )
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-euc", mounts, self.path, *command],
            env={"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"} | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def add_program(self, program):
        """Copy a program that needs no other file, such as `bao`, to /usr/local/bin."""
        target = self.path / "usr/local/bin"
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(program, target)


def older(dist, folder):
    """Packages of version 0.0.1: the modules of a build and one more."""
    made = folder.parent / "made"
    with zipfile.ZipFile(dist / "lessee.pyz") as archive:
        archive.extractall(made, [name for name in archive.namelist() if name.startswith("lib/")])
    (made / "lib/any/lessee/vanishes.py").touch()
    folder.mkdir()
    (folder.parent / "share").mkdir()
    subprocess.run(
        [PACKAGING, "-c", _OLDER, made, folder, MACHINE, folder.parent / "share"],
        cwd=ROOT / ".ci/packaging",
        check=True,
    )
    return folder


_OLDER = """
import sys
from pathlib import Path
from system_packages import make
folder, output, machine, share = sys.argv[1:]
make(Path(folder), Path(output), "0.0.1", machine, Path(share), 1_700_000_000)
"""
