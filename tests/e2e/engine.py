"""Starts a real Docker Engine, and makes images for it without a registry."""

import fcntl
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlencode

from lessee.status.client import UnixConnection
from support.shared import locked

PYTHON = "/usr/bin/python3"
BASE = "lessee-e2e-base"
PATIENCE = 150
"""Seconds: a bound only for what never happens."""
SHELL = ("base-files", "coreutils", "dash")
WITH_PYTHON = (*SHELL, "python3", "python3-pip", "python3-venv")
# No package owns the links of a merged /usr, nor the CA certificates without which pip does not start.
_IN_NO_PACKAGE = ("/bin", "/sbin", "/lib", "/lib64", "/etc/ssl/certs/ca-certificates.crt")

# The Engine publishes ports on its own loopback, which is down at first. Without its own /run/containerd, it would use
# the containerd of another Engine. Its data are in memory, where no write waits for a disk, and where they vanish with
# the Engine. They are on disk if there is little memory, or if this kernel has no overlays on tmpfs.
_ISOLATED = """
cd "$0"
ip link set lo up
if [ -e /run/containerd ]; then mount -t tmpfs tmpfs /run/containerd; fi
if [ "$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo)" -gt 8000000 ]; then
    mount -t tmpfs tmpfs data
    mkdir data/upper data/work data/merged
    if mount -t overlay -o lowerdir=/usr,upperdir=data/upper,workdir=data/work overlay data/merged
    then umount data/merged; rm -r data/upper data/work data/merged
    else umount data
    fi
fi
exec "$@"
"""
# The Engine outlives the worker that starts it, and a Ctrl-C. The last worker stops it; if all workers were killed, the
# second process does it. Prints the Engine's pid.
_DETACHED = """
folder=$1 users=$2; shift 2
exec 3>&1 </dev/null >"$folder/log" 2>&1
setsid "$@" 3>&- &
echo $! >&3
setsid sh -c '
    flock "$1" true
    kill "$2" || exit
    while kill -0 "$2"; do sleep 0.1; done
    rm -rf "$3"
' sh "$users" $! "$folder" 3>&- &
"""


class Engine:
    """A Docker Engine, which all workers of a test run share; `shared_engine` finds or starts one.

    An Engine of the tests has its own data, socket and network namespace. It shares no bridge, address or iptables
    rule with another Engine, leaves none behind, and has no network, so it builds images offline.
    """

    def __init__(self, folder, address, pid=None):
        """`folder` is the test run's. `pid` is the Engine's, if the tests have started it."""
        self.socket = address
        self.environ = os.environ | {"DOCKER_HOST": f"unix://{address}"}
        self._folder, self._pid = folder, pid

    @property
    def is_ours(self):
        """Whether the tests have started the Engine, so that no other program uses it."""
        return self._pid is not None

    @property
    def network(self):
        """A command that starts a program in the network of the Engine's host, where its bridges are."""
        return ["nsenter", f"--target={self._pid}", "--net", "--"] if self.is_ours else []

    def docker(self, *arguments, text=None, check=True, **environ):
        """Run `docker …` with `environ` added to its environment, and return its output with stderr.

        With `check` the command must exit with 0. The CLI costs 20 ms of CPU time, and with Compose 100 ms.
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

    def remove(self, *containers):
        """Kill and remove containers.

        On a busy machine the Engine may not learn within 10 s that a container has ended.
        """
        deadline = time.monotonic() + PATIENCE
        while "did not receive an exit event" in (output := self.docker("rm", "--force", *containers, check=False)):
            assert time.monotonic() < deadline, output
        assert "Error" not in output.replace("Error response from daemon: No such container", ""), output

    # What tests do often uses the Engine's HTTP API, whose requests cost a tenth of a start of the CLI.

    def inspect(self, container):
        return self._get(f"/containers/{container}/json")

    def exec(self, container, *command, text=None, check=True, user=""):
        """Run a command in a container, as `docker exec` does, and return its output with stderr.

        `user`: by default the container's.
        """
        settings = {
            "User": user,
            "Cmd": command,
            "AttachStdin": text is not None,
            "AttachStdout": True,
            "AttachStderr": True,
        }
        try:
            which = self._post(f"/containers/{container}/exec", settings)["Id"]
            output = self._start_exec(which, text)
            code = self._get(f"/exec/{which}/json")["ExitCode"]
        except EngineError as exc:
            code, output = None, f"{exc}\n"
        assert not check or code == 0, f"{container}: {' '.join(command)}: {code}\n{output}"
        return output

    def logs(self, container):
        return b"".join(self._log(container)).decode()

    def follow_logs(self, container):
        """The lines of the log, also later ones, until the container stops."""
        rest = b""
        for output in self._log(container, follow=1):
            *lines, rest = (rest + output).split(b"\n")
            yield from (line.decode() for line in lines)

    def path(self, path):
        """The path of a file that the Engine names, as the tests see it."""
        return Path(f"/proc/{self._pid}/root{path}") if self.is_ours else Path(path)

    def make(self, tags, build):
        """Make images with these tags by calling `build`, unless another worker has made them."""
        made = self._folder / f"{tags[0]}.image"
        with locked(self._folder / f"{tags[0]}.lock"):
            if not made.exists():
                build()
                made.write_text("\n".join(tags))

    def make_base(self, tag, *packages):
        """Import this machine's files of these Debian packages, by default of Python, as the image `tag`.

        It needs no registry.
        """

        def build():
            with debian(*(packages or WITH_PYTHON)) as archive:
                self.docker("import", archive, tag)

        self.make([tag], build)

    def close(self):
        """Stop the Engine if the tests have started it; else remove their images."""
        markers = list(self._folder.glob("*.image"))
        if self.is_ours:
            _stop(self._pid)
            shutil.rmtree(Path(self.socket).parent)
        elif markers:
            tags = {tag for marker in markers for tag in marker.read_text().split()}
            self.docker("image", "rm", "--force", *sorted(tags), check=False)
        for marker in markers:
            marker.unlink()

    def _get(self, path):
        return self._request("GET", path, lambda response: json.loads(response.read()))

    def _post(self, path, body):
        return self._request("POST", path, lambda response: json.loads(response.read()), body)

    def _request(self, method, path, read, body=None):
        with closing(UnixConnection(Path(self.socket), PATIENCE)) as connection:
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            return read(_checked(connection.getresponse()))

    def _log(self, container, **options):
        query = urlencode({"stdout": 1, "stderr": 1} | options)
        with closing(UnixConnection(Path(self.socket), PATIENCE)) as connection:
            connection.request("GET", f"/containers/{container}/logs?{query}")
            with _checked(connection.getresponse()) as response:
                yield from _outputs(response)

    def _start_exec(self, which, text):
        with closing(UnixConnection(Path(self.socket), PATIENCE)) as connection:
            body = json.dumps({"Detach": False, "Tty": False})
            connection.request("POST", f"/exec/{which}/start", body, {"Content-Type": "application/json"})
            with connection.sock.dup() as stdin, _checked(connection.getresponse()) as response:
                if text is not None:
                    stdin.sendall(text.encode())
                    stdin.shutdown(socket.SHUT_WR)
                return b"".join(_outputs(response)).decode()


class EngineError(Exception):
    """The Engine's answer to a request that failed."""


