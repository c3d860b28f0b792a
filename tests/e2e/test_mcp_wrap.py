"""`lessee mcp wrap` removes the secrets from a client's file, and the servers still start."""

import json
import os
import shlex
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
import yaml
from psycopg import sql

from lessee.core.errors import ConfigError
from lessee.core.redaction import forms
from lessee.host.user_file import open_user_file
from lessee.ops.mcp.config_file import McpConfig
from support import npm
from support.programs.mcp_wrap import McpHome, command_lines_of_processes
from support.programs.sidecar import PATIENCE
from support.programs.terminal import Terminal

CANARY = "canary-wrapped-5c1e"
STEPS = 10
SERVERS = "node_modules/@modelcontextprotocol"


@pytest.fixture
def wrap(bao, tmp_path, memory, folder):
    return McpHome(bao.address, tmp_path / "home", memory, f"mcp-{folder}")


@pytest.fixture
def node():
    packages = npm.packages()
    return npm.program(packages, "node"), lambda name: str(packages / SERVERS / name / "dist/index.js")


def one_server(**env):
    """The `mcpServers` with one server that needs no package."""
    return {"one": {"command": "true", "args": ["-x"], "env": {"API_KEY": CANARY, **env}}}


def stored_secret(bao, wrap, server):
    return bao.ask("GET", f"secret/data/{wrap.prefix}/{server}")["data"]["data"]


def leaks(text):
    return [form for form in forms(CANARY) if form in text]


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_server_starts_with_the_rewritten_file_and_its_token_is_visible_nowhere(bao, wrap, node):
    program, script = node
    env = {"GITHUB_PERSONAL_ACCESS_TOKEN": CANARY, "LOG": "x"}
    before = wrap.write({"github": {"command": program, "args": [script("server-github")], "env": env}})
    wrap("--yes")
    assert wrap.servers()["github"]["env"] == {"LESSEE_SERVER": "github", "LOG": "x"}
    assert stored_secret(bao, wrap, "github") == {"GITHUB_PERSONAL_ACCESS_TOKEN": CANARY}

    async def use(session):
        tools = {tool.name for tool in (await session.list_tools()).tools}
        return tools, command_lines_of_processes()

    tools, running = wrap.start("github", use)
    assert {"create_issue", "search_code"} <= tools
    [pid] = [pid for pid, words in running.items() if script("server-github") in words]
    assert running[pid].split("\0")[0] == program  # The server has replaced lessee.
    assert not leaks("".join(running.values()) + wrap.output + (wrap.home / "server.log").read_text())
    [backup] = wrap.backups.iterdir()
    assert backup.read_bytes() == before
    assert (stat.S_IMODE(backup.stat().st_mode), stat.S_IMODE(wrap.backups.stat().st_mode)) == (0o600, 0o700)
    assert [path for path, content in contents(wrap.home).items() if leaks(content.decode())] == [backup]
    assert not [path for path, content in contents(wrap.memory).items() if leaks(content.decode(errors="replace"))]


def test_the_server_gets_its_old_token_and_its_pythonpath(wrap):
    script = (
        "import os, sys; open(sys.argv[1], 'w').write("
        "os.environ['TOKEN'] + os.environ.get('LESSEE_SERVER', '-') + os.environ['PYTHONPATH'])"
    )
    modules = wrap.home / "modules"
    modules.mkdir()
    (modules / "argparse.py").write_text("raise SystemExit(3)")
    hostile = CANARY + """ é \\ \" ' ${x $HOME \n {{ x }} #"""
    wrap.write(
        {
            "a b/é": {
                "command": "python3",
                "args": ["-c", script, "${X}"],
                "env": {"TOKEN": hostile, "PYTHONPATH": str(modules)},
            }
        }
    )
    wrap("--yes")
    server = wrap.servers()["a b/é"]
    assert server["args"][server["args"].index("--app") + 1] == "a-b"
    command = [server["command"], *server["args"][:-1], str(wrap.home / "output")]
    assert server["args"][-1] == "${X}"
    subprocess.run(command, env={"PATH": os.environ["PATH"]} | server["env"], check=True, timeout=30)
    assert (wrap.home / "output").read_text() == f"{hostile}-{modules}"
    assert "already wrapped" in wrap("--yes").stdout


