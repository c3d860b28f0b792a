"""`lessee exec --respawn mcp-stdio`: a real client's session goes on while its server is started anew."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
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
    """Of the server that was started last."""
    pid = mcp.events("child started")[-1]["pid"]
    pairs = Path(f"/proc/{pid}/environ").read_text().removesuffix("\0").split("\0")
    return dict(pair.split("=", 1) for pair in pairs)


@pytest.fixture
def everything(mcp, node):
    """The same, and the server is one that has all that the protocol has; its tool get-env tells its environment."""
    mcp.server = node("server-everything")
    return mcp


async def value(client):
    """What the server was started with."""
    return json.loads(text(await client.call_tool("get-env")))["VALUE"]


def published(mcp):
    return mcp.sidecar.status()["apps"]["web"]["generation"]


SLOW = "trigger-long-running-operation"


@session
async def test_a_session_goes_on_with_the_new_secret_and_the_client_sees_nothing(everything, bao, folder):
    del everything.sidecar.web["notify"]  # There is one way to tell it.
    async with everything.client() as client:
        assert await value(client) == "canary-1"
        for times in (2, 3):
            bao.put(f"testing/{folder}/key", value=f"canary-{times}")
            await everything.until_started(times)
            assert await value(client) == f"canary-{times}"


@session
async def test_what_was_begun_is_answered_by_the_old_server_and_what_comes_meanwhile_by_the_new(
    everything, bao, folder
):
    progress, answers = [], []
    everything.sidecar.web["notify"]["grace"] = "60s"

    async def seen(part, _total, _message):
        progress.append(part)

    async def begin():
        # Longer than a rotation takes on a busy machine.
        words = {"duration": 10, "steps": 4}
        answers.append(text(await client.call_tool(SLOW, words, progress_callback=seen)))

    async with everything.client() as client, anyio.create_task_group() as tasks:
        tasks.start_soon(begin)
        await everything.until(lambda: progress, "progress")
        bao.put(f"testing/{folder}/key", value="canary-2")
        # The old one is there, for it has not answered yet; nobody else is asked.
        await everything.until(lambda: published(everything) == 2, "the second generation")
        assert answers == []
        assert await value(client) == "canary-2"
        assert (len(answers), progress) == (1, [1, 2, 3, 4])
    assert len(everything.events("child started")) == 2


@session
async def test_what_takes_longer_than_its_grace_is_an_error_that_says_so(everything, bao, folder):
    everything.sidecar.web["notify"]["grace"] = "300ms"
    progress = []

    async def seen(part, _total, _message):
        progress.append(part)

    async def begin():
        with pytest.raises(MCPError, match="longer than it had"):
            await client.call_tool(SLOW, {"duration": 600, "steps": 10_000}, progress_callback=seen)

    async with everything.client() as client, anyio.create_task_group() as tasks:
        tasks.start_soon(begin)
        await everything.until(lambda: progress, "progress")
        bao.put(f"testing/{folder}/key", value="canary-2")
        await everything.until_started(2)
        assert await value(client) == "canary-2"
    [event] = everything.events("server is not waited for any longer")
    assert event["requests"] == "tools/call"


@session
async def test_a_server_that_crashes_is_started_again_and_its_client_told_of_what_it_was_at(everything):
    async with everything.client() as client:
        for _ in range(2):
            progress = []

            async def seen(part, _total, _message, progress=progress):
                progress.append(part)

            async def begin(seen=seen):
                with pytest.raises(MCPError, match="the server ended while it was at this request"):
                    await client.call_tool(SLOW, {"duration": 600, "steps": 10_000}, progress_callback=seen)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(begin)
                await everything.until(lambda progress=progress: progress, "progress")
                os.kill(everything.events("child started")[-1]["pid"], signal.SIGKILL)
        assert await value(client) == "canary-1"
    assert [event["code"] for event in everything.events("child failed")] == [137, 137]


@session
async def test_what_a_server_asks_its_client_is_answered_to_the_one_that_asked(everything, bao, folder):
    asked = []

    async def answer(_context, parameters):
        asked.append(parameters.message)
        return ElicitResult(action="accept", content={"name": f"name-{len(asked)}"})

    async with everything.client(elicitation_callback=answer) as client:
        for number in (1, 2):
            result = await client.call_tool("trigger-elicitation-request")
            assert f"name-{number}" in "".join(part.text for part in result.content)
            if number == 1:
                bao.put(f"testing/{folder}/key", value="canary-2")
                await everything.until_started(2)


@session
async def test_without_initialize_a_session_goes_on_too_and_its_streams_of_notifications(mcp, bao, folder):
    # Of the revision 2026-07-28, which only the Python SDK speaks.
    async with mcp.client(mode="auto") as client, client.listen(tools_list_changed=True) as changes:
        assert text(await client.call_tool("who")).startswith("canary-1 ")
        bao.put(f"testing/{folder}/key", value="canary-2")
        await mcp.until_started(2)
        # They may be others, for another server is there.
        await anext(changes)
        assert text(await client.call_tool("who")).startswith("canary-2 ")
        await client.call_tool("changes")
        await anext(changes)


# Servers of others.


@session
async def test_githubs_server_has_the_new_token_and_the_clients_file_holds_none(bao, sidecar, folder, node):
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
async def test_the_memory_servers_graph_is_there_over_a_restart(bao, sidecar, folder, node, tmp_path):
    bao.put(f"testing/{folder}/key", value="canary-1")
    mcp = Mcp(sidecar, bao, KEY=f'secret("{folder}/key").value', MEMORY_FILE_PATH=json.dumps(str(tmp_path / "graph")))
    entity = {"name": "lessee", "entityType": "program", "observations": ["it leases"]}
    async with mcp.client(*node("server-memory")) as client:
        assert not (await client.call_tool("create_entities", {"entities": [entity]})).is_error
        bao.put(f"testing/{folder}/key", value="canary-2")
        await mcp.until_started(2)
        graph = await client.call_tool("read_graph")
        assert [one["name"] for one in graph.structured_content["entities"]] == ["lessee"]


@pytest.mark.filterwarnings("ignore:.* as of 2026-07-28")  # Most clients speak what was before.
@session
async def test_subscriptions_are_made_anew_and_lists_that_may_be_others_are_told_of(everything, bao, folder):
    heard = []

    async def hear(message):
        heard.append(getattr(message, "method", None))

    async with everything.client(message_handler=hear) as client:
        uri = (await client.list_resources()).resources[0].uri
        await client.session.subscribe_resource(uri)
        await client.session.set_logging_level("debug")
        bao.put(f"testing/{folder}/key", value="canary-2")
        await everything.until_started(2)
        assert await value(client) == "canary-2"
        # One of ours, for it may have changed; and then the new server's own, which knows of the subscription.
        assert heard.count("notifications/resources/updated") == 1
        assert "notifications/tools/list_changed" in heard
        await client.call_tool("toggle-subscriber-updates")
        await everything.until(lambda: heard.count("notifications/resources/updated") > 1, "an update")


@session
async def test_the_session_of_postgress_server_goes_on_under_the_users_that_follow_one_another(
    bao, sidecar, folder, node, postgres
):
    role = f"mcp_stdio_{folder}"
    postgres.attach(bao, role=role, default_ttl="10s", max_ttl="10s")
    mcp = at_postgres(bao, sidecar, postgres, role)
    async with mcp.client(*node("server-postgres"), "postgresql:///") as client:
        users, deadline = [], time.monotonic() + 40
        while len(set(users)) < 3:
            [row] = json.loads(text(await client.call_tool("query", QUERY)))
            users.append(row["who"])
            assert time.monotonic() < deadline, sidecar.log.read_text()
            await anyio.sleep(0.05)


@session
async def test_a_lease_that_is_revoked_by_others_ends_the_server_and_not_the_session(
    bao, sidecar, folder, node, postgres
):
    role = f"mcp_revoked_{folder}"
    postgres.attach(bao, role=role, default_ttl="6s", max_ttl="1h")
    mcp = at_postgres(bao, sidecar, postgres, role)

    async def ask(client):
        """Who it is, or None where it is told that this is not to be had now."""
        try:
            answer = await client.call_tool("query", QUERY)
        except MCPError:
            return None
        return None if answer.is_error else json.loads(text(answer))[0]["who"]

    async with mcp.client(*node("server-postgres"), "postgresql:///") as client:
        first = await ask(client)
        assert first in postgres.roles("v-%")
        bao.ask("POST", f"sys/leases/revoke-prefix/database/creds/{role}")
        deadline = time.monotonic() + 30
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


# Beginning and end, without a client that would be so kind as to help.

HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


class Raw:
    """A client that says what it likes, byte by byte."""

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

    def say(self, **message):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\r\n")
        self.process.stdin.flush()

    def hear(self):
        return json.loads(self.process.stdout.readline())

    def begin(self):
        self.say(id=0, method="initialize", params=HELLO)
        assert self.hear()["id"] == 0
        self.say(method="notifications/initialized")

    def ends(self):
        try:
            return self.process.wait(4 * PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.log.read_text()) from None


@pytest.mark.parametrize("respawn", [False, True])
def test_a_missing_secret_ends_at_once_with_a_word_on_stderr_and_none_on_stdout(mcp, respawn, folder):
    mcp.template(VALUE=f'secret("{folder}/none").value')
    with Raw(mcp, "touch", str(mcp.sidecar.disk / "started"), respawn=respawn) as client:
        assert client.ends() == 65
        assert client.process.stdout.read() == b""
    assert f"{folder}/none" in mcp.sidecar.log.read_text()
    assert not (mcp.sidecar.disk / "started").exists()


def test_a_server_that_has_never_answered_is_not_tried_again(bao, sidecar, folder, node):
    bao.put(f"testing/{folder}/brave", api_key="")
    mcp = Mcp(sidecar, bao, BRAVE_API_KEY=f'secret("{folder}/brave").api_key')
    with Raw(mcp, *node("server-brave-search")) as client:
        client.say(id=0, method="initialize", params=HELLO)
        assert client.ends() == 1
        [line] = client.process.stdout.read().splitlines()
        told = json.loads(line)
        assert (told["id"], told["error"]["code"]) == (0, -32000)
    assert "BRAVE_API_KEY environment variable is required" in sidecar.log.read_text()
    assert len(mcp.events("child started")) == 1


def test_a_session_beside_another_has_a_state_and_a_directory_of_its_own_or_is_told_how_to_have_them(mcp):
    def beside(code, timeout="1s", **config):
        mcp.sidecar.config |= config
        mcp.sidecar.write_config()
        words = ["--app", "web", "--timeout", timeout, "--once", "--", "sh", "-c", "echo $VALUE"]
        done = mcp.sidecar.command("exec", *words)
        assert (done.returncode, done.stdout) == (code, "" if code else "canary-1\n"), done.stderr
        return done.stderr

    with ThreadPoolExecutor(2) as pool:  # Those that are soon gone wait for one another.
        list(pool.map(lambda _: beside(0, "30s"), range(2)))
    with Raw(mcp, "cat"):
        eventually(lambda: mcp.events("child started"), "a child")
        assert "another lessee holds this state; end that one, or write `state: …/${LESSEE_SESSION:-1}`" in beside(73)
    number, state, directory = "${LESSEE_SESSION:-1}", mcp.sidecar.state, mcp.sidecar.directory
    mcp.sidecar.config["state"] = f"{state}-{number}"
    with Raw(mcp, "cat"):
        eventually(lambda: len(mcp.events("child started")) == 2, "a child")
        told = beside(78)
        assert "apps.web.directory: another session has it; write `${LESSEE_SESSION:-1}` into it, as into" in told
        mcp.sidecar.web["directory"] = f"{directory}-{number}"
        told = beside(78, status={"socket": f"{mcp.sidecar.memory}/socket"})
        assert "status.socket: another session has it" in told
        beside(0, "30s", status={"socket": f"{mcp.sidecar.memory}/socket-{number}"})
        assert [path.exists() for path in (Path(f"{state}-2"), Path(f"{directory}-2"))] == [True, True]


def test_a_program_that_is_not_there_is_told_and_ends_all(mcp):
    with Raw(mcp, "no-such-program") as client:
        assert client.ends() == 127
        assert client.process.stdout.read() == b""


def test_a_client_that_hangs_up_ends_the_server_and_lessee(bao, sidecar, folder, node):
    bao.put(f"testing/{folder}/brave", api_key="canary-1")
    mcp = Mcp(sidecar, bao, BRAVE_API_KEY=f'secret("{folder}/brave").api_key')
    with Raw(mcp, *node("server-brave-search")) as client:
        client.begin()
        client.say(id=1, method="tools/list")
        client.process.stdin.close()
        # What it has asked before is answered.
        assert len(client.hear()["result"]["tools"]) == 2
        assert client.ends() == 0
        assert client.process.stdout.read() == b""


STUBBORN = "trap '' TERM; while :; do sleep 0.1; done"


def test_a_server_that_can_say_nothing_more_is_ended(mcp):
    with Raw(mcp, "sh", "-c", f"exec 1>&-; {STUBBORN}") as client:
        assert client.ends() == 137
    [event] = mcp.events("server cannot be used")
    assert event["reason"] == "it has closed its output"


@pytest.mark.parametrize("way", ["hangs up", "kills"])
def test_no_server_outlives_its_client_however_stubborn_it_is(mcp, way):
    script = STUBBORN if way == "hangs up" else "cat >&2"
    with Raw(mcp, "sh", "-c", script) as client:
        [event] = eventually(lambda: mcp.events("child started"), "a child")
        if way == "hangs up":
            client.process.stdin.close()
            assert client.ends() == 137
        else:
            client.process.kill()
        eventually(lambda: not Path(f"/proc/{event['pid']}").exists() or is_zombie(event["pid"]), "its end")


def is_zombie(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except OSError:
        return False  # It has just been waited for.


BESIDE = """
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


def test_what_a_server_says_beside_goes_to_stderr_without_secrets_and_huge_messages_pass(mcp):
    with Raw(mcp, sys.executable, "-c", BESIDE) as client:
        client.begin()
        huge = "x" * 20_000_000
        client.say(id=1, method="huge", params={"text": huge})
        assert client.hear() == {"jsonrpc": "2.0", "id": 1, "result": {"text": huge}}
        client.process.stdin.close()
        assert client.ends() == 0
        assert client.process.stdout.read() == b""
    said = [event["line"] for event in mcp.events("server said what is no message")]
    assert said == ["listening to ***", '{"level": "info", "msg": "up"}']


def test_respawn_and_once_exclude_each_other_and_a_closed_stdin_is_told(mcp):
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


def test_sigterm_ends_the_server_and_lessee_as_it_does(mcp):
    with Raw(mcp, sys.executable, "-c", BESIDE) as client:
        client.begin()
        client.process.send_signal(signal.SIGTERM)
        assert client.ends() == 143
