"""A server after a leak, as it is seen."""

import pytest

from lessee.config.parsing import parse
from lessee.ops.incident.policy.exposure import Mount, exposure
from lessee.ops.incident.policy.findings import Sight, Token
from lessee.ops.incident.policy.targets import struck

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
def sight(token):
    """What is seen of production, for the root token unless it is said otherwise."""

    def make(**seen):
        config = parse("environment: production", source="lessee.yaml", environ={})
        mounts = (Mount("secret/", "kv", 2), Mount("production/database/", "database"))
        exposed = seen.pop("exposure", None) or exposure(config, "production", None, mounts, ())
        policies = seen.pop("policies", POLICIES)
        own = seen.pop("own", token("own", "root"))
        return Sight(exposure=exposed, own=own, policies=policies, struck=struck(policies, exposed.regions), **seen)

    return make