@pytest.mark.thorough
def test_a_password_in_a_url_moves_from_the_arguments_to_the_environment(bao, wrap, node, postgres):
    program, script = node
    password = f"{CANARY}/@:%"
    role = sql.Identifier("wrapped_by_mcp")
    postgres.sql(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(password)))
    url = f"postgresql://wrapped_by_mcp:{quote(password, safe='')}@127.0.0.1:{postgres.port}/postgres"
    wrap.write({"db": {"command": program, "args": [script("server-postgres"), url]}})

    async def use(session):
        answer = await session.call_tool("query", {"sql": "SELECT session_user AS who"})
        return json.loads(answer.content[0].text), command_lines_of_processes()

    try:
        wrap("--yes")
        assert stored_secret(bao, wrap, "db") == {"PGPASSWORD": password}
        who, running = wrap.start("db", use)
    finally:
        postgres.sql(sql.SQL("DROP ROLE {}").format(role))
    assert who == [{"who": "wrapped_by_mcp"}]
    assert not leaks("".join(running.values()) + wrap.output + wrap.file.read_text())


def test_a_secret_that_must_be_an_argument_leaves_the_file_with_a_warning(bao, wrap):
    wrap.write({"one": {"command": "true", "args": ["--api-key", CANARY, "it's", "${HOME}/x"]}})
    done = wrap("--yes")
    assert "the program gets MCP_API_KEY as an argument, which all users of this machine can read" in done.stderr
    assert wrap.servers()["one"]["args"][-5:] == [
        "sh",
        "-c",
        """exec true --api-key "$MCP_API_KEY" 'it'"'"'s' "$1\"""",
        "sh",
        "${HOME}/x",
    ]
    assert stored_secret(bao, wrap, "one") == {"MCP_API_KEY": CANARY}
    assert not leaks(wrap.output)


@pytest.mark.thorough
def test_several_clients_can_start_the_same_server_and_each_gets_secret_changes(bao, wrap):
    def start(server):
        with (wrap.home / "server.log").open("a") as log:
            command = [server["command"], *server["args"]]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            return subprocess.Popen(command, env=server["env"], stderr=log, **pipes)

    def method(client):
        return json.loads(client.stdout.readline())["method"]

    script = """printf '{"jsonrpc": "2.0", "method": "%s"}\\n' "$API_KEY"; while read -r _; do :; done"""
    wrap.write({"one": {"command": "sh", "args": ["-c", script], "env": {"API_KEY": "canary-1"}}})
    wrap("--yes", "--respawn", "mcp-stdio")
    wrap.config.write_text(wrap.config.read_text().replace('prefix: ""', 'prefix: "", refresh_interval: 200ms'))
    server = wrap.servers()["one"]
    assert server["args"][:6] == ["exec", "--respawn", "mcp-stdio", "--timeout", "15s", "--config"]
    clients = [start(server) for _ in range(3)]
    try:
        assert [method(client) for client in clients] == ["canary-1"] * 3
        # A session's number becomes free when the session ends, even by SIGKILL.
        [fork] = psutil.Process(clients[1].pid).children()
        clients[1].kill()
        clients[1].wait()
        psutil.wait_procs([fork], PATIENCE)
        restarted = start(server)
        clients.append(restarted)
        assert method(restarted) == "canary-1"
        bao.put(f"{wrap.prefix}/one", API_KEY="canary-2")
        assert [method(client) for client in (clients[0], clients[2], restarted)] == ["canary-2"] * 3
    finally:
        for client in clients:
            client.stdin.close()
    assert [client.wait(30) for client in clients] == [0, -signal.SIGKILL, 0, 0]
    for client in clients:
        client.stdout.close()
    for folder in ("state", "files"):
        assert {place.name for place in (wrap.memory / "lessee/mcp" / folder / "one").iterdir()} == {"1", "2", "3"}


