"""Starts a real Docker Engine, and makes images for it without a registry."""

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
_TIMEOUT = 30
SHELL = ("base-files", "coreutils", "dash")
WITH_PYTHON = (*SHELL, "python3", "python3-pip", "python3-venv")
# No package owns the links of a merged /usr, nor the CA certificates without which pip does not start.
_IN_NO_PACKAGE = ("/bin", "/sbin", "/lib", "/lib64", "/etc/ssl/certs/ca-certificates.crt")

# The Engine publishes ports on its own loopback, which is down at first. Without its own /run/containerd, it would use
# the containerd of another Engine.
_ISOLATED = """
ip link set lo up
if [ -e /run/containerd ]; then mount -t tmpfs tmpfs /run/containerd; fi
exec "$0" "$@"
"""


class Engine:
    """The running Engine; without one, or with `own`, the class starts an Engine.

    An Engine of the test has its own data, socket and network namespace. It shares no bridge, address or iptables
    rule with another Engine, leaves none behind, and has no network, so it builds images offline.
    """

    def __init__(self, *, own=False):
        self.environ = dict(os.environ)
        self._made = set()
        self._folder = self._process = None
        if not own and _quiet("docker", "version", environ=self.environ):
            return
        # On disk, because overlay2 does not work on every tmpfs. The path is short: a socket's has at most 107 bytes.
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
            self._process.wait(_TIMEOUT)
            shutil.rmtree(self._folder)

    @property
    def is_ours(self):
        """Whether this class started the Engine, so that no other program uses it."""
        return self._process is not None

    def docker(self, *arguments, text=None, check=True, **environ):
        """Run `docker …` with `environ` added to its environment, and return its output with stderr.

        With `check` the command must exit with 0.
        """
        done = subprocess.run(
            ["docker", *arguments],
            env=self.environ | environ,
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"docker {' '.join(arguments)}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def make_base(self, tag, *packages):
        """Import this machine's files of these Debian packages, by default of Python, as the image `tag`.

        It needs no registry. A second call does nothing, as the image exists until the Engine stops.
        """
        if tag in self._made:
            return
        with debian(*(packages or WITH_PYTHON)) as archive:
            self.docker("import", archive, tag)
        self._made.add(tag)

    def remove(self, *tags):
        """Remove these images; a test that needs one afterwards builds it again."""
        self.docker("image", "rm", "--force", *tags, check=False)
        self._made.difference_update(tags)

    def _start(self):
        log = (self._folder / "log").open("wb")
        arguments = [
            *("unshare", "--net", "--mount", "sh", "-euc", _ISOLATED),
            *("dockerd", f"--host={self.environ['DOCKER_HOST']}"),
            *(f"--data-root={self._folder}/data", f"--exec-root={self._folder}/run", f"--pidfile={self._folder}/pid"),
        ]
        with log:
            self._process = subprocess.Popen(arguments, stdout=log, stderr=log)
        deadline = time.monotonic() + _TIMEOUT
        while not _quiet("docker", "version", environ=self.environ):
            if time.monotonic() > deadline or self._process.poll() is not None:
                last = "\n".join((self._folder / "log").read_text(errors="replace").splitlines()[-5:])
                self.__exit__()
                raise RuntimeError(f"dockerd did not start: {last}")
            time.sleep(0.05)


def shared_engine(config):
    """The Engine of this test run, which starts with the first test that needs it. Skips where Docker is missing."""
    if _SHARED not in config.stash:
        missing = missing_requirement()
        need(missing is None, f"needs {missing}")
        config.stash[_SHARED] = engine = Engine()
        config.add_cleanup(engine.__exit__)
    return config.stash[_SHARED]


_SHARED = pytest.StashKey()


@contextmanager
def debian(*packages):
    """A tar archive of this machine's files of these packages and of their dependencies."""
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
    """The bytecode that Debian compiles at installation; without it, each start of Python compiles its imports."""
    folders = {Path(file).parent / "__pycache__" for file in listed if file.endswith(".py")}
    return {str(path) for folder in folders if folder.is_dir() for path in (folder, *folder.iterdir())}


def missing_requirement(*, own=False):
    """What this machine lacks for a test with an Engine, with `own` for one that the test starts; None if nothing."""
    if not _quiet("docker", "compose", "version"):
        return "docker with Compose and Buildx (Debian: docker-cli docker-compose docker-buildx)"
    if (own or not _quiet("docker", "version")) and (os.geteuid() != 0 or not shutil.which("dockerd")):
        alternative = "" if own else "a running Docker Engine, or "
        return f"{alternative}root and dockerd (Debian: docker.io iptables)"
    if "BASE_IMAGE" not in os.environ and not _quiet(PYTHON, "-m", "pip", "--version"):
        return "an image with Python in BASE_IMAGE, or Debian with python3-pip and python3-venv to make one"
    return None


def _with_dependencies(*packages):
    """These packages and their dependencies, as installed on this machine."""
    leave_out = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
    tree = _read("apt-cache", "depends", "--recurse", "--installed", *leave_out, *packages)
    return [line for line in tree.splitlines() if line[0].isalnum()]


def _read(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def _quiet(*command, environ=None):
    """Whether the command exists and exits with 0."""
    try:
        return subprocess.run(command, env=environ, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