def _checked(response):
    if response.status >= 300:
        with response:
            raise EngineError(json.loads(response.read())["message"])
    return response


def _outputs(response):
    """The parts of a stream of stdout and stderr."""
    while head := response.read(8):
        _, size = struct.unpack(">BxxxL", head)
        yield response.read(size)


@contextmanager
def shared_engine(folder, *, own=False):
    """The Engine of all workers of a test run, in whose `folder` they find it.

    It is the running one. Without one, or with `own`, the first worker starts one, and the last stops it.
    """
    with (folder / "engine.users").open("w") as users:
        with locked(folder / "engine.lock"):
            fcntl.flock(users, fcntl.LOCK_SH)
            found = folder / "engine.json"
            if not found.exists():
                running = None if own else _running_engine()
                found.write_text(json.dumps({"address": running} if running else _start(users.name)))
            engine = Engine(folder, **json.loads(found.read_text()))
        try:
            yield engine
        finally:
            # The lock of a killed worker is gone with it.
            with locked(folder / "engine.lock"), suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found.unlink()
                engine.close()


def _running_engine():
    """The address of the machine's Engine; None if none runs."""
    if not _quiet("docker", "version"):
        return None
    return _read("docker", "context", "inspect", "--format={{.Endpoints.docker.Host}}").strip().removeprefix("unix://")


def _start(users):
    """Start an Engine, which runs as long as the file `users` is locked, and return its address and pid."""
    # A short path, because a socket's has at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="lessee-engine-", dir="/var/tmp"))
    (folder / "data").mkdir()
    address, log = folder / "docker.sock", folder / "log"
    arguments = [
        *("unshare", "--net", "--mount", "sh", "-euc", _ISOLATED, folder),
        *("dockerd", f"--host=unix://{address}", f"--pidfile={folder}/pid"),
        *(f"--data-root={folder}/data", f"--exec-root={folder}/run"),
    ]
    pid = int(_read("sh", "-euc", _DETACHED, "sh", folder, users, *arguments))
    deadline = time.monotonic() + PATIENCE
    while not answers_at(address):
        if time.monotonic() > deadline or not Path(f"/proc/{pid}").exists():
            last = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
            with suppress(ProcessLookupError):
                _stop(pid)
            shutil.rmtree(folder)
            raise RuntimeError(f"dockerd did not start: {last}")
        time.sleep(0.02)
    return {"address": str(address), "pid": pid}


def answers_at(address):
    """Whether an Engine answers at this socket."""
    with closing(UnixConnection(address, PATIENCE)) as connection, suppress(OSError):
        connection.request("GET", "/_ping")
        return connection.getresponse().read() == b"OK"


def _stop(pid):
    """Stop an Engine, which need not be a child of this process."""
    process = os.pidfd_open(pid)
    try:
        os.kill(pid, signal.SIGTERM)
        if not select.select([process], [], [], PATIENCE)[0]:
            raise TimeoutError("dockerd did not stop")
    finally:
        os.close(process)


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
