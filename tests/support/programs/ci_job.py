"""A job of CI in a workspace of its own, with a Vault that lets it in by the JWT of a real issuer."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from e2e.engine import PYTHON
from lessee.host.openbao import ROOT_TOKEN, find_bao
from support.models.template_library import TEMPLATES
from support.programs.sidecar import PATIENCE

CI = TEMPLATES / "ci"
# Of this run alone: another one on this machine has its own jobs in /dev/shm.
_OURS = f"canary{os.getpid()}"
TOKEN = f"{_OURS}-token/with+signs=&%"
_LINES = (f"{_OURS}QIBADANBg", f"kqhk{_OURS}BAQEF")
KEY = f"-----BEGIN KEY-----\n{_LINES[0]}\n{_LINES[1]}\n{{\n}}\n-----END KEY-----\n"
VALUES = (TOKEN, *_LINES)


class World:
    """A server with the two secrets, and the role of the README; `kind` is github or gitlab."""

    def __init__(self, kind, server, issuer, folder):
        self.kind, self.server, self.issuer = kind, server, issuer
        server.put("ci/build/registry", url="https://registry.example.com", token=TOKEN)
        server.put("ci/build/deploy", key=KEY)
        scripts = re.findall(r"^```sh\n(.*?)^```$", (CI / "README.md").read_text(), re.MULTILINE | re.DOTALL)
        [script] = [script for script in scripts if f"-path=jwt-{kind}" in script]
        # The test's CA is in no system's list, as GitHub's is.
        script = re.sub(r'(bound_issuer="\$ISSUER")', rf"\1 oidc_discovery_ca_pem=@{issuer.ca}", script)
        tools = folder / "tools"
        tools.mkdir()
        (tools / "bao").symlink_to(find_bao())
        environ = {
            "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "BAO_ADDR": server.address,
            "BAO_TOKEN": ROOT_TOKEN,
            "VAULT_ADDR": server.address,
            "ISSUER": issuer.url,
        }
        command = ["bash", "-eo", "pipefail", "-c", script]
        done = subprocess.run(
            command, cwd=CI / kind, env=environ, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr

    def tokens(self):
        """The accessors of all that this role has let in and that are valid."""
        keys = self.server.ask("LIST", "auth/token/accessors")["data"]["keys"]
        found = []
        for key in keys:
            try:
                about = self.server.ask("POST", "auth/token/lookup-accessor", {"accessor": key})["data"]
            except RuntimeError:
                continue  # It has ended meanwhile.
            if about["path"] == f"auth/jwt-{self.kind}/login":
                found.append(key)
        return found


def environ_of_jobs():
    """What a machine of CI has, with lessee on PATH."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": "/nonexistent", "LANG": "C.UTF-8"}


def without_lessee(folder):
    """The same on a machine that has Python alone; what pip needs to reach an index it has too."""
    folder.mkdir()
    (folder / "python3").symlink_to(PYTHON)
    path = [str(folder), *(one for one in os.environ["PATH"].split(":") if not (Path(one) / "lessee").exists())]
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name.endswith("_proxy")}
    return {**environ_of_jobs(), **pip, "PATH": ":".join(path), "HOME": os.environ["HOME"]}


def copy(kind, workspace):
    """The files of the templates' folder, as they would lie in a repository."""
    workspace.mkdir()
    for name in ("lessee.yaml", "build.env.j2", "registry.json.j2"):
        shutil.copy(CI / kind / name, workspace)


def kill(process):
    """All of its session at once, as a machine's kernel would."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)


def as_json(file, **said):
    file.write_text(json.dumps(said))
    return file
