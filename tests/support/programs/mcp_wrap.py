"""`lessee mcp wrap` over a file of a test's own, and the protocol's own client that starts what the file says."""

import json
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from mcp.client.stdio import stdio_client

from lessee.host.openbao import ROOT_TOKEN
from mcp import ClientSession, StdioServerParameters

# What changes something, or asks another program, is a step; at one of them it is killed, or something else is done.
_AT_STEP = """
import os, signal, sys
from pathlib import Path
STEPS = {"os.rename", "socket.connect", "subprocess.Popen"}
step, what, file = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
sys.argv[0:4] = ["lessee"]
def audit(event, _):
    global step
    if event not in STEPS:
        return
    step -= 1
    if step == 0 and what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == event:
        file.write_bytes(file.read_bytes() + b"\\n")
from lessee.cli import main
sys.addaudithook(audit)
sys.exit(main())
"""


class Wrapping:
    """A home with a client's file, and who has logged in to a server there."""

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
        """Wrap it; what is told to whom."""
        return self._run([sys.executable, "-m", "lessee"], options, code, env)

    def at_step(self, step, what, code, *options):
        """Killed before a step, or with the file changed before an event."""
        return self._run([sys.executable, "-c", _AT_STEP, str(step), what, str(self.file)], options, code, None)

    def killed(self, step):
        """Whether it was, before this step."""
        done = self.at_step(step, "kill", None)
        assert done.returncode in {0, -signal.SIGKILL}, done.stderr
        return done.returncode != 0

    def _run(self, program, options, code, env):
        options = options or ("--yes",)
        done = subprocess.run(
            [*program, "mcp", "wrap", str(self.file), "--path", self.prefix, *options],
            cwd=self.home,
            env=self.environ | (env or {}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.output += done.stdout + done.stderr
        assert code in {None, done.returncode}, done.stdout + done.stderr
        return done

    def start(self, name, act):
        """As a client starts it: `act` gets the session."""

        async def whole():
            async with self._session(name) as session:
                return await act(session)

        return anyio.run(whole)

    @asynccontextmanager
    async def _session(self, name):
        server = self.servers()[name]
        parameters = StdioServerParameters(**{key: server[key] for key in ("command", "args", "env") if key in server})
        with (self.home / "server.log").open("a") as log:
            async with stdio_client(parameters, errlog=log) as streams, ClientSession(*streams) as session:
                await session.initialize()
                yield session


def processes():
    """What everybody can read of all that run: their words."""
    told = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                told[int(folder.name)] = (folder / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
    return told
