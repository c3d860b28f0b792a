"""A real MCP client, of the protocol's own SDK, whose server is behind `lessee exec`."""

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
    """`lessee exec` as a client's configuration names it: nothing secret in it, and an environment that is filtered."""

    def __init__(self, sidecar, bao, **environ):
        self.sidecar = sidecar
        self.server = SERVER
        sidecar.log_in_by_approle(bao, POLICY)
        sidecar.config["environment"] = "testing"
        sidecar.web["environ"] = "environ.env.j2"
        sidecar.web["notify"] = {"child": True, "action": "restart", "grace": "5s"}
        del sidecar.web["files"]
        self.template(**environ)

    def template(self, **environ):
        """The environment of the server: names, and expressions."""
        lines = "".join(f"{name}={{{{ {text} }}}}\n" for name, text in environ.items())
        (self.sidecar.disk / "environ.env.j2").write_text(lines)

    def parameters(self, *server, respawn=True, env=None):
        """What stands in the client's configuration."""
        self.sidecar.write_config()
        config = str(self.sidecar.disk / "lessee.yaml")
        options = ["--respawn", "mcp-stdio"] if respawn else []
        words = ["-m", "lessee", "exec", "--config", config, "--app", "web", "--log-format", "json", *options, "--"]
        return StdioServerParameters(command=sys.executable, args=[*words, *(server or self.server)], env=env)

    @asynccontextmanager
    async def client(self, *server, mode="legacy", respawn=True, **settings):
        parameters = self.parameters(*server, respawn=respawn)
        with self.sidecar.log.open("a") as log, anyio.fail_after(100):
            transport = stdio_client(parameters, errlog=log)
            async with Client(transport, mode=mode, read_timeout_seconds=60, **settings) as client:
                yield client

    def events(self, name):
        found = []
        for line in self.sidecar.log.read_text().splitlines():
            with suppress(json.JSONDecodeError):
                event = json.loads(line)
                if isinstance(event, dict) and event.get("event") == name:
                    found.append(event)
        return found

    async def until(self, check, what="it"):
        deadline = time.monotonic() + 4 * PATIENCE
        while not (answer := check()):
            assert time.monotonic() < deadline, f"{what} did not come to be\n{self.sidecar.log.read_text()}"
            await anyio.sleep(0.01)
        return answer

    async def until_started(self, times):
        """So many servers have been started, and the session goes on with the last."""
        for event, count in (("session goes on", times - 1), ("child started", times)):
            await self.until(lambda event=event, count=count: len(self.events(event)) >= count, f"server {times}")
            assert len(self.events(event)) == count


def session(test):
    """A test of a session; it is a coroutine."""

    @functools.wraps(test)
    def run(*words, **names):
        anyio.run(functools.partial(test, *words, **names))

    return run


def text(result):
    """What a tool says."""
    [content] = result.content
    assert not result.is_error, content.text
    return content.text
