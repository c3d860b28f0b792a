"""A stateless MCP server over HTTP: SIGHUP replaces its workers, and a client's session continues."""

import subprocess
import sys
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from lessee.host.openbao import free_port
from mcp import Client
from support.paths import TESTS
from support.programs.mcp_client import session, text
from support.programs.sidecar import eventually

WORKERS = 2


@pytest.fixture
def url(bao, sidecar, folder):
    """The URL of `uvicorn --workers 2` as the child of `lessee exec`."""
    bao.put(f"testing/{folder}/key", value="canary-1")
    sidecar.template("key.j2", f'{{{{ secret("{folder}/key").value }}}}')
    sidecar.web["notify"] = {"child": True, "action": "SIGHUP"}
    sidecar.write_config()
    port = free_port()
    # With the default of five seconds, uvicorn would keep its old workers.
    options = [f"--workers={WORKERS}", "--timeout-worker-healthcheck=60", "--log-level=error", f"--port={port}"]
    server = ["uvicorn", "--app-dir", TESTS / "support/programs", "mcp_http_app:app", *options]
    with sidecar.log.open("ab") as log:
        sidecar.process = subprocess.Popen(
            [sys.executable, "-m", "lessee", "exec", "--app", "web", "--", sys.executable, "-m", *server],
            cwd=sidecar.disk,
            env=sidecar.environ | {"KEY_FILE": str(sidecar.directory / "key")},
            stdout=log,
            stderr=log,
        )
    yield f"http://127.0.0.1:{port}/mcp"
    sidecar.process.terminate()
    sidecar.process.wait(20)


@pytest.mark.thorough
@session
async def test_a_session_continues_when_workers_are_replaced(url, bao, sidecar, folder):
    async def call_who(client):
        return text(await client.call_tool("who")).split()

    eventually(lambda: listens(url), "the server")
    with anyio.fail_after(180):
        async with Client(url, mode="legacy") as client:
            value, first, server = await call_who(client)
            assert value == "canary-1"
            before = children(server)
            bao.put(f"testing/{folder}/key", value="canary-2")
            # A call can fail at the moment when its worker ends, with any kind of restart; the benchmark measures that.
            new = partial(eventually, lambda: len(before - children(server)) == WORKERS, "the new workers", 120)
            await to_thread.run_sync(new)
            value, worker, _ = await call_who(client)
            assert (value, worker != first) == ("canary-2", True)
            assert [tool.name for tool in (await client.list_tools()).tools] == ["who"]
    sidecar.until(lambda status: not status["apps"]["web"]["notify"]["pending"])


def children(pid):
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def listens(url):
    try:
        urllib.request.urlopen(url, timeout=1)
    except urllib.error.HTTPError:
        return True  # The server answers, but expects another request.
    except OSError:
        return False
    return True
