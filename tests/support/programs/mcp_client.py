"""A real MCP client from the official SDK, whose server runs under `lessee exec`."""

import functools
import json
import sys
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
from mcp.client.stdio import stdio_client

from mcp import Client, StdioServerParameters
from support.programs.sidecar import PATIENCE

SERVER = (sys.executable, str(Path(__file__).parent / "mcp_stdio_server.py"))
POLICY = """
path "secret/data/testing/*" { capabilities = ["read"] }
path "secret/metadata/testing/*" { capabilities = ["read", "list"] }
path "database/creds/*" { capabilities = ["read"] }
path "sys/leases/*" { capabilities = ["update"] }
"""


class Mcp:
    """`lessee exec` as in a client's configuration: without secrets, and with a filtered environment."""

    def __init__(self, sidecar, bao, **environ):
        self.sidecar = sidecar
        self.server = SERVER
        sidecar.log_in_by_approle(bao, POLICY)
        sidecar.config["environment"] = "testing"
        sidecar.web["env_template"] = "environ.env.j2"
        sidecar.web["notify"] = {"child": True, "action": "restart", "stop_grace_period": "5s"}
        del sidecar.web["files"]
        self.template(**environ)

    def template(self, **environ):
        """Write the template of the server's environment: names and expressions."""
        lines = "".join(f"{name}={{{{ {text} }}}}\n" for name, text in environ.items())
        (self.sidecar.disk / "environ.env.j2").write_text(lines)

    def parameters(self, *server, respawn=True, env=None):
        """The server's entry in the client's configuration."""
        self.sidecar.write_config()
        config = str(self.sidecar.disk / "lessee.yaml")
        options = ["--respawn", "mcp-stdio"] if respawn else []
        words = ["-m", "lessee", "exec", "--config", config, "--app", "web", "--log-format", "json", *options, "--"]
        return StdioServerParameters(command=sys.executable, args=[*words, *(server or self.server)], env=env)

    @asynccontextmanager
    async def client(self, *server, mode="legacy", respawn=True, **settings):
        parameters = self.parameters(*server, respawn=respawn)
        with self.sidecar.log.open("a") as log, anyio.fail_after(PATIENCE):
            transport = stdio_client(parameters, errlog=log)
            async with Client(transport, mode=mode, read_timeout_seconds=PATIENCE, **settings) as client:
                yield client

    def events(self, name):
        found = []
        for line in self.sidecar.log.read_text().splitlines():
            with suppress(json.JSONDecodeError):
                event = json.loads(line)
                if isinstance(event, dict) and event.get("event") == name:
                    found.append(event)
        return found

    async def until(self, check, what="the condition"):
        deadline = time.monotonic() + PATIENCE
        while not (result := check()):
            assert time.monotonic() < deadline, f"{what} was not met\n{self.sidecar.log.read_text()}"
            await anyio.sleep(0.01)
        return result

    async def until_started(self, times):
        """Wait until this many servers have been started, and the session continues with the last one."""
        for event, count in (("session resumed", times - 1), ("child started", times)):
            await self.until(lambda event=event, count=count: len(self.events(event)) >= count, f"server {times}")
            assert len(self.events(event)) == count


def session(test):
    """Run a test that is a coroutine."""

    @functools.wraps(test)
    def run(*words, **names):
        anyio.run(functools.partial(test, *words, **names))

    return run


def text(result):
    """The text of a tool's result."""
    [content] = result.content
    assert not result.is_error, content.text
    return content.text
