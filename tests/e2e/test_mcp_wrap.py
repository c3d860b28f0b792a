"""`lessee mcp wrap`: after it no secret stands in the client's file, and its servers start all the same."""

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

import pytest
import yaml
from psycopg import sql

from lessee.core.errors import ConfigError
from lessee.core.redaction import forms
from lessee.ops.mcp import client_file
from lessee.ops.mcp.config_file import Configuration
from support import npm
from support.programs.mcp_wrap import Wrapping, processes
from support.programs.terminal import Terminal

CANARY = "canary-wrapped-5c1e"
STEPS = 10
SERVERS = "node_modules/@modelcontextprotocol"


@pytest.fixture
def wrap(bao, tmp_path, memory, folder):
    return Wrapping(bao.address, tmp_path / "home", memory, f"mcp-{folder}")


@pytest.fixture
def node():
    packages = npm.packages()
    return npm.program(packages, "node"), lambda name: str(packages / SERVERS / name / "dist/index.js")


def one(**env):
    """A server that needs no package."""
    return {"one": {"command": "true", "args": ["-x"], "env": {"API_KEY": CANARY, **env}}}


def kept(bao, wrap, server):
    return bao.ask("GET", f"secret/data/{wrap.prefix}/{server}")["data"]["data"]


def leaks(text):
    return [form for form in forms(CANARY) if form in text]


def everything(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_server_starts_by_the_rewritten_file_and_its_token_is_seen_nowhere(bao, wrap, node):
    program, script = node
    env = {"GITHUB_PERSONAL_ACCESS_TOKEN": CANARY, "LOG": "x"}
    before = wrap.write({"github": {"command": program, "args": [script("server-github")], "env": env}})
    wrap("--yes")
    assert wrap.servers()["github"]["env"] == {"LESSEE_SERVER": "github", "LOG": "x"}
    assert kept(bao, wrap, "github") == {"GITHUB_PERSONAL_ACCESS_TOKEN": CANARY}

    async def act(session):
        tools = {tool.name for tool in (await session.list_tools()).tools}
        return tools, processes()

    tools, running = wrap.start("github", act)
    assert {"create_issue", "search_code"} <= tools
    [pid] = [pid for pid, words in running.items() if script("server-github") in words]
    assert running[pid].split("\0")[0] == program  # lessee has become the server
    assert not leaks("".join(running.values()) + wrap.output + (wrap.home / "server.log").read_text())
    [backup] = wrap.backups.iterdir()
    assert backup.read_bytes() == before
    assert (stat.S_IMODE(backup.stat().st_mode), stat.S_IMODE(wrap.backups.stat().st_mode)) == (0o600, 0o700)
    assert [path for path, content in everything(wrap.home).items() if leaks(content.decode())] == [backup]
    assert not [path for path, content in everything(wrap.memory).items() if leaks(content.decode(errors="replace"))]


def test_the_server_has_the_token_that_it_had_and_what_is_meant_for_its_python(wrap):
    show = (
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
                "args": ["-c", show, "${X}"],
                "env": {"TOKEN": hostile, "PYTHONPATH": str(modules)},
            }
        }
    )
    wrap("--yes")
    server = wrap.servers()["a b/é"]
    assert server["args"][server["args"].index("--app") + 1] == "a-b"
    command = [server["command"], *server["args"][:-1], str(wrap.home / "shown")]
    assert server["args"][-1] == "${X}"
    subprocess.run(command, env={"PATH": os.environ["PATH"]} | server["env"], check=True, timeout=30)
    assert (wrap.home / "shown").read_text() == f"{hostile}-{modules}"
    assert "wrapped already" in wrap("--yes").stdout


