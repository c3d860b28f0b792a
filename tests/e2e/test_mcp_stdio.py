"""`lessee exec --respawn mcp-stdio`: a real client's session continues while its server is restarted."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import psutil
import pytest
from mcp.types import ElicitResult

from mcp import MCPError
from support import npm
from support.programs.mcp_client import Mcp, session, text
from support.programs.sidecar import PATIENCE, eventually

SERVERS = "node_modules/@modelcontextprotocol"
QUERY = {"sql": "SELECT session_user AS who"}


@pytest.fixture
def mcp(bao, sidecar, folder):
    """A server with one secret in its environment."""
    bao.put(f"testing/{folder}/key", value="canary-1")
    return Mcp(sidecar, bao, VALUE=f'secret("{folder}/key").value')


@pytest.fixture
def node():
    packages = npm.packages()
    return lambda name: [npm.program(packages, "node"), str(packages / SERVERS / name / "dist/index.js")]


def environ_of(mcp):
    """The environment variables of the server that was started last."""
    pid = mcp.events("child started")[-1]["pid"]
    pairs = Path(f"/proc/{pid}/environ").read_text().removesuffix("\0").split("\0")
    return dict(pair.split("=", 1) for pair in pairs)


@pytest.fixture
def everything(mcp, node):
    """The same with server-everything, which has all features of MCP; its tool get-env returns its environment."""
    mcp.server = node("server-everything")
    return mcp


async def value(client):
    """The secret in the server's environment."""
    return json.loads(text(await client.call_tool("get-env")))["VALUE"]


def published(mcp):
    return mcp.sidecar.status()["apps"]["web"]["generation"]


SLOW = "trigger-long-running-operation"


@session
async def test_a_session_continues_with_the_new_secret_unnoticed_by_the_client(everything, bao, folder):
    del everything.sidecar.web["notify"]  # A restart is the only way to notify it.
    async with everything.client() as client:
        assert await value(client) == "canary-1"
        for times in (2, 3):
            bao.put(f"testing/{folder}/key", value=f"canary-{times}")
            await everything.until_started(times)
            assert await value(client) == f"canary-{times}"


@pytest.mark.thorough
@session
async def test_the_old_server_completes_pending_requests_and_the_new_one_gets_later_requests(everything, bao, folder):
    progress, results = [], []
    everything.sidecar.web["notify"]["stop_grace_period"] = "60s"

    async def seen(part, _total, _message):
        progress.append(part)

    async def call():
        # Longer than a rotation on a busy machine.
        words = {"duration": 10, "steps": 4}
        results.append(text(await client.call_tool(SLOW, words, progress_callback=seen)))

    async with everything.client() as client, anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await everything.until(lambda: progress, "progress")
        bao.put(f"testing/{folder}/key", value="canary-2")
        # The old server is still running, because it has not responded yet.
        await everything.until(lambda: published(everything) == 2, "the second generation")
        assert results == []
        assert await value(client) == "canary-2"
        assert (len(results), progress) == (1, [1, 2, 3, 4])
    assert len(everything.events("child started")) == 2


@session
async def test_a_request_that_exceeds_the_grace_period_fails(everything, bao, folder):
    everything.sidecar.web["notify"]["stop_grace_period"] = "300ms"
    progress = []

    async def seen(part, _total, _message):
        progress.append(part)

    async def call():
        with pytest.raises(MCPError, match="before this request was complete"):
            await client.call_tool(SLOW, {"duration": 600, "steps": 10_000}, progress_callback=seen)

    async with everything.client() as client, anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await everything.until(lambda: progress, "progress")
        bao.put(f"testing/{folder}/key", value="canary-2")
        await everything.until_started(2)
        assert await value(client) == "canary-2"
    [event] = everything.events("drain timed out")
    assert event["requests"] == "tools/call"


@session
async def test_a_crashed_server_is_restarted_and_its_pending_request_fails(everything):
    async with everything.client() as client:
        for _ in range(2):
            progress = []

            async def seen(part, _total, _message, progress=progress):
                progress.append(part)

            async def call(seen=seen):
                with pytest.raises(MCPError, match="the server ended during this request"):
                    await client.call_tool(SLOW, {"duration": 600, "steps": 10_000}, progress_callback=seen)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                await everything.until(lambda progress=progress: progress, "progress")
                os.kill(everything.events("child started")[-1]["pid"], signal.SIGKILL)
        assert await value(client) == "canary-1"
    assert [event["code"] for event in everything.events("child failed")] == [137, 137]