def test_a_second_wrap_changes_nothing(bao, wrap):
    wrap.write(one_server())
    wrap("--yes")
    before = contents(wrap.home)
    done = wrap("--yes", env={"VAULT_ADDR": "http://127.0.0.1:9"})
    assert done.stdout == "mcpServers.one: already wrapped\n"
    assert contents(wrap.home) == before
    assert bao.ask("GET", f"secret/metadata/{wrap.prefix}/one")["data"]["current_version"] == 1


def test_a_dry_run_prints_the_changes_without_values_and_changes_nothing(wrap):
    wrap.write(one_server(PLAIN="masked-too"))
    before = contents(wrap.home)
    done = wrap("--dry-run", env={"VAULT_ADDR": "http://127.0.0.1:9"})
    assert '-    "API_KEY": "***"' in done.stdout
    assert f"mcpServers.one: API_KEY → {wrap.prefix}/one" in done.stdout
    assert "masked-too" not in done.stdout
    assert contents(wrap.home) == before
    assert list(wrap.memory.iterdir()) == []


def test_an_existing_value_in_vault_is_never_overwritten(bao, wrap):
    bao.put(f"{wrap.prefix}/b", API_KEY="canary-of-another", MORE="unchanged")
    before = wrap.write({name: one_server()["one"] for name in "ab"})
    done = wrap("--yes", code=73)
    assert f"secret/{wrap.prefix}/b: Vault has another value for API_KEY; nothing was written" in done.stderr
    assert "canary" not in wrap.output
    assert wrap.file.read_bytes() == before
    with pytest.raises(RuntimeError, match="404"):
        stored_secret(bao, wrap, "a")
    bao.put(f"{wrap.prefix}/b", API_KEY=CANARY, MORE="unchanged")
    wrap.write({"b": one_server(SECOND_KEY="canary-second")["one"]})
    wrap("--yes")
    assert stored_secret(bao, wrap, "b") == {"API_KEY": CANARY, "MORE": "unchanged", "SECOND_KEY": "canary-second"}


def test_a_deleted_secret_is_replaced(bao, wrap):
    bao.put(f"{wrap.prefix}/one", API_KEY="canary-of-another")
    bao.ask("DELETE", f"secret/data/{wrap.prefix}/one")
    wrap.write(one_server())
    wrap("--yes")
    assert stored_secret(bao, wrap, "one") == {"API_KEY": CANARY}


@pytest.mark.thorough
def test_the_printed_undo_command_restores_the_file(wrap):
    before = wrap.write(one_server())
    lines = wrap("--yes").stdout.splitlines()
    [line] = [line for line in lines if "undo: `" in line]
    [left] = [line for line in lines if line.startswith("an undo leaves")]
    assert f"{wrap.prefix}/one" in left
    templates = shlex.split(left.split("`")[3])[1:]
    assert templates
    assert all(Path(template).read_text() for template in templates)
    undo, remove = line.split("`")[1::2]
    subprocess.run(shlex.split(undo), check=True)
    assert wrap.file.read_bytes() == before
    subprocess.run(shlex.split(remove), check=True)
    assert list(wrap.backups.iterdir()) == []
    wrap("--yes")
    assert not leaks(wrap.file.read_text())