def test_a_password_in_a_url_goes_from_the_arguments_to_the_environment(bao, wrap, node, postgres):
    program, script = node
    password = f"{CANARY}/@:%"
    role = sql.Identifier("wrapped_by_mcp")
    postgres.sql(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(password)))
    url = f"postgresql://wrapped_by_mcp:{quote(password, safe='')}@127.0.0.1:{postgres.port}/postgres"
    wrap.write({"db": {"command": program, "args": [script("server-postgres"), url]}})

    async def act(session):
        answer = await session.call_tool("query", {"sql": "SELECT session_user AS who"})
        return json.loads(answer.content[0].text), processes()

    try:
        wrap("--yes")
        assert kept(bao, wrap, "db") == {"PGPASSWORD": password}
        who, running = wrap.start("db", act)
    finally:
        postgres.sql(sql.SQL("DROP ROLE {}").format(role))
    assert who == [{"who": "wrapped_by_mcp"}]
    assert not leaks("".join(running.values()) + wrap.output + wrap.file.read_text())


def test_what_can_be_given_as_an_argument_alone_leaves_the_file_and_is_told(bao, wrap):
    wrap.write({"one": {"command": "true", "args": ["--api-key", CANARY, "it's", "${HOME}/x"]}})
    done = wrap("--yes")
    assert "its program takes MCP_API_KEY as an argument, which all on this machine can read" in done.stderr
    assert wrap.servers()["one"]["args"][-5:] == [
        "sh",
        "-c",
        """exec true --api-key "$MCP_API_KEY" 'it'"'"'s' "$1\"""",
        "sh",
        "${HOME}/x",
    ]
    assert kept(bao, wrap, "one") == {"MCP_API_KEY": CANARY}
    assert not leaks(wrap.output)


def test_several_clients_may_start_the_same_server_at_once_and_each_follows_its_secret(bao, wrap):
    def start(server):
        with (wrap.home / "server.log").open("a") as log:
            command = [server["command"], *server["args"]]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            return subprocess.Popen(command, env=server["env"], stderr=log, **pipes)

    def said(client):
        return json.loads(client.stdout.readline())["method"]

    say = """printf '{"jsonrpc": "2.0", "method": "%s"}\\n' "$API_KEY"; while read -r _; do :; done"""
    wrap.write({"one": {"command": "sh", "args": ["-c", say], "env": {"API_KEY": "canary-1"}}})
    wrap("--yes", "--respawn", "mcp-stdio")
    wrap.config.write_text(wrap.config.read_text().replace('prefix: ""', 'prefix: "", refresh: 200ms'))
    server = wrap.servers()["one"]
    assert server["args"][:4] == ["exec", "--respawn", "mcp-stdio", "--config"]
    clients = [start(server) for _ in range(3)]
    try:
        assert [said(client) for client in clients] == ["canary-1"] * 3
        # A number is free again when its session is over, however that has ended.
        clients[1].kill()
        clients[1].wait()
        again = start(server)
        clients.append(again)
        assert said(again) == "canary-1"
        bao.put(f"{wrap.prefix}/one", API_KEY="canary-2")
        assert [said(client) for client in (clients[0], clients[2], again)] == ["canary-2"] * 3
    finally:
        for client in clients:
            client.stdin.close()
    assert [client.wait(30) for client in clients] == [0, -signal.SIGKILL, 0, 0]
    for client in clients:
        client.stdout.close()
    for folder in ("state", "files"):
        assert {place.name for place in (wrap.memory / "lessee/mcp" / folder / "one").iterdir()} == {"1", "2", "3"}


def test_wrapped_again_nothing_changes(bao, wrap):
    wrap.write(one())
    wrap("--yes")
    before = everything(wrap.home)
    done = wrap("--yes", env={"VAULT_ADDR": "http://127.0.0.1:9"})
    assert done.stdout == "mcpServers.one: wrapped already\n"
    assert everything(wrap.home) == before
    assert bao.ask("GET", f"secret/metadata/{wrap.prefix}/one")["data"]["current_version"] == 1


def test_a_dry_run_shows_it_without_a_value_and_changes_nothing(wrap):
    wrap.write(one(PLAIN="unseen"))
    before = everything(wrap.home)
    done = wrap("--dry-run", env={"VAULT_ADDR": "http://127.0.0.1:9"})
    assert '-    "API_KEY": "***"' in done.stdout
    assert f"mcpServers.one: API_KEY → {wrap.prefix}/one" in done.stdout
    assert "unseen" not in done.stdout
    assert everything(wrap.home) == before
    assert list(wrap.memory.iterdir()) == []