@session
async def test_a_servers_request_to_the_client_gets_its_response(everything, bao, folder):
    requests = []

    async def respond(_context, parameters):
        requests.append(parameters.message)
        return ElicitResult(action="accept", content={"name": f"name-{len(requests)}"})

    async with everything.client(elicitation_callback=respond) as client:
        for number in (1, 2):
            result = await client.call_tool("trigger-elicitation-request")
            assert f"name-{number}" in "".join(part.text for part in result.content)
            if number == 1:
                bao.put(f"testing/{folder}/key", value="canary-2")
                await everything.until_started(2)


@pytest.mark.thorough
@session
async def test_a_session_without_initialize_continues_with_its_subscriptions(mcp, bao, folder):
    # Revision 2026-07-28, which only the Python SDK supports.
    async with mcp.client(mode="auto") as client, client.listen(tools_list_changed=True) as changes:
        assert text(await client.call_tool("who")).startswith("canary-1 ")
        bao.put(f"testing/{folder}/key", value="canary-2")
        await mcp.until_started(2)
        # The tools may have changed, because it is another server.
        await anext(changes)
        assert text(await client.call_tool("who")).startswith("canary-2 ")
        await client.call_tool("changes")
        await anext(changes)


# Public servers.


@session
async def test_githubs_server_gets_the_new_token_and_the_clients_file_contains_none(bao, sidecar, folder, node):
    bao.put(f"testing/{folder}/github", api_key="canary-1")
    mcp = Mcp(sidecar, bao, GITHUB_PERSONAL_ACCESS_TOKEN=f'secret("{folder}/github").api_key')
    parameters = mcp.parameters(*node("server-github"))
    assert "canary" not in parameters.model_dump_json()
    assert parameters.env is None
    async with mcp.client(*node("server-github")) as client:
        before = {tool.name for tool in (await client.list_tools()).tools}
        assert environ_of(mcp)["GITHUB_PERSONAL_ACCESS_TOKEN"] == "canary-1"
        bao.put(f"testing/{folder}/github", api_key="canary-2")
        await mcp.until_started(2)
        assert {tool.name for tool in (await client.list_tools()).tools} == before
        assert environ_of(mcp)["GITHUB_PERSONAL_ACCESS_TOKEN"] == "canary-2"
        assert not [name for name in environ_of(mcp) if name.startswith(("VAULT_", "LESSEE_"))]


@session
async def test_the_memory_servers_graph_survives_a_restart(bao, sidecar, folder, node, tmp_path):
    bao.put(f"testing/{folder}/key", value="canary-1")
    mcp = Mcp(sidecar, bao, KEY=f'secret("{folder}/key").value', MEMORY_FILE_PATH=json.dumps(str(tmp_path / "graph")))
    entity = {"name": "lessee", "entityType": "program", "observations": ["it leases"]}
    async with mcp.client(*node("server-memory")) as client:
        assert not (await client.call_tool("create_entities", {"entities": [entity]})).is_error
        bao.put(f"testing/{folder}/key", value="canary-2")
        await mcp.until_started(2)
        graph = await client.call_tool("read_graph")
        assert [one["name"] for one in graph.structured_content["entities"]] == ["lessee"]


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:.* as of 2026-07-28")  # Most clients use earlier revisions.
@session
async def test_subscriptions_are_replayed_and_lists_that_may_have_changed_are_notified(everything, bao, folder):
    received = []

    async def receive(message):
        received.append(getattr(message, "method", None))

    async with everything.client(message_handler=receive) as client:
        uri = (await client.list_resources()).resources[0].uri
        await client.session.subscribe_resource(uri)
        await client.session.set_logging_level("debug")
        bao.put(f"testing/{folder}/key", value="canary-2")
        await everything.until_started(2)
        assert await value(client) == "canary-2"
        # One from the relay, because the resource may have changed; later ones are from the new server's subscription.
        assert received.count("notifications/resources/updated") == 1
        assert "notifications/tools/list_changed" in received
        await client.call_tool("toggle-subscriber-updates")
        await everything.until(lambda: received.count("notifications/resources/updated") > 1, "an update")


@pytest.mark.thorough
@session
async def test_the_session_of_postgress_server_continues_with_each_new_user(bao, sidecar, folder, node, postgres):
    role = f"mcp_stdio_{folder}"
    postgres.attach(bao, role=role, default_ttl="10s", max_ttl="10s")
    mcp = at_postgres(bao, sidecar, postgres, role)
    async with mcp.client(*node("server-postgres"), "postgresql:///") as client:
        users, deadline = [], time.monotonic() + PATIENCE
        while len(set(users)) < 3:
            [row] = json.loads(text(await client.call_tool("query", QUERY)))
            users.append(row["who"])
            assert time.monotonic() < deadline, sidecar.log.read_text()
            await anyio.sleep(0.05)


