"""Installs lessee as an operator does: into /opt/lessee, for the system's Python."""

from e2e.engine import PYTHON


def install_lessee(machine, wheels):
    """Install lessee on a machine from wheels, without a network."""
    for wheel in wheels.glob("*.whl"):
        machine.put(f"/srv/wheels/{wheel.name}", wheel)
    machine.run(PYTHON, "-m", "venv", "--without-pip", "/opt/lessee")
    pip = (PYTHON, "-m", "pip", "--python=/opt/lessee/bin/python", "install", "--quiet")
    machine.run(*pip, "--no-index", "--find-links=/srv/wheels", "lessee")
