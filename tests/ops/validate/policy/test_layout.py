"""The folder of a secret says which component it belongs to."""

import pytest

from lessee.ops.validate.policy.layout import component_of


@pytest.mark.parametrize(
    ("path", "component"),
    [
        ("database/postgres", "database"),
        ("api-keys/team/openai", "api_keys"),
        ("storage/minio", "storage"),
        ("cache/database", "mcp_cache"),
        ("mcp/memory-service", "mcp_auth"),
        ("frontend/app", "frontend"),
        ("web/tls", "secrets"),
        ("database", "secrets"),
    ],
)
def test_a_secret_belongs_to_the_component_of_its_folder(path, component):
    assert component_of(path) == component