@pytest.mark.thorough
@session
async def test_a_lease_revoked_by_another_client_restarts_the_server_and_keeps_the_session(
    bao, sidecar, folder, node, postgres
):
    role = f"mcp_revoked_{folder}"
    postgres.attach(bao, role=role, default_ttl="6s", max_ttl="1h")
    mcp = at_postgres(bao, sidecar, postgres, role)

    async def ask(client):
        """The database user, or None if the query failed."""
        try:
            result = await client.call_tool("query", QUERY)
        except MCPError:
            return None
        return None if result.is_error else json.loads(text(result))[0]["who"]

    async with mcp.client(*node("server-postgres"), "postgresql:///") as client:
        first = await ask(client)
        assert first in postgres.roles("v-%")
        bao.ask("POST", f"sys/leases/revoke-prefix/database/creds/{role}")
        deadline = time.monotonic() + PATIENCE
        while (user := await ask(client)) in {None, first}:
            assert time.monotonic() < deadline, sidecar.log.read_text()
            await anyio.sleep(0.05)
        assert user in postgres.roles("v-%")


def at_postgres(bao, sidecar, postgres, role):
    user = f'dynamic("database/creds/{role}")'
    return Mcp(
        sidecar,
        bao,
        PGHOST='"127.0.0.1"',
        PGPORT=str(postgres.port),
        PGDATABASE='"simba"',
        PGUSER=f"{user}.username",
        PGPASSWORD=f"{user}.password",
    )


# Start and end, with a client that sends raw messages.

INITIALIZE = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


class RawClient:
    """A client that sends and receives raw messages."""

    def __init__(self, mcp, *server, respawn=True, env=None):
        parameters = mcp.parameters(*server, respawn=respawn)
        self.log = mcp.sidecar.log
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [parameters.command, *parameters.args],
                cwd="/",
                env={"PATH": os.environ["PATH"], "HOME": "/"} | (env or {}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(PATIENCE)
        self.process.stdin.close()
        self.process.stdout.close()

    def send(self, **message):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\r\n")
        self.process.stdin.flush()

    def receive(self):
        return json.loads(self.process.stdout.readline())

    def initialize(self):
        self.send(id=0, method="initialize", params=INITIALIZE)
        assert self.receive()["id"] == 0
        self.send(method="notifications/initialized")

    def wait_for_exit(self):
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.log.read_text()) from None


@pytest.mark.parametrize("respawn", [False, True])
def test_a_missing_secret_is_an_error_on_stderr_and_nothing_on_stdout(mcp, respawn, folder):
    mcp.template(VALUE=f'secret("{folder}/none").value')
    with RawClient(mcp, "touch", str(mcp.sidecar.disk / "started"), respawn=respawn) as client:
        assert client.wait_for_exit() == 65
        assert client.process.stdout.read() == b""
    assert f"{folder}/none" in mcp.sidecar.log.read_text()
    assert not (mcp.sidecar.disk / "started").exists()


def test_a_server_that_never_responded_is_not_restarted(bao, sidecar, folder, node):
    bao.put(f"testing/{folder}/brave", api_key="")
    mcp = Mcp(sidecar, bao, BRAVE_API_KEY=f'secret("{folder}/brave").api_key')
    with RawClient(mcp, *node("server-brave-search")) as client:
        client.send(id=0, method="initialize", params=INITIALIZE)
        assert client.wait_for_exit() == 1
        [line] = client.process.stdout.read().splitlines()
        response = json.loads(line)
        assert (response["id"], response["error"]["code"]) == (0, -32000)
    assert "BRAVE_API_KEY environment variable is required" in sidecar.log.read_text()
    assert len(mcp.events("child started")) == 1


@pytest.mark.thorough
def test_concurrent_sessions_need_their_own_state_and_directory(mcp):
    def run_second(code, timeout="1s", **config):
        mcp.sidecar.config |= config
        mcp.sidecar.write_config()
        words = ["--app", "web", "--timeout", timeout, "--once", "--", "sh", "-c", "echo $VALUE"]
        done = mcp.sidecar.command("exec", *words)
        assert (done.returncode, done.stdout) == (code, "" if code else "canary-1\n"), done.stderr
        return done.stderr

    with ThreadPoolExecutor(2) as pool:  # Short runs wait for each other.
        list(pool.map(lambda _: run_second(0, "30s"), range(2)))
    with RawClient(mcp, "cat"):
        eventually(lambda: mcp.events("child started"), "a child")
        assert "this state directory; stop the other agent, or write `state_dir: …/${LESSEE_SESSION:-1}`" in run_second(
            73
        )
    number, state, directory = "${LESSEE_SESSION:-1}", mcp.sidecar.state, mcp.sidecar.directory
    mcp.sidecar.config["state_dir"] = f"{state}-{number}"
    with RawClient(mcp, "cat"):
        eventually(lambda: len(mcp.events("child started")) == 2, "a child")
        error = run_second(78)
        assert "apps.web.directory: another session uses the same path; include `${LESSEE_SESSION:-1}` in it" in error
        mcp.sidecar.web["directory"] = f"{directory}-{number}"
        error = run_second(78, status={"socket": f"{mcp.sidecar.memory}/socket"})
        assert "status.socket: another session uses the same path" in error
        run_second(0, "30s", status={"socket": f"{mcp.sidecar.memory}/socket-{number}"})
        assert [path.exists() for path in (Path(f"{state}-2"), Path(f"{directory}-2"))] == [True, True]


