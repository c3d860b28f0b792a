"""A real Docker Engine, and images for it where no registry is reached."""

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.needs import need

PYTHON = "/usr/bin/python3"
BASE = "lessee-e2e-base"
_PATIENCE = 30
SHELL = ("base-files", "coreutils", "dash")
WITH_PYTHON = (*SHELL, "python3", "python3-pip", "python3-venv")
# The links of a merged /usr, and the CAs, without which pip does not even start.
_IN_NO_PACKAGE = ("/bin", "/sbin", "/lib", "/lib64", "/etc/ssl/certs/ca-certificates.crt")

# Ports are published on its own loopback, which is down at first. It would take the containerd of another for its own.
_APART = """
ip link set lo up
if [ -e /run/containerd ]; then mount -t tmpfs tmpfs /run/containerd; fi
exec "$0" "$@"
"""


class Engine:
    """The Engine that answers, else one of our own; with `own` one of our own in any case.

    Ours has its own data, socket and network namespace: it takes no bridge, address or iptables rule from another,
    leaves none behind, and reaches no network, so what it builds it builds offline.
    """

    def __init__(self, *, own=False):
        self.environ = dict(os.environ)
        self._made = set()
        self._folder = self._process = None
        if not own and _quiet("docker", "version", environ=self.environ):
            return
        # On a disk: overlay2 does not lie on tmpfs everywhere. The path is short: a socket's may have 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="lessee-engine-", dir="/var/tmp"))
        self.environ["DOCKER_HOST"] = f"unix://{self._folder}/docker.sock"
        self._start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process is None:
            self.remove(*self._made)
        else:
            self._process.terminate()
            self._process.wait(_PATIENCE)
            shutil.rmtree(self._folder)

    @property
    def is_ours(self):
        """Whether no other test uses it."""
        return self._process is not None

    def docker(self, *arguments, text=None, fine=True, **environ):
        """What `docker …` printed, stderr too; with `fine` it must have ended well. `environ` is added to its own."""
        done = subprocess.run(
            ["docker", *arguments],
            env=self.environ | environ,
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert not fine or done.returncode == 0, f"docker {' '.join(arguments)}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def make_base(self, tag, *packages):
        """Import a Debian of these packages (else Python) as `tag`, of this machine's files: no registry is asked.

        Once: the image exists until the Engine stops.
        """
        if tag in self._made:
            return
        with debian(*(packages or WITH_PYTHON)) as archive:
            self.docker("import", archive, tag)
        self._made.add(tag)

    def remove(self, *tags):
        """Remove such images; a test that needs one again builds it again."""
        self.docker("image", "rm", "--force", *tags, fine=False)
        self._made.difference_update(tags)

    def _start(self):
        log = (self._folder / "log").open("wb")
        arguments = [
            *("unshare", "--net", "--mount", "sh", "-euc", _APART),
            *("dockerd", f"--host={self.environ['DOCKER_HOST']}"),
            *(f"--data-root={self._folder}/data", f"--exec-root={self._folder}/run", f"--pidfile={self._folder}/pid"),
        ]
        with log:
            self._process = subprocess.Popen(arguments, stdout=log, stderr=log)
        deadline = time.monotonic() + _PATIENCE
        while not _quiet("docker", "version", environ=self.environ):
            if time.monotonic() > deadline or self._process.poll() is not None:
                last = "\n".join((self._folder / "log").read_text(errors="replace").splitlines()[-5:])
                self.__exit__()
                raise RuntimeError(f"dockerd did not start: {last}")
            time.sleep(0.05)


def shared(config):
    """The Engine of this run: it starts when a test first wants it. Skips where none can be had."""
    if _SHARED not in config.stash:
        missing = what_is_missing()
        need(missing is None, f"needs {missing}")
        config.stash[_SHARED] = engine = Engine()
        config.add_cleanup(engine.__exit__)
    return config.stash[_SHARED]


_SHARED = pytest.StashKey()


@contextmanager
def debian(*packages):
    """An archive of these packages and all that they need, as they lie on this machine."""
    listed = _read("dpkg", "-L", *_with_dependencies(*packages)).splitlines()
    files = {*listed, *_compiled(listed), *_IN_NO_PACKAGE} - {"/."}
    with tempfile.NamedTemporaryFile(suffix=".tar") as tar:
        subprocess.run(
            ["tar", "--create", "--absolute-names", "--no-recursion", "--null", "--files-from=-"],
            input="\0".join(sorted(filter(os.path.lexists, files))).encode(),
            stdout=tar,
            check=True,
        )
        yield tar.name


def _compiled(listed):
    """What Debian makes of them as it installs them, lest each start of a Python compile what it imports."""
    folders = {Path(file).parent / "__pycache__" for file in listed if file.endswith(".py")}
    return {str(path) for folder in folders if folder.is_dir() for path in (folder, *folder.iterdir())}


def what_is_missing(*, own=False):
    """What a test on an Engine, with `own` on one of our own, needs and this machine lacks; None where nothing is."""
    if not _quiet("docker", "compose", "version"):
        return "docker with Compose and Buildx (Debian: docker-cli docker-compose docker-buildx)"
    if (own or not _quiet("docker", "version")) and (os.geteuid() != 0 or not shutil.which("dockerd")):
        another = "" if own else "a Docker Engine that answers, or "
        return f"{another}root and dockerd (Debian: docker.io iptables)"
    if "BASE_IMAGE" not in os.environ and not _quiet(PYTHON, "-m", "pip", "--version"):
        return "an image with Python in BASE_IMAGE, or Debian with python3-pip and python3-venv to make one of"
    return None


def _with_dependencies(*packages):
    """Those packages and all that they need, as installed here."""
    leave_out = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
    tree = _read("apt-cache", "depends", "--recurse", "--installed", *leave_out, *packages)
    return [line for line in tree.splitlines() if line[0].isalnum()]


def _read(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def _quiet(*command, environ=None):
    """Whether it can be run, and ends well."""
    try:
        return subprocess.run(command, env=environ, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
