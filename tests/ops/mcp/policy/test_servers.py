"""The servers of a client's file are found in each of the known formats."""

import pytest

from lessee.core.errors import ConfigError
from lessee.ops.mcp.policy.jsonc import parse
from lessee.ops.mcp.policy.servers import find_servers, has_servers


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{}", "f: the file has neither `mcpServers` nor `servers`; pass an mcp.json"),
        ('{"mcp": {}, "projects": 1}', "f: the file has neither"),
        ('{"mcpServers": 1}', "f:1: mcpServers: expected an object"),
        ('{"mcpServers": {"a": 1}}', "f:1: mcpServers.a: expected an object"),
    ],
)
def test_a_file_without_servers_is_rejected(text, error):
    with pytest.raises(ConfigError) as caught:
        find_servers(parse(text, "f"), "f")
    assert str(caught.value).startswith(error)


@pytest.mark.parametrize(
    ("text", "found"),
    [("{}", False), ('{"mcp": {}}', False), ('{"mcp": {"servers": {}}}', True), ('{"servers": 1}', True)],
)
def test_a_file_of_other_settings_has_no_servers(text, found):
    assert has_servers(parse(text, "f")) is found
