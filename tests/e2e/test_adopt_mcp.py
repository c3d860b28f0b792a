"""The MCP servers of an adopted project start with secrets from Vault, and their files are put back byte for byte."""

import json
import sys

import pytest

from lessee.core.errors import WriteError
from lessee.core.redaction import forms
from lessee.ops.adopt.mcp import CONFIG, apply_mcp, plan_mcp, undo_mcp
from support.paths import ROOT
from support.programs.mcp_wrap import McpHome

CANARY = "canary-adopted-9d2b"
SERVER = str(ROOT / "tests/support/programs/mcp_stdio_server.py")


@pytest.fixture
def home(bao, tmp_path, memory, folder):
    found = McpHome(bao.address, tmp_path / "home", memory, "mcp")
    found.environ["LESSEE_ENVIRONMENT"] = folder
    return found


@pytest.fixture
def project(tmp_path):
    path = tmp_path / "project"
    path.mkdir()
    return path


def configuration(project, name, value=CANARY, key="mcpServers"):
    file = project / name
    file.parent.mkdir(exist_ok=True)
    servers = {"who": {"command": sys.executable, "args": [SERVER], "env": {"VALUE": "x", "API_TOKEN": value}}}
    file.write_text(f"// mine\n{json.dumps({key: servers}, indent=4)}\n")
    return file


def applied(plan, project, home):
    lines = [*plan.lines()]
    edits = tuple(apply_mcp(plan, project, home.environ, lines.append))
    assert not [form for form in forms(CANARY) if form in "\n".join(lines)]
    return edits


def test_all_known_files_are_wrapped_used_and_put_back(bao, home, project):
    claude = configuration(project, ".mcp.json")
    code = configuration(project, ".vscode/mcp.json", key="servers")
    plain = configuration(project, "mcp.json", value="")
    (project / ".vscode/settings.json").write_text('{"editor.tabSize": 4}')
    before = {path: path.read_bytes() for path in (claude, code, plain)}
    plan = plan_mcp(project, home.environ)
    assert ([file.path for file in plan.files], plan.steps) == ([".mcp.json", ".vscode/mcp.json"], ())
    assert plan.originals == {".mcp.json": before[claude], ".vscode/mcp.json": before[code]}
    assert "  mcpServers.who: API_TOKEN → mcp/who; started by `lessee exec`, restarted within the session" in [
        *plan.lines()
    ]
    edits = applied(plan, project, home)
    environment = home.environ["LESSEE_ENVIRONMENT"]
    assert bao.ask("GET", f"secret/data/{environment}/mcp/who")["data"]["data"] == {"API_TOKEN": CANARY}
    assert CANARY not in claude.read_text() + code.read_text()
    assert claude.read_text().startswith("// mine\n")
    written = [path for path in (project / "lessee").rglob("*") if path.is_file()]
    assert project / CONFIG in written
    assert not any(CANARY in path.read_text() for path in written)

    home.file = project / "wrapped.json"
    home.file.write_text(claude.read_text().removeprefix("// mine\n"))
    assert "--respawn" in home.servers()["who"]["args"]

    async def use(session):
        answer = await session.call_tool("who", {})
        return answer.content[0].text

    assert home.start("who", use).startswith("x ")

    again = plan_mcp(project, home.environ)
    assert (again.files, again.steps) == ((), ())
    assert undo_mcp(project, edits, plan.originals) == ()
    assert {path: path.read_bytes() for path in before} == before
    assert undo_mcp(project, edits, plan.originals) == ()


def test_a_file_that_changes_meanwhile_is_not_overwritten(home, project):
    file = configuration(project, ".mcp.json")
    plan = plan_mcp(project, home.environ)
    changed = file.read_text() + "\n"
    file.write_text(changed)
    with pytest.raises(WriteError, match="the file was changed since it was read; run adopt again"):
        applied(plan, project, home)
    assert file.read_text() == changed

    edits = applied(plan_mcp(project, home.environ), project, home)
    mine = file.read_text().replace("mine", "mine again")
    file.write_text(mine)
    [step] = undo_mcp(project, edits, {".mcp.json": changed.encode()})
    assert "the file was changed since it was adopted" in str(step)
    assert file.read_text() == mine
    file.unlink()
    [step] = undo_mcp(project, edits, {".mcp.json": changed.encode()})
    assert "the file cannot be read" in str(step)


def test_a_client_whose_sessions_are_not_known_gets_no_second_process(home, project):
    file = configuration(project, "mcp.json")
    edits = applied(plan_mcp(project, home.environ), project, home)
    assert len(edits) == 1
    assert "--once" in file.read_text()
    assert "--respawn" not in file.read_text()


def test_what_cannot_be_wrapped_is_left_to_a_person_with_its_place(home, project):
    (project / ".mcp.json").write_text('{"mcpServers": ')
    configuration(project, ".cursor/mcp.json")
    (project / "mcp.json").write_text(
        json.dumps({"mcpServers": {"a": {"url": "https://x", "headers": {"Authorization": f"Bearer {CANARY}"}}}})
    )
    (home.home / ".vault-token").unlink()
    plan = plan_mcp(project, home.environ)
    assert plan.files == ()
    assert [step.where.partition(":")[0] for step in plan.steps] == [".mcp.json", ".cursor/mcp.json", "mcp.json"]
    assert "run `lessee mcp wrap .cursor/mcp.json` yourself" in str(plan.steps[1])
    assert CANARY not in "".join(map(str, plan.steps))
