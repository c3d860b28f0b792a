"""A Compose project that `lessee adopt` adopts without an Engine: up to the edits of its files."""

import os
import shutil
import subprocess
import sys

from support.needs import need

_DOCKERFILE = 'FROM python:3.12\nWORKDIR /app\nCMD ["python3", "app.py"]\n'
# What each program gets is written down; then the real one runs.
_RECORDING = """#!/bin/sh
env >> {log}
exec {docker} "$@"
"""


class AdoptedProject:
    """The folder of a project whose services are built from a Dockerfile. `environ`: of the person who adopts it."""

    def __init__(self, folder, compose, **environ):
        version = ["docker", "compose", "version"]
        found = shutil.which("docker") and subprocess.run(version, capture_output=True, check=False).returncode == 0
        need(found, "docker with Compose (Debian: docker-cli docker-compose)")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.write("compose.yaml", compose)
        self.write("Dockerfile", _DOCKERFILE)
        self.log = folder.parent / f"{folder.name}.environ"
        programs = folder.parent / f"{folder.name}.bin"
        programs.mkdir()
        (programs / "docker").write_text(_RECORDING.format(log=self.log, docker=shutil.which("docker")))
        (programs / "docker").chmod(0o755)
        self.environ = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(folder.parent),
            "DOCKER_HOST": "unix:///nonexistent",
        } | environ

    def write(self, name, text):
        (self.folder / name).write_text(text)

    def adopt(self, *options, code=0, under=(), **environ):
        """Run `lessee adopt`, which starts no container."""
        command = [*under, sys.executable, "-m", "lessee", "adopt", *options]
        done = subprocess.run(
            [*command, *([] if "--plan" in options else ["--no-up", "--yes"])],
            cwd=self.folder,
            env=self.environ | environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert code is None or done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def environ_of_docker(self):
        """The environments of all that was called `docker`."""
        return self.log.read_text()