def test_a_missing_program_ends_lessee(mcp):
    with RawClient(mcp, "no-such-program") as client:
        assert client.wait_for_exit() == 127
        assert client.process.stdout.read() == b""


def test_a_closed_client_ends_the_server_and_lessee(bao, sidecar, folder, node):
    bao.put(f"testing/{folder}/brave", api_key="canary-1")
    mcp = Mcp(sidecar, bao, BRAVE_API_KEY=f'secret("{folder}/brave").api_key')
    with RawClient(mcp, *node("server-brave-search")) as client:
        client.initialize()
        client.send(id=1, method="tools/list")
        client.process.stdin.close()
        # The earlier request gets its response.
        assert len(client.receive()["result"]["tools"]) == 2
        assert client.wait_for_exit() == 0
        assert client.process.stdout.read() == b""


STUBBORN = "trap '' TERM; while :; do sleep 0.1; done"


def test_a_server_that_closes_its_output_is_killed(mcp):
    with RawClient(mcp, "sh", "-c", f"exec 1>&-; {STUBBORN}") as client:
        assert client.wait_for_exit() == 137
    [event] = mcp.events("mcp server killed")
    assert event["reason"] == "it closed its output"


@pytest.mark.thorough
@pytest.mark.parametrize("end", ["close", "kill"])
def test_no_server_outlives_its_client(mcp, end):
    script = STUBBORN if end == "close" else "cat >&2"
    with RawClient(mcp, "sh", "-c", script) as client:
        [event] = eventually(lambda: mcp.events("child started"), "a child")
        child = psutil.Process(event["pid"])
        if end == "close":
            client.process.stdin.close()
            assert client.wait_for_exit() == 137
        else:
            client.process.kill()
        eventually(lambda: has_ended(child), "its end")


def has_ended(process):
    """Whether it is gone or a zombie; another process may have its pid by now."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


NOISY_SERVER = """
import json, sys
print("listening to", "canary-1")
sys.stdout.write('{"level": "info", "msg": "up"}\\n')
for line in sys.stdin:
    message = json.loads(line)
    if "id" in message:
        answer = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": message.get("params", {})})
        half = len(answer) // 2
        sys.stdout.write(answer[:half]); sys.stdout.flush()
        sys.stdout.write(answer[half:] + "\\n"); sys.stdout.flush()
"""


@pytest.mark.thorough
def test_other_output_is_not_logged_but_its_length_and_huge_messages_are_forwarded(mcp):
    with RawClient(mcp, sys.executable, "-c", NOISY_SERVER) as client:
        client.initialize()
        huge = "x" * 20_000_000
        client.send(id=1, method="huge", params={"text": huge})
        assert client.receive() == {"jsonrpc": "2.0", "id": 1, "result": {"text": huge}}
        client.process.stdin.close()
        assert client.wait_for_exit() == 0
        assert client.process.stdout.read() == b""
    logged = [event["length"] for event in mcp.events("invalid message from server")]
    assert logged == [len("listening to canary-1"), len('{"level": "info", "msg": "up"}')]
    assert "listening" not in mcp.sidecar.log.read_text()


def test_respawn_excludes_once_and_needs_an_open_stdin(mcp):
    mcp.parameters()
    words = ["exec", "--app", "web", "--respawn", "mcp-stdio"]
    done = mcp.sidecar.command(*words, "--once", "--", "true")
    assert (done.returncode, done.stdout, "--once" in done.stderr) == (64, "", True)
    shell = [sys.executable, "-m", "lessee", *words, "--", "true"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *shell],
        cwd=mcp.sidecar.disk, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert (done.returncode, "standard input: it is closed" in done.stderr) == (64, True)


def test_sigterm_ends_the_server_and_lessee(mcp):
    with RawClient(mcp, sys.executable, "-c", NOISY_SERVER) as client:
        client.initialize()
        client.process.send_signal(signal.SIGTERM)
        assert client.wait_for_exit() == 143
