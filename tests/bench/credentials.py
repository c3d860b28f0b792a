"""Measures a unit of systemd with LoadCredential=: its first start before the agent is there, and its restarts."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from figures import Figure

from lessee.host.openbao import OpenBao

ROTATIONS = 20
_TARGET = 2.0


def measure() -> Iterator[Figure]:
    # Here: they add the folder of the tests to the path.
    from e2e.compose import build_wheels  # noqa: PLC0415
    from e2e.systemd_units import DB, DB_AGENT, Installed  # noqa: PLC0415
    from support.programs.system_install import install_lessee  # noqa: PLC0415
    from support.programs.systemd_machine import Machine  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as name, OpenBao(Path(name)) as server, Machine() as machine:
        build_wheels(Path(name) / "built")
        install_lessee(machine, Path(name) / "built/wheels")
        installed = Installed(machine, server)
        installed.install()
        path = machine.path("/etc/lessee/db/lessee.yaml")
        path.write_text(f"{path.read_text()}secrets: {{refresh_interval: 1s}}\n")

        def starts() -> list[float]:
            lines = installed.run("journalctl", "--no-pager", "--output=short-unix", "--unit", DB).splitlines()
            return [float(line.split()[0]) for line in lines if "start: password" in line]

        def rotate() -> float:
            """Seconds from a new password to the start of the unit with it."""
            number = len(starts())
            began = time.time()
            installed.rotate(f"password-{number}", "db")
            installed.wait_for(lambda: len(starts()) > number, "start of the unit")
            return starts()[-1] - began

        installed.run("systemctl", "start", "--no-block", DB)
        installed.wait_for(lambda: "secret not read" in installed.journal(DB_AGENT), "agent")
        first = rotate()
        installed.wait_for(lambda: "app notified" in installed.journal(DB_AGENT), "notification")
        restarts = [rotate() for _ in range(ROTATIONS)]
        extra = len(starts()) - 1 - ROTATIONS

    name = "a unit starts with `LoadCredential=` before its agent and its secret are there: it waits, and starts"
    yield Figure(name, "", f"yes, {first:.1f} s after the secret", "yes", met=True)
    name = f"… {ROTATIONS} changed secrets: from the write to Vault until the unit runs with it, median, longest"
    text = f"{median(restarts):.1f} s, {max(restarts):.1f} s"
    yield Figure(name, "", text, "≤ 2 s", max(restarts) <= _TARGET)
    yield Figure("… starts that no change needed", "", f"{extra}", "0", extra == 0)