@pytest.mark.thorough
@pytest.mark.timeout(300)  # Twenty runs, each of which starts another process.
def test_a_run_that_was_killed_before_any_step_is_completed_by_the_next_run(bao, tmp_path, memory, folder):
    def completes(step):
        """Whether the first run completed before it was killed."""
        wrap = McpHome(bao.address, tmp_path / str(step), memory, f"mcp-{folder}-{step}")
        before = wrap.write(one_server())
        killed = wrap.kill_at(step)
        # The file is written last, so everything else is done if it has changed.
        rewritten = wrap.file.read_bytes() != before
        assert ("already wrapped" in wrap("--yes").stdout) == rewritten
        assert wrap.servers()["one"]["args"][-3:] == ["--", "true", "-x"]
        assert not leaks(wrap.file.read_text())
        assert stored_secret(bao, wrap, "one") == {"API_KEY": CANARY}
        assert wrap.config.parent.joinpath("one.env.j2").exists()
        assert [path.read_bytes() for path in wrap.backups.iterdir() if path.name[0] != "."] == [before]
        assert not [path for path in wrap.home.iterdir() if path.name.endswith(".lessee")]
        return not killed

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(completes, range(1, STEPS + 1)))
    assert done == sorted(done)
    assert (done[0], done[-1]) == (False, True)


@pytest.mark.parametrize(("event", "step"), [("subprocess.Popen", 0), ("os.rename", 0)])
def test_a_concurrent_change_of_the_file_is_not_lost(wrap, event, step):
    before = wrap.write(one_server())
    done = wrap.run_with_fault(step, event, 73)
    assert "another program changed the file meanwhile; lessee did not change it" in done.stderr
    assert wrap.file.read_bytes().rstrip(b"\n") == before
    wrap("--yes")
    assert not leaks(wrap.file.read_text())


def test_links_and_modes_are_preserved(wrap):
    real = wrap.home / "dotfiles/mcp.json"
    real.parent.mkdir()
    wrap.write(one_server())
    wrap.file.rename(real)
    real.chmod(0o640)
    os.chown(real, os.getuid(), os.getgid())
    wrap.file.symlink_to(real)
    wrap("--yes")
    assert wrap.file.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert not leaks(real.read_text())


def test_an_unwritable_file_is_reported_before_anything_is_written(bao, wrap):
    before = wrap.write(one_server())
    wrap.file.chmod(0o444)
    assert "the file is read-only" in wrap("--yes", code=73).stderr
    wrap.file.chmod(0o644)
    other = wrap.home / "other.json"
    other.hardlink_to(wrap.file)
    assert "the file has another hard link" in wrap("--yes", code=73).stderr
    assert wrap.file.read_bytes() == before
    with pytest.raises(RuntimeError, match="404"):
        stored_secret(bao, wrap, "one")
    assert not wrap.config.exists()


def test_the_command_asks_for_confirmation(wrap):
    before = wrap.write(one_server())
    assert "there is no terminal; add --yes" in wrap("--path", wrap.prefix, code=64).stderr
    command = [sys.executable, "-m", "lessee", "mcp", "wrap", str(wrap.file), "--path", wrap.prefix]
    for answer, code in (("n", 64), ("y", 0)):
        terminal = Terminal(*command, env=wrap.environ, cwd=wrap.home)
        try:
            assert not leaks(terminal.until("apply these changes? [y/N] "))
            assert wrap.file.read_bytes() == before
            terminal.type(f"{answer}\n")
            terminal.until("nothing was written" if code else "rotate these secrets now")
            assert terminal.end(15) == code
        finally:
            terminal.close()
    assert not leaks(wrap.file.read_text())


def test_a_header_with_a_secret_is_a_manual_step(wrap):
    header = {"Authorization": f"Bearer {CANARY}"}
    wrap.write(one_server() | {"web": {"type": "http", "url": "https://mcp.example/mcp", "headers": header}})
    done = wrap("--yes", code=75)
    assert "mcpServers.web: `Authorization` contains a secret; write `${NAME}` instead" in done.stderr
    assert not leaks(wrap.output)
    assert wrap.servers()["web"]["headers"] == header
    assert wrap.servers()["one"]["env"] == {"LESSEE_SERVER": "one"}
    assert wrap("--yes", code=75).stdout == "mcpServers.one: already wrapped\n"


