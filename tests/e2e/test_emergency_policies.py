"""Which policies reach an environment is judged as the server judges it."""

import json

import pytest
from hypothesis import given

from lessee.ops.access.policy.reach import Region, reach
from lessee.ops.access.policy.rules import capabilities, rules_of
from lessee.ops.incident.policy.exposure import VIEWS
from support.environments.leak import World
from support.inputs.random_policies import policies

READING = {"read", "list", "create", "update", "patch", "scan"}
LISTING = {"list", "scan"}


@pytest.fixture(scope="module")
def judges(tmp_path_factory, postgres):
    """A world in which nothing is struck."""
    with World(tmp_path_factory.mktemp("judges"), postgres) as world:
        yield world


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
"""Paths, and what is granted there; each is written in HCL and in JSON."""


def written(granted):
    hcl = "".join(f'path "{path}" {{ capabilities = ["{name}"] }}\n' for path, name in granted.items())
    return hcl, json.dumps({"path": {path: {"capabilities": [name]} for path, name in granted.items()}})


WORDS = ("a", "b", "ab", "+b", "q")
TAILS = ["", *WORDS, *(f"{one}/{two}" for one in WORDS for two in WORDS), "a/b/q", "ab/q/b"]


def judge(world, text, paths, regions):
    """Whether we judge a policy as the server does: at each of the paths, and as a whole."""
    world.policy("judged", text)
    token = world.token("judged", no_default_policy=True, ttl="1m")
    rules = rules_of(text, "policy")
    found = reach(rules, regions)
    asked = [*paths, *([] if found is None else [found.path])]
    answer = world.bao.ask("POST", "sys/capabilities", {"token": token, "paths": asked})["data"]
    said = {path: set(answer[path]) - {"deny"} for path in asked}
    assert said == {path: capabilities(rules, path) for path in asked}
    reached = [
        path
        for path in asked
        if any(path in region for region in regions) and said[path] & (LISTING if path.endswith("/") else READING)
    ]
    if found is None:
        assert reached == []
    else:
        # How a listing is matched differs from server to server: it is enough that one of them grants it.
        assert reached or found.path.endswith("/")


@pytest.mark.parametrize("granted", TRICKY, ids=str)
def test_policies_are_judged_as_the_server_judges_them(judges, granted):
    paths = [
        f"secret/{view}/{name}/{tail}{end}"
        for view in VIEWS
        for name in ("production", "testing")
        for tail in TAILS
        for end in ("", "/" * bool(tail))
    ]
    paths += ["secret/data/production", "secret/metadata/", "secret/", "production/database/creds/simba"]
    for text in written(granted):
        judge(judges, text, paths, [Region(f"secret/{view}/production/") for view in VIEWS])


@given(policies())
def test_whatever_policies_there_are_they_are_judged_as_the_server_judges_them(judges, text):
    paths = [f"{root}{tail}{end}" for root in ("a/", "a/b/", "b/") for tail in TAILS for end in ("", "/" * bool(tail))]
    judge(judges, text, paths, [Region("a/b/")])
