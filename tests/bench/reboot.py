"""Cuts the power of a machine with the stack compose/issue, and times it until the app has its file again."""

import json
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from figures import Figure
from rig import report

from e2e.compose import Images, Project, build_wheels
from e2e.engine import PATIENCE, Engine, EngineError, answers_at
from e2e.issue import secret_ids, services, texts_on_disk

REBOOTS, LONGEST = 10, 30.0
NAME = "lessee-e2e-issue"
# A machine of its own: when its first process is killed, the kernel ends all others, as a power failure does. Its /run
# is empty after that; what is on its disk stays.
_MACHINE = """
mount -t proc proc /proc
ip link set lo up
if [ -e /run/containerd ]; then mount -t tmpfs tmpfs /run/containerd; fi
exec docker-init -- "$@"
"""
_LASTING = ("holder", "agent", "app", "issuer", "openbao")


class Machine:
    """An Engine that can lose its power."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.socket = folder, folder / "docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        shutil.rmtree(self.folder / "run", ignore_errors=True)
        for name in ("pid", "docker.sock"):
            (self.folder / name).unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", _MACHINE, "sh"),
                    *("dockerd", f"--host=unix://{self.socket}", f"--pidfile={self.folder}/pid"),
                    *(f"--data-root={self.folder}/data", f"--exec-root={self.folder}/run"),
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + PATIENCE
        while not answers_at(self.socket):
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"dockerd did not start: {(self.folder / 'log').read_text()[-500:]}")
            time.sleep(0.02)

    def cut_the_power(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        time.sleep(0.5)  # The kernel ends the other processes.


def measure() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="lessee-reboot-", dir="/var/tmp") as name, _stack(Path(name)) as stack:
        machine, project = stack
        took, found = [], 0
        for _ in range(REBOOTS):
            starts = len(project.lines("app", "start:"))
            machine.cut_the_power()
            began = time.monotonic()
            machine.start()
            _wait(project, starts)
            took.append(time.monotonic() - began)
            report(f"reboot: {took[-1]:.1f} s")
            found += len(secret_ids(project, texts_on_disk(_disk(machine, project))))
        yield Figure(
            f"{REBOOTS} reboots of the Engine with `lessee issue` (power cut): until the app has its file, the longest",
            "",
            f"{max(took):.1f} s (median {median(took):.1f} s)",
            f"≤ {LONGEST:.0f} s",
            max(took) <= LONGEST,
            note="From the start of dockerd. OpenBao is in one of the containers, and unseals itself.",
        )
        yield Figure("… valid secret_ids on the disk after it", "", f"{found}", "0", found == 0)


@contextmanager
def _stack(folder: Path) -> Iterator[tuple[Machine, Project]]:
    wheels = build_wheels(folder / "built")
    (folder / "files").mkdir()
    folder.chmod(0o755)
    machine = Machine(folder)
    machine.start()
    try:
        engine = Engine(folder / "files", str(machine.socket))
        images = Images(engine, folder / "files", wheels)
        with images.up("issue", services(folder / "issuer", NAME, machine.socket)) as project:
            yield machine, project
    finally:
        machine.cut_the_power()


def _wait(project: Project, starts: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if _is_healthy(project) and len(project.lines("app", "start:")) > starts:
                return
        except (OSError, EngineError):  # The Engine does not know the container yet.
            pass
        time.sleep(0.1)
    raise TimeoutError(project.compose("ps", "--all") + project.compose("logs", "issuer", "agent"))


def _is_healthy(project: Project) -> bool:
    return all(
        project.inspect(service)["State"]["Running"]
        and project.inspect(service)["State"].get("Health", {}).get("Status", "healthy") == "healthy"
        for service in _LASTING
    )


def _disk(machine: Machine, project: Project) -> list[Path]:
    """What is on the disk of the machine, without the images: volumes, layers of containers, logs, configurations."""
    volumes = [path for path in (machine.folder / "data/volumes").glob("*/_data") if not path.is_mount()]
    layers = [
        Path(json.loads(project.docker("inspect", container))[0]["GraphDriver"]["Data"]["UpperDir"])
        for container in project.docker("ps", "--all", "--quiet").split()
    ]
    return [*volumes, *layers, machine.folder / "data/containers", machine.folder / "issuer"]