def test_apps_are_added_to_an_existing_lessee_yaml(wrap):
    wrap.config.parent.mkdir(parents=True)
    text = f"""\
# mine
vault: {{address: {wrap.environ["VAULT_ADDR"]}, auth: {{method: token, token_file: {wrap.home}/.vault-token}}}}
environment: testing
state_dir: {wrap.memory}/state/${{SERVER:-none}}
apps:
    old: {{directory: {wrap.memory}/old, env_template: old.j2}}  # my own

secrets: {{refresh_interval: 2s}}  # last
"""
    wrap.config.write_text(text)
    (wrap.config.parent / "old.j2").write_text("A=b\n")
    wrap.write(one_server())
    wrap("--yes")
    assert wrap.servers()["one"]["env"] == {"SERVER": "one"}
    added = wrap.config.read_text()
    assert yaml.safe_load(added)["apps"].keys() == {"old", "one"}
    for line in text.splitlines():
        assert f"{line}\n" in added


VAULT = "vault: {address: 'http://127.0.0.1:9', auth: {method: token, token_file: /t}}"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("apps: {}\n", "all servers would share one `state_dir`"),
        ("state_dir: /run/x/${S:-n}\n" + VAULT, "two clients that start the same server would share one `state_dir`"),
        (
            "state_dir: /run/x/${S:-n}/${LESSEE_SESSION:-1}\nenvironment: a\napps: {}\n",
            "a client does not pass .VAULT_TOKEN",
        ),
        (
            (
                "state_dir: /run/${S:-n}/${LESSEE_SESSION:-1}\nenvironment: a\n"
                "vault: {auth: {method: token, token_file: /t}}"
            ),
            "the file depends on variables of the current environment",
        ),
        ("state_dir: [", "invalid YAML"),
    ],
)
def test_a_lessee_yaml_that_no_server_can_start_with_is_rejected(wrap, text, error):
    wrap.config.parent.mkdir(parents=True)
    wrap.config.write_text(text)
    with pytest.raises(ConfigError, match=error):
        McpConfig(None, wrap.environ, respawn=True)


def test_nothing_is_written_if_apps_cannot_be_added_to_lessee_yaml(bao, wrap):
    wrap.config.parent.mkdir(parents=True)
    text = f"state_dir: /run/x/${{S:-n}}\nenvironment: a\n{VAULT}\napps: {{}}\n"
    wrap.config.write_text(text)
    before = wrap.write(one_server())
    assert "`apps` is written in braces or brackets" in wrap("--yes", code=78).stderr
    assert (wrap.file.read_bytes(), wrap.config.read_text()) == (before, text)
    with pytest.raises(RuntimeError, match="404"):
        stored_secret(bao, wrap, "one")


def test_the_file_is_unchanged_if_the_servers_cannot_log_in(bao, wrap):
    role_id, secret_id = bao.approle(wrap.prefix, 'path "secret/data/nothing" { capabilities = ["read"] }')
    for name, value in (("role_id", role_id), ("secret_id", secret_id)):
        (wrap.home / name).write_text(value)
    files = f"role_id_file: {wrap.home}/role_id, secret_id_file: {wrap.home}/secret_id"
    vault = f"{{address: {bao.address}, auth: {{method: approle, {files}}}}}"
    wrap.config.parent.mkdir(parents=True)
    wrap.config.write_text(f"vault: {vault}\nsecrets: {{prefix: ''}}\nstate_dir: {wrap.memory}/s/${{S:-n}}\napps:\n")
    before = wrap.write(one_server())
    done = wrap("--yes", code=77, env={"VAULT_TOKEN": (wrap.home / ".vault-token").read_text()})
    assert "the client's file is unchanged" in done.stderr
    assert wrap.file.read_bytes() == before
    assert not wrap.backups.exists()