def test_a_secret_that_is_there_is_never_written_over(bao, wrap):
    bao.put(f"{wrap.prefix}/b", API_KEY="canary-of-another", MORE="kept")
    before = wrap.write({name: one()["one"] for name in "ab"})
    done = wrap("--yes", code=73)
    assert f"secret/{wrap.prefix}/b: another value is there of API_KEY; nothing was written" in done.stderr
    assert "canary" not in wrap.output
    assert wrap.file.read_bytes() == before
    with pytest.raises(RuntimeError, match="404"):
        kept(bao, wrap, "a")
    bao.put(f"{wrap.prefix}/b", API_KEY=CANARY, MORE="kept")
    wrap.write({"b": one(SECOND_KEY="canary-second")["one"]})
    wrap("--yes")
    assert kept(bao, wrap, "b") == {"API_KEY": CANARY, "MORE": "kept", "SECOND_KEY": "canary-second"}


def test_a_secret_that_was_deleted_makes_room(bao, wrap):
    bao.put(f"{wrap.prefix}/one", API_KEY="canary-of-another")
    bao.ask("DELETE", f"secret/data/{wrap.prefix}/one")
    wrap.write(one())
    wrap("--yes")
    assert kept(bao, wrap, "one") == {"API_KEY": CANARY}


def test_the_undo_that_it_tells_brings_the_file_back(wrap):
    before = wrap.write(one())
    [line] = [line for line in wrap("--yes").stdout.splitlines() if "undo with" in line]
    undo, remove = line.split("`")[1::2]
    subprocess.run(shlex.split(undo), check=True)
    assert wrap.file.read_bytes() == before
    subprocess.run(shlex.split(remove), check=True)
    assert list(wrap.backups.iterdir()) == []
    wrap("--yes")
    assert not leaks(wrap.file.read_text())


@pytest.mark.timeout(300)  # Twenty runs, each of which starts another.
def test_killed_before_any_step_it_goes_on_when_run_again(bao, tmp_path, memory, folder):
    def ended(step):
        """Whether it came to its end."""
        wrap = Wrapping(bao.address, tmp_path / str(step), memory, f"mcp-{folder}-{step}")
        before = wrap.write(one())
        killed = wrap.killed(step)
        # Where the file is the new one, all that was to be done before is done.
        rewritten = wrap.file.read_bytes() != before
        assert ("wrapped already" in wrap("--yes").stdout) == rewritten
        assert wrap.servers()["one"]["args"][-3:] == ["--", "true", "-x"]
        assert not leaks(wrap.file.read_text())
        assert kept(bao, wrap, "one") == {"API_KEY": CANARY}
        assert wrap.config.parent.joinpath("one.env.j2").exists()
        assert [path.read_bytes() for path in wrap.backups.iterdir() if path.name[0] != "."] == [before]
        assert not [path for path in wrap.home.iterdir() if path.name.endswith(".lessee")]
        return not killed

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(ended, range(1, STEPS + 1)))
    assert done == sorted(done)
    assert (done[0], done[-1]) == (False, True)


@pytest.mark.parametrize(("event", "step"), [("subprocess.Popen", 0), ("os.rename", 0)])
def test_what_somebody_writes_meanwhile_is_not_lost(wrap, event, step):
    before = wrap.write(one())
    done = wrap.at_step(step, event, 73)
    assert "somebody has changed it meanwhile; nothing in it was touched" in done.stderr
    assert wrap.file.read_bytes().rstrip(b"\n") == before
    wrap("--yes")
    assert not leaks(wrap.file.read_text())


def test_links_and_modes_stay(wrap):
    real = wrap.home / "dotfiles/mcp.json"
    real.parent.mkdir()
    wrap.write(one())
    wrap.file.rename(real)
    real.chmod(0o640)
    os.chown(real, os.getuid(), os.getgid())
    wrap.file.symlink_to(real)
    wrap("--yes")
    assert wrap.file.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert not leaks(real.read_text())


