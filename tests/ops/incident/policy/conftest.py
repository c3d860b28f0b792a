"""Findings on a server after a leak."""

import pytest

from lessee.config.parsing import parse
from lessee.ops.incident.policy.exposure import Mount, determine_exposure
from lessee.ops.incident.policy.findings import Findings, Token
from lessee.ops.incident.policy.targets import affected_policies

POLICIES = {
    "app": 'path "secret/data/production/*" { capabilities = ["read"] }',
    "other": 'path "secret/data/testing/*" { capabilities = ["read"] }',
    "admin": 'path "auth/*" { capabilities = ["create", "update", "sudo"] }',
    "templated": 'path "secret/data/{{identity.entity.name}}/*" { capabilities = ["read"] }',
    "broken": 'path "secret',
    "root": "",
}


@pytest.fixture
def token():
    def make(accessor, *policies, created=100.0, orphan=True, path="auth/token/create"):
        return Token(accessor, f"name-{accessor}", frozenset(policies), path, created, orphan)

    return make


@pytest.fixture
def findings(token):
    """Findings for production, with the root token as the own token by default."""

    def make(**found):
        config = parse("environment: production", source="lessee.yaml", environ={})
        mounts = (Mount("secret/", "kv", 2), Mount("production/database/", "database"))
        exposed = found.pop("exposure", None) or determine_exposure(config, "production", None, mounts, ())
        policies = found.pop("policies", POLICIES)
        own = found.pop("own", token("own", "root"))
        return Findings(
            exposure=exposed,
            own_token=own,
            policies=policies,
            affected_policies=affected_policies(policies, exposed.regions),
            **found,
        )

    return make
