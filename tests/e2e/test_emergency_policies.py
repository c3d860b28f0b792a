"""lessee determines the access of policies to an environment as the server does."""

import json

import pytest
from hypothesis import given

from lessee.ops.access.policy.reach import Region, reach
from lessee.ops.access.policy.rules import capabilities, rules_of
from lessee.ops.incident.policy.exposure import VIEWS
from support.environments.leak import LeakScenario
from support.inputs.random_policies import policies

READING = {"read", "list", "create", "update", "patch", "scan"}
LISTING = {"list", "scan"}


@pytest.fixture(scope="module")
def scenario(tmp_path_factory, postgres):
    """A server without an emergency."""
    with LeakScenario(tmp_path_factory.mktemp("policies"), postgres) as scenario:
        yield scenario


TRICKY = [
    {"secret/*": "read", "secret/data/production/*": "deny"},
    {"secret/+/production/+": "read", "secret/data/+/a": "deny"},
    {"secret/data/+/a*": "update", "secret/data/production/*": "list"},
    {"secret/metadata/production": "list"},
    {"secret/metadata/production/": "list"},
    {"secret/metadata/+/": "list"},
    {"+/data/production/a/b": "create"},
    {"secret/data/production/a/": "read"},
    {"secret/data/production/+b": "read"},
    {"secret/data/p*": "sudo", "secret/data/production/+/*": "read"},
    {"/secret/data/production/b": "patch"},
    {"secret/+/+/a": "create", "secret/data/*": "deny"},
    {"secret/+/production/a*": "read", "secret/+/production/ab*": "deny"},
    {"secret/+/+/+": "read", "secret/+/+/a": "deny", "secret/+/+/*": "deny"},
    {"*": "read", "secret/*": "deny"},
    {"secret/data/production/*": "deny", "secret/data/production/a": "read", "secret/data/production/+/b": "list"},
]
"""Paths with a granted capability; each policy is tested in HCL and in JSON."""


def policy_texts(granted):
    hcl = "".join(f'path "{path}" {{ capabilities = ["{name}"] }}\n' for path, name in granted.items())
    return hcl, json.dumps({"path": {path: {"capabilities": [name]} for path, name in granted.items()}})


WORDS = ("a", "b", "ab", "+b", "q")
TAILS = ["", *WORDS, *(f"{first}/{second}" for first in WORDS for second in WORDS), "a/b/q", "ab/q/b"]


def check_access(scenario, text, paths, regions):
    """Check that lessee and the server agree on a policy, for each path and for the whole regions."""
    scenario.policy("checked", text)
    token = scenario.token("checked", no_default_policy=True, ttl="1m")
    rules = rules_of(text, "policy")
    found = reach(rules, regions)
    checked = [*paths, *([] if found is None else [found.path])]
    answer = scenario.bao.ask("POST", "sys/capabilities", {"token": token, "paths": checked})["data"]
    by_server = {path: set(answer[path]) - {"deny"} for path in checked}
    assert by_server == {path: capabilities(rules, path) for path in checked}
    accessible = [
        path
        for path in checked
        if any(path in region for region in regions) and by_server[path] & (LISTING if path.endswith("/") else READING)
    ]
    if found is None:
        assert accessible == []
    else:
        # Servers match the paths of lists differently: it is enough that one of them grants it.
        assert accessible or found.path.endswith("/")


@pytest.mark.thorough(each=2)
@pytest.mark.parametrize("granted", TRICKY, ids=str)
def test_access_of_policies_is_determined_as_by_the_server(scenario, granted):
    paths = [
        f"secret/{view}/{name}/{tail}{end}"
        for view in VIEWS
        for name in ("production", "testing")
        for tail in TAILS
        for end in ("", "/" * bool(tail))
    ]
    paths += ["secret/data/production", "secret/metadata/", "secret/", "production/database/creds/simba"]
    for text in policy_texts(granted):
        check_access(scenario, text, paths, [Region(f"secret/{view}/production/") for view in VIEWS])


@pytest.mark.thorough
@given(policies())
def test_access_of_random_policies_is_determined_as_by_the_server(scenario, text):
    paths = [f"{root}{tail}{end}" for root in ("a/", "a/b/", "b/") for tail in TAILS for end in ("", "/" * bool(tail))]
    check_access(scenario, text, paths, [Region("a/b/")])