def test_nothing_is_written_if_vault_is_unreachable(wrap):
    before = wrap.write(one_server())
    wrap("--yes", code=69, env={"VAULT_ADDR": "http://127.0.0.1:9"})
    assert (wrap.file.read_bytes(), wrap.config.exists()) == (before, False)


@pytest.mark.parametrize(
    ("content", "code", "error"),
    [
        (b'{"mcpServers": {\n"a": 1}}', 78, "mcp.json:2: mcpServers.a: expected an object"),
        (b'{"mcpServers": {"a": {}}}', 0, ""),
    ],
)
def test_an_invalid_file_is_reported_with_its_line(wrap, content, code, error):
    wrap.file.write_bytes(content)
    done = wrap("--yes", code=code)
    assert error in done.stderr
    assert wrap.file.read_bytes() == content
    assert not wrap.config.exists()


def writer(content):
    return lambda path: path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (writer(b""), "the file is empty"),
        (writer(b"\xef\xbb\xbf \n"), "the file is empty"),
        (writer(b"\xff\xfe{\x00"), "the file is not UTF-8 text"),
        (writer(b" " * ((1 << 24) + 1)), "the file is larger than 16 MiB"),
        (Path.mkdir, "not a regular file"),
        (os.mkfifo, "not a regular file"),
        (lambda path: path.symlink_to(path), "the file cannot be read"),
        (lambda _: None, "the file cannot be read: No such file"),
    ],
)
def test_a_file_that_is_not_text_is_rejected(tmp_path, make, error):
    make(tmp_path / "mcp.json")
    with pytest.raises(ConfigError, match=error), open_user_file(tmp_path / "mcp.json", "lessee mcp wrap") as file:
        assert file.text


@pytest.mark.thorough
def test_a_huge_file_is_processed_quickly_and_keeps_its_byte_order_mark(wrap):
    rest = {f"project-{number}": {"history": ["x" * 50] * 200} for number in range(200)}
    text = json.dumps({"projects": {"/p": {"mcpServers": one_server()}}, "rest": rest}, indent=1)
    wrap.file.write_text("\ufeff" + text)
    wrap("--yes")
    after = wrap.file.read_text()
    assert after[0] == "\ufeff"
    assert json.loads(after[1:])["rest"] == rest
    assert not leaks(after)


def test_a_file_without_secrets_needs_no_login(wrap):
    (wrap.home / ".vault-token").unlink()
    reference = {"API_KEY": "$API_KEY", "A_TOKEN": "${env:A_TOKEN}", "AUTHORIZATION": "Bearer $TOKEN"}
    servers = {"one": {"command": "docker", "args": ["run", "-e", "B_TOKEN=$B_TOKEN", "x"], "env": reference}}
    before = wrap.write(servers)
    assert wrap("--yes").stdout == "mcpServers.one: contains no secret\n"
    web = {"type": "http", "url": "https://mcp.example/mcp", "headers": {"Authorization": f"Bearer {CANARY}"}}
    wrap.write(servers | {"web": web})
    assert "mcpServers.web: `Authorization` contains a secret" in wrap("--yes", code=75).stderr
    assert before
    assert not wrap.config.exists()


def test_a_reference_that_lessee_exec_would_not_pass_on_is_a_manual_step_and_never_stored(wrap):
    before = wrap.write(one_server(VAULT_TOKEN="${env:VAULT_TOKEN}"))
    done = wrap("--yes", code=75)
    assert "mcpServers.one: its `env` has VAULT_TOKEN, a reference, and `lessee exec` does not pass on" in done.stderr
    assert wrap.file.read_bytes() == before


def test_a_missing_login_is_reported_with_the_command_that_logs_in(wrap):
    wrap.write(one_server())
    (wrap.home / ".vault-token").unlink()
    assert "log in with `bao login`" in wrap("--yes", code=78).stderr
