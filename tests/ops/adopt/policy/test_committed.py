"""What an adopted project tells its clones is believed only where adopt could have written it."""

import json

import pytest
from msgspec.structs import replace as changed

from lessee.config.grammar.setup import Setup
from lessee.config.parsing import parse
from lessee.core.errors import ConfigError
from lessee.core.immutable import replace
from lessee.ops.adopt.policy.committed import (
    Committed,
    added_lines,
    check_configuration,
    has_plaintext,
    is_contained,
    read,
    references_in,
    text_of,
)
from lessee.ops.adopt.policy.model import AdoptedField, Deployment, Part, Rendered

LINE = "DB_PASSWORD=ref+openbao://database/postgres#password"
VAULT = "https://vault:8200"
OWN = Committed(
    "0123456789abcdef",
    "shop",
    "production",
    ("compose.yaml", "deploy/compose.prod.yml"),
    Deployment(VAULT, ca_file=True),
    (("db", "POSTGRES_PASSWORD"),),
    (AdoptedField("database/postgres", "password", (("db", "POSTGRES_PASSWORD"),)),),
    (Rendered("db", "POSTGRES_PASSWORD", (Part(path="database/postgres", field="password"),)),),
    {".env": (LINE,)},
)
CONFIG = f"""\
environment: production
vault:
  address: {VAULT}
  auth: {{method: approle, role_id_file: /run/identity/role_id, secret_id_file: /run/identity/secret_id}}
apps: {{}}
setup: {{environments: [production], project: shop}}
"""


def config(text=CONFIG):
    return parse(text, source="lessee.yaml", environ={}, blocks=("setup", "rotation"))


def test_the_file_is_read_as_it_was_written_and_has_no_value():
    text = text_of(OWN)
    assert read(text.encode()) == OWN
    assert text.endswith("}\n")
    assert json.loads(text)["stored"][0] == {
        "path": "database/postgres",
        "field": "password",
        "uses": [["db", "POSTGRES_PASSWORD"]],
    }


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"id": 1}'])
def test_another_file_is_refused(content):
    with pytest.raises(ConfigError) as caught:
        read(content)
    assert str(caught.value).startswith("lessee/adoption.json: not a file of this version of `lessee adopt`; restore")


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("version", 2, "version 2 is of another version of lessee"),
        ("id", "0123", "id is not one of `lessee adopt`"),
        ("environment", "a\nvault: {address: https://evil}", "environment is no name of an environment"),
        ("environment", "", "environment is no name of an environment"),
        ("project", "../shop", "project is no name of a Compose project"),
        ("deployment", Deployment(VAULT, image="--help"), "image is no name of an image"),
        ("files", (), "files names no Compose file"),
        ("files", ("../compose.yaml",), "'../compose.yaml' in files is no Compose file of the project"),
        ("files", ("/etc/compose.yaml",), "'/etc/compose.yaml' in files is no Compose file of the project"),
        ("files", (".env",), "'.env' in files is no Compose file of the project"),
        ("references", {"../.env": ()}, "'../.env' in references is no file of variables of the project"),
        ("references", {".git/config": ()}, "'.git/config' in references is no file of variables of the project"),
        ("references", {"a.yaml": ()}, "'a.yaml' in references is no file of variables of the project"),
        ("references", {".env": ("A=1",)}, "references of '.env' have a line that is no reference"),
        ("references", {".env": (f"{LINE}\u202e",)}, "references of '.env' have a line that is no reference"),
        ("references", {".env": (f"COMPOSE_FILE={LINE}",)}, "references of '.env' have a line that is no reference"),
        ("references", {".env": (f"{LINE}\nA=1",)}, "references of '.env' have a line that is no reference"),
    ],
)
def test_a_file_that_adopt_would_not_have_written_is_refused(field, value, what):
    with pytest.raises(ConfigError) as caught:
        read(text_of(replace(OWN, **{field: value})).encode())
    assert str(caught.value) == (
        f"lessee/adoption.json: {what}; restore the file as it was committed; if you do not know who wrote it, do not"
        " start this project"
    )


@pytest.mark.parametrize("name", [".env", "app.env", "config/web/app.env", ".env.local"])
def test_files_of_the_project_are_contained(name):
    assert is_contained(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/../b", "./a", "a//b", "/a", ".lessee/a", "lessee/a", ".git", "a\n"])
def test_other_paths_are_not_contained(name):
    assert not is_contained(name)


def test_the_configuration_of_adopt_is_believed():
    check_configuration(OWN, config(), config())


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"environment": "staging"}, "environment: lessee/adoption.json names production"),
        ({"setup": Setup(environments=("production",), project="other")}, "setup: it sets up more than the roles"),
        (
            {"setup": Setup(environments=("production",), project="shop", components={"evil": ("all",)})},
            "setup: it sets up more than the roles of this project's services",
        ),
        ({"secrets": changed(config().secrets, prefix="")}, "secrets: the templates would read outside of the"),
        ({"vault": changed(config().vault, address="https://evil:8200")}, "vault: a login is not for your Vault at"),
        ({"vault": changed(config().vault, namespace="evil")}, f"vault: a login is not for your Vault at {VAULT}"),
        ({"vault": changed(config().vault, tls_skip_verify=True)}, "vault: a login is not for your Vault at"),
    ],
)
def test_a_configuration_that_does_more_is_refused(change, where):
    with pytest.raises(ConfigError) as caught:
        check_configuration(OWN, changed(config(), **change), config())
    assert str(caught.value).startswith(f"lessee/lessee.yaml: {where}")


def test_the_lines_with_references_are_found():
    url = "# export URL=postgres://a:ref+openbao://database#password+@db"
    whole = "ref+openbao://applications/db#secret"
    content = f"A=1\n{LINE}\r\n{url}\n  two words ref+openbao://a#b\n{whole}\n"
    assert references_in(content.encode()) == (LINE, url, whole)


def test_a_new_file_has_what_another_clone_has_or_at_least_the_references():
    assert added_lines(None, "A=1\n", (LINE,)) == "A=1\n"
    assert added_lines(None, None, (LINE, "# B=ref+openbao://a#b")) == f"{LINE}\n# B=ref+openbao://a#b\n"


@pytest.mark.parametrize(
    ("content", "added"),
    [
        (b"TAG=1\n", f"{LINE}\n"),
        (b"TAG=1", f"\n{LINE}\n"),
        (b"", f"{LINE}\n"),
        (b"DB_PASSWORD=1\n", ""),
        (b"  export DB_PASSWORD=1", ""),
    ],
)
def test_a_file_that_exists_gets_only_what_it_does_not_name(content, added):
    assert added_lines(content, "B=2\n", (LINE, "ref+openbao://a#b")) == added


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"DB_PASSWORD=1\n", True),
        (b"A=1\n", False),
        (b"# DB_PASSWORD=1\n", False),
        (f"{LINE}\n".encode(), False),
        (b"a line of another kind", False),
    ],
)
def test_a_variable_with_a_value_of_its_own_is_plaintext(content, found):
    assert has_plaintext(content, (LINE, "ref+openbao://a#b")) is found
