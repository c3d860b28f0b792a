"""lessee as an operator installs it: into /opt/lessee, for the Python of the system."""

from e2e.engine import PYTHON


def install_lessee(machine, wheels):
    """On a machine of ours, which sees no more of the network than this one."""
    for wheel in wheels.glob("*.whl"):
        machine.put(f"/srv/wheels/{wheel.name}", wheel)
    machine.run(PYTHON, "-m", "venv", "--without-pip", "/opt/lessee")
    pip = (PYTHON, "-m", "pip", "--python=/opt/lessee/bin/python", "install", "--quiet")
    machine.run(*pip, "--no-index", "--find-links=/srv/wheels", "lessee")
