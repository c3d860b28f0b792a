"""`lessee exec --respawn mcp-stdio`: a real client's session goes on while its server is started anew."""

import signal
import os

import anyio
import pytest

from mcped import Mcp, session, text


@pytest.fixture
def mcp(bao, sidecar, folder):
    """A server with one secret in its environment."""
    bao.put(f"testing/{folder}/key", value="canary-1")
    return Mcp(sidecar, bao, VALUE=f'secret("{folder}/key").value')


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@session
async def test_a_session_goes_on_with_the_new_secret_and_the_client_sees_nothing(mcp, bao, folder, mode):
    async with mcp.client(mode=mode) as client:
        value, first = text(await client.call_tool("who")).split()
        assert value == "canary-1"
        bao.put(f"testing/{folder}/key", value="canary-2")
        await mcp.until_started(2)
        value, second = text(await client.call_tool("who")).split()
        assert (value, first != second) == ("canary-2", True)
        assert {tool.name for tool in (await client.list_tools()).tools} >= {"who", "slow", "ask"}
    assert [event["code"] for event in mcp.events("stopped")] == [0]