def test_what_cannot_be_written_is_told_before_anything_is_done(bao, wrap):
    before = wrap.write(one())
    wrap.file.chmod(0o444)
    assert "it is read-only" in wrap("--yes", code=73).stderr
    wrap.file.chmod(0o644)
    other = wrap.home / "other.json"
    other.hardlink_to(wrap.file)
    assert "it has another name (a hard link)" in wrap("--yes", code=73).stderr
    assert wrap.file.read_bytes() == before
    with pytest.raises(RuntimeError, match="404"):
        kept(bao, wrap, "one")
    assert not wrap.config.exists()


def test_it_asks_before_it_writes(wrap):
    before = wrap.write(one())
    assert "there is no terminal; add --yes" in wrap("--path", wrap.prefix, code=64).stderr
    command = [sys.executable, "-m", "lessee", "mcp", "wrap", str(wrap.file), "--path", wrap.prefix]
    for answer, code in (("n", 64), ("y", 0)):
        terminal = Terminal(*command, env=wrap.environ, cwd=wrap.home)
        try:
            assert not leaks(terminal.until("write all this? [y/N] "))
            assert wrap.file.read_bytes() == before
            terminal.type(f"{answer}\n")
            terminal.until("nothing was written" if code else "give these secrets new values")
            assert terminal.process.wait(15) == code
        finally:
            terminal.close()
    assert not leaks(wrap.file.read_text())


def test_what_exec_cannot_help_is_left_and_told_with_a_way_out(wrap):
    header = {"Authorization": f"Bearer {CANARY}"}
    wrap.write(one() | {"web": {"type": "http", "url": "https://mcp.example/mcp", "headers": header}})
    done = wrap("--yes", code=75)
    assert "mcpServers.web: a secret stands in Authorization; write `${NAME}` there" in done.stderr
    assert not leaks(wrap.output)
    assert wrap.servers()["web"]["headers"] == header
    assert wrap.servers()["one"]["env"] == {"LESSEE_SERVER": "one"}
    assert wrap("--yes", code=75).stdout == "mcpServers.one: wrapped already\n"


def test_apps_are_added_to_a_lessee_yaml_that_is_there(wrap):
    wrap.config.parent.mkdir(parents=True)
    text = f"""\
# mine
vault: {{address: {wrap.environ["VAULT_ADDR"]}, auth: {{method: token, token_file: {wrap.home}/.vault-token}}}}
environment: testing
state: {wrap.memory}/state/${{SERVER:-none}}
apps:
    old: {{directory: {wrap.memory}/old, environ: old.j2}}  # my own

secrets: {{refresh: 2s}}  # last
"""
    wrap.config.write_text(text)
    (wrap.config.parent / "old.j2").write_text("A=b\n")
    wrap.write(one())
    wrap("--yes")
    assert wrap.servers()["one"]["env"] == {"SERVER": "one"}
    added = wrap.config.read_text()
    assert yaml.safe_load(added)["apps"].keys() == {"old", "one"}
    for line in text.splitlines():
        assert f"{line}\n" in added


VAULT = "vault: {address: 'http://127.0.0.1:9', auth: {method: token, token_file: /t}}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("apps: {}\n", "its servers would have one `state`"),
        ("state: /run/x/${S:-n}\n" + VAULT, "two clients that start the same server would have one `state`"),
        ("state: /run/x/${S:-n}/${LESSEE_SESSION:-1}\nenvironment: a\napps: {}\n", "a client hands no .VAULT_TOKEN on"),
        (
            "state: /run/${S:-n}/${LESSEE_SESSION:-1}\nenvironment: a\nvault: {auth: {method: token, token_file: /t}}",
            "in the environment here it means something else",
        ),
        ("state: [", "this is not YAML"),
    ],
)
def test_a_lessee_yaml_that_no_server_could_start_by_is_refused(wrap, text, told):
    wrap.config.parent.mkdir(parents=True)
    wrap.config.write_text(text)
    with pytest.raises(ConfigError, match=told):
        Configuration(None, wrap.environ, respawn=True)


