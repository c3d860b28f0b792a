"""Runs `lessee mcp wrap` on a client's file of a test, and starts its servers with the official SDK."""

import json
import os
import signal
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from mcp.client.stdio import stdio_client

from lessee.host.openbao import ROOT_TOKEN
from mcp import ClientSession, StdioServerParameters
from support.programs.forks import run_lessee

# A step renames a file, connects, or starts a program. At one of them, kill the command or change the client's file.
_AT_STEP = """
import os, signal, sys
from pathlib import Path
STEPS = "os.rename", "socket.connect", "subprocess.Popen"
step, action, file = {step}, {action!r}, Path({file!r})
def audit(event, _):
    global step
    if event not in STEPS:
        return
    step -= 1
    if step == 0 and action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == event:
        file.write_bytes(file.read_bytes() + b"\\n")
from lessee.cli import main
sys.addaudithook(audit)
sys.exit(main())
"""


class McpHome:
    """A home directory with a client's file and a Vault token."""

    def __init__(self, address, home, memory, prefix):
        self.home, self.memory, self.prefix = home, memory, prefix
        self.file = home / "mcp.json"
        self.config = home / ".config/lessee/mcp/lessee.yaml"
        self.backups = home / ".local/state/lessee/mcp-backups"
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "VAULT_ADDR": address,
            "XDG_RUNTIME_DIR": str(memory),
        }
        self.output = ""
        home.mkdir(exist_ok=True)
        (home / ".vault-token").write_text(ROOT_TOKEN)

    def write(self, servers, key="mcpServers"):
        self.file.write_text(json.dumps({key: servers}, indent=2))
        return self.file.read_bytes()

    def servers(self):
        return json.loads(self.file.read_text())["mcpServers"]

    def __call__(self, *options, code=0, env=None):
        """Wrap the file; returns the completed process."""
        return self._run("", options, code, env)

    def run_with_fault(self, step, action, code, *options):
        """Wrap the file; kill the command before a step, or change the file before an event."""
        return self._run(_AT_STEP.format(step=step, action=action, file=str(self.file)), options, code, None)

    def kill_at(self, step):
        """Whether the command reached the step, and was killed before it."""
        result = self.run_with_fault(step, "kill", None)
        assert result.returncode in {0, -signal.SIGKILL}, result.stderr
        return result.returncode != 0

    def _run(self, program, options, code, env):
        options = options or ("--yes",)
        words = ["mcp", "wrap", str(self.file), "--path", self.prefix, *options]
        result = run_lessee(*words, cwd=self.home, env=self.environ | (env or {}), program=program)
        self.output += result.stdout + result.stderr
        assert code in {None, result.returncode}, result.stdout + result.stderr
        return result

    def start(self, name, use):
        """Start a server as a client does, and pass the session to `use`."""

        async def run():
            async with self._session(name) as session:
                return await use(session)

        return anyio.run(run)

    @asynccontextmanager
    async def _session(self, name):
        server = self.servers()[name]
        parameters = StdioServerParameters(**{key: server[key] for key in ("command", "args", "env") if key in server})
        with (self.home / "server.log").open("a") as log:
            async with stdio_client(parameters, errlog=log) as streams, ClientSession(*streams) as session:
                await session.initialize()
                yield session


def command_lines_of_processes():
    """The command lines of all processes, which every user can read."""
    command_lines = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command_lines[int(folder.name)] = (folder / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
    return command_lines
