"""The policies of components and apps."""

import re

import pytest

from lessee.config.parsing import parse
from lessee.ops.setup.policy.component_policies import of_app, of_component
from lessee.rendering.app_templates import compile_apps, path_scope_of
from lessee.rendering.templates import Compiler

RULE = re.compile(r'path "(.*)" \{\n  capabilities = \[(.*)\]\n\}')


def rules(text):
    return {path: set(capabilities.replace('"', "").split(", ")) for path, capabilities in RULE.findall(text)}


def granted(*capabilities, folders=("",)):
    return rules(of_component("testing-a", capabilities, folders, "kv", "testing/"))


def test_read_grants_values_and_versions_but_no_names():
    assert granted("read") == {"kv/data/testing/*": {"read"}, "kv/metadata/testing/*": {"read"}}


def test_list_grants_names_but_no_values():
    assert granted("list") == {"kv/metadata/testing/*": {"list"}, "kv/detailed-metadata/testing/*": {"list"}}


def test_all_grants_every_capability_and_the_settings():
    every = granted("read", "create", "update", "delete", "list")
    whole = granted("all")
    assert whole.keys() == every.keys()
    assert whole["kv/metadata/testing/*"] - every["kv/metadata/testing/*"] == {"create", "patch", "update"}
    assert whole | {"kv/metadata/testing/*": set()} == every | {"kv/metadata/testing/*": set()}


@pytest.mark.parametrize("capability", ["read", "create", "update", "delete", "list", "all"])
def test_no_rule_reaches_outside_the_prefixes(capability):
    paths = granted(capability, folders=("database/", "mcp/"))
    assert {path.split("/", 2)[2] for path in paths} == {"testing/database/*", "testing/mcp/*"}


def test_each_rule_has_a_comment_with_its_purpose():
    text = of_component("testing-a", ["read", "list"], ("",), "kv", "testing/")
    assert text.startswith("# testing-a: list, read below kv/testing/\n\n# read: values\npath ")
    assert "# read: versions, without values\n# list: names, without values\npath" in text


def test_an_app_may_read_what_its_templates_read_on_vault_and_openbao():
    app = '{"web": {"directory": "/run/web", "files": [{"template": "a.j2"}]}}'
    config = parse(f'{{"environment": "testing", "apps": {app}}}', source="x", environ={})
    template = '{{ secret("a/b").c }}{{ secret("a/d").c }}{{ dynamic("{environment}/database/creds/x").username }}'
    compiled_app = compile_apps(config, Compiler(lambda _: template, path_scope_of(config)))["web"]
    text = of_app("testing-web", compiled_app)
    assert text.startswith("# testing-web: what the templates of web read\n")
    found = rules(text)
    assert found["secret/detailed-metadata/testing/a/"] == {"list"}
    assert found["secret/metadata/testing/a/b"] == {"read"}
    assert found["testing/database/creds/x"] == {"read"}
    assert found["auth/token/revoke-self"] == {"update"}
    assert not [path for path in found if "*" in path]