def test_where_apps_cannot_be_added_to_a_lessee_yaml_nothing_is_done(bao, wrap):
    wrap.config.parent.mkdir(parents=True)
    text = f"state: /run/x/${{S:-n}}\nenvironment: a\n{VAULT}\napps: {{}}\n"
    wrap.config.write_text(text)
    before = wrap.write(one())
    assert "its apps stand in braces" in wrap("--yes", code=78).stderr
    assert (wrap.file.read_bytes(), wrap.config.read_text()) == (before, text)
    with pytest.raises(RuntimeError, match="404"):
        kept(bao, wrap, "one")


def test_the_file_stays_where_the_servers_could_not_log_in(bao, wrap):
    role_id, secret_id = bao.approle(wrap.prefix, 'path "secret/data/nothing" { capabilities = ["read"] }')
    for name, value in (("role_id", role_id), ("secret_id", secret_id)):
        (wrap.home / name).write_text(value)
    files = f"role_id_file: {wrap.home}/role_id, secret_id_file: {wrap.home}/secret_id"
    vault = f"{{address: {bao.address}, auth: {{method: approle, {files}}}}}"
    wrap.config.parent.mkdir(parents=True)
    wrap.config.write_text(f"vault: {vault}\nsecrets: {{prefix: ''}}\nstate: {wrap.memory}/s/${{S:-n}}\napps:\n")
    before = wrap.write(one())
    done = wrap("--yes", code=77, env={"VAULT_TOKEN": (wrap.home / ".vault-token").read_text()})
    assert "the client's file is as it was" in done.stderr
    assert wrap.file.read_bytes() == before
    assert not wrap.backups.exists()


def test_where_vault_is_away_nothing_happens(wrap):
    before = wrap.write(one())
    wrap("--yes", code=69, env={"VAULT_ADDR": "http://127.0.0.1:9"})
    assert (wrap.file.read_bytes(), wrap.config.exists()) == (before, False)


@pytest.mark.parametrize(
    ("content", "code", "told"),
    [
        (b'{"mcpServers": {\n"a": 1}}', 78, "mcp.json:2: mcpServers.a: expected an object"),
        (b'{"mcpServers": {"a": {}}}', 0, ""),
    ],
)
def test_a_file_that_is_none_is_told_with_its_line(wrap, content, code, told):
    wrap.file.write_bytes(content)
    done = wrap("--yes", code=code)
    assert told in done.stderr
    assert wrap.file.read_bytes() == content
    assert not wrap.config.exists()


def holding(content):
    return lambda path: path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (holding(b""), "is empty"),
        (holding(b"\xef\xbb\xbf \n"), "is empty"),
        (holding(b"\xff\xfe{\x00"), "is not UTF-8 text"),
        (holding(b" " * ((1 << 24) + 1)), "is larger than 16 MiB"),
        (Path.mkdir, "is no file"),
        (os.mkfifo, "is no file"),
        (lambda path: path.symlink_to(path), "cannot be read"),
        (lambda _: None, "cannot be read: No such file"),
    ],
)
def test_what_is_no_text_is_no_configuration(tmp_path, make, told):
    make(tmp_path / "mcp.json")
    with pytest.raises(ConfigError, match=told), client_file.opened(tmp_path / "mcp.json") as original:
        assert original.text


def test_a_huge_file_takes_no_minute_and_keeps_its_byte_order_mark(wrap):
    rest = {f"project-{number}": {"history": ["x" * 50] * 200} for number in range(200)}
    text = json.dumps({"projects": {"/p": {"mcpServers": one()}}, "rest": rest}, indent=1)
    wrap.file.write_text("\ufeff" + text)
    wrap("--yes")
    after = wrap.file.read_text()
    assert after[0] == "\ufeff"
    assert json.loads(after[1:])["rest"] == rest
    assert not leaks(after)


def test_without_a_login_it_is_told_how_to_get_one(wrap):
    wrap.write(one())
    (wrap.home / ".vault-token").unlink()
    assert "log in with `bao login`" in wrap("--yes", code=78).stderr
