"""A CI job in its own workspace, with a Vault that accepts the JWTs of a real issuer."""

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
# Unique for this run: other runs on this machine have their own jobs in /dev/shm.
_RUN = f"canary{os.getpid()}"
TOKEN = f"{_RUN}-token/with+signs=&%"
_LINES = (f"{_RUN}QIBADANBg", f"kqhk{_RUN}BAQEF")
KEY = f"-----BEGIN KEY-----\n{_LINES[0]}\n{_LINES[1]}\n{{\n}}\n-----END KEY-----\n"
VALUES = (TOKEN, *_LINES)


class CiWorld:
    """A server with the two secrets, and the role from the README; `kind` is github or gitlab."""

    def __init__(self, kind, server, issuer, folder):
        self.kind, self.server, self.issuer = kind, server, issuer
        server.put("ci/build/registry", url="https://registry.example.com", token=TOKEN)
        server.put("ci/build/deploy", key=KEY)
        scripts = re.findall(r"^```sh\n(.*?)^```$", (CI / "README.md").read_text(), re.MULTILINE | re.DOTALL)
        [script] = [script for script in scripts if f"-path=jwt-{kind}" in script]
        # Unlike GitHub's CA, the test's CA is not in the system's trust store.
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
        """The accessors of all valid tokens of this role."""
        return tokens_of(self.server, f"auth/jwt-{self.kind}/login")


def tokens_of(server, login):
    """The accessors of all valid tokens of logins at this path."""
    found = []
    for key in server.ask("LIST", "auth/token/accessors")["data"]["keys"]:
        try:
            about = server.ask("POST", "auth/token/lookup-accessor", {"accessor": key})["data"]
        except RuntimeError:
            continue  # It expired meanwhile.
        if about["path"] == login:
            found.append(key)
    return found


def environ_of_jobs():
    """The environment of a CI machine, with lessee on PATH."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": "/nonexistent", "LANG": "C.UTF-8"}


def without_lessee(folder):
    """The same for a machine without lessee, but with Python and pip's settings."""
    folder.mkdir()
    (folder / "python3").symlink_to(PYTHON)
    path = [str(folder), *(one for one in os.environ["PATH"].split(":") if not (Path(one) / "lessee").exists())]
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name.endswith("_proxy")}
    return {**environ_of_jobs(), **pip, "PATH": ":".join(path), "HOME": os.environ["HOME"]}


def copy(kind, workspace):
    """Copy the files of the templates to a workspace, as in a repository."""
    workspace.mkdir()
    for name in ("lessee.yaml", "build.env.j2", "registry.json.j2"):
        shutil.copy(CI / kind / name, workspace)


def kill(process):
    """Kill all processes of its session, as when the machine stops."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)


def as_json(file, **said):
    file.write_text(json.dumps(said))
    return file
