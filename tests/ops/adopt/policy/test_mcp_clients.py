"""The files of MCP clients that adopt looks for."""

from pathlib import PurePosixPath

from lessee.ops.adopt.policy.mcp_clients import CLIENTS


def test_each_file_is_below_the_projects_folder_and_belongs_to_one_client():
    paths = [PurePosixPath(client.path) for client in CLIENTS]
    assert not any(path.is_absolute() or ".." in path.parts for path in paths)
    assert len(set(paths)) == len(paths)


def test_the_clients_that_the_templates_name_keep_their_sessions():
    known = {client.path for client in CLIENTS if client.has_long_sessions}
    assert {".mcp.json", ".cursor/mcp.json", ".vscode/mcp.json", "claude_desktop_config.json"} <= known
    assert "mcp.json" not in known
