"""Adopted projects that share an environment of a Vault keep their roles, policies and logins apart."""

import json
import shutil
from contextlib import closing

import pytest

from lessee.core.errors import DeniedError
from lessee.host.openbao import ROOT_TOKEN
from lessee.vault.admin import AdminClient
from lessee.vault.transport import Address, Transport
from support.programs.adopting import AdoptedProject
from support.servers.fault_proxy import Status

ONE, OTHER = "sk-canary-one-Nn7Bb6Vv5Cc4Xx3", "sk-canary-other-Pp9Oo8Ii7Uu6Yy5"


@pytest.fixture
def vault(bao):
    with closing(Transport(Address(bao.address))) as transport:
        yield AdminClient(transport, ROOT_TOKEN)


@pytest.fixture
def make(bao, tmp_path, folder):
    """A function that makes a project in a folder of its own, with one service and its variables."""

    def make(name, service, /, *, clone="", environment="", **variables):
        lines = [f"name: {name}", "services:", f"  {service}:", "    build: .", "    environment:"]
        lines += [f"      {variable}: {value}" for variable, value in variables.items()]
        found = AdoptedProject(
            tmp_path / (clone or name), "\n".join([*lines, ""]), VAULT_ADDR=bao.address, VAULT_TOKEN=ROOT_TOKEN
        )
        found.options = ("--environment", environment or folder)
        return found

    return make


def can_read(vault, project, role, path):
    """Whether the agent of the project reads a secret with the login of its files."""
    place = project.folder / ".lessee/identity" / project.options[1] / role
    login = {name: (place / name).read_text() for name in ("role_id", "secret_id")}
    try:
        token = vault.write("auth/approle/login", login)
    except DeniedError:
        return False
    return vault.with_token(token.auth["client_token"]).read(f"secret/data/{project.options[1]}/{path}") is not None


@pytest.mark.thorough
def test_services_of_the_same_name_in_two_projects_have_a_role_each(make, vault, folder):
    one, other = make("books", "web", OPENAI_API_KEY=ONE), make("shoes", "web", STRIPE_API_KEY=OTHER)
    for project in (one, other):
        project.adopt(*project.options)
    assert can_read(vault, one, f"{folder}-books-web", "api-keys/openai") is True
    assert can_read(vault, other, f"{folder}-shoes-web", "api-keys/stripe") is True
    other.adopt("--undo", code=None)
    assert can_read(vault, one, f"{folder}-books-web", "api-keys/openai") is True
    roles = vault.list("auth/approle/role")
    assert (f"{folder}-books-web" in roles, f"{folder}-shoes-web" in roles) == (True, False)


def cloned(project, make, name, **variables):
    """A clone of the project with the files that its person has committed."""
    found = make("shop", "web", clone=name, **variables)
    shutil.copy(project.folder / "compose.lessee.yaml", found.folder)
    shutil.copytree(project.folder / "lessee", found.folder / "lessee")
    return found


@pytest.mark.thorough
def test_the_undo_of_one_clone_leaves_the_login_of_another(make, vault, folder):
    one = make("shop", "web", clone="one", OPENAI_API_KEY=ONE)
    one.adopt(*one.options)
    other = cloned(one, make, "other", OPENAI_API_KEY=ONE)
    other.adopt(*other.options)
    role = f"{folder}-shop-web"
    said = one.adopt("--undo").stderr
    assert f"role {role} stays in Vault, because other logins have it" in said
    assert can_read(vault, other, role, "api-keys/openai") is True
    assert len(vault.list(f"auth/approle/role/{role}/secret-id")) == 1
    other.adopt("--undo")
    assert role not in vault.list("auth/approle/role")
    assert role not in vault.list("sys/policies/acl")


@pytest.mark.thorough
def test_a_clone_with_more_secrets_is_adopted_and_another_project_of_this_name_is_refused(make, vault, folder):
    one = make("shop", "web", clone="one", OPENAI_API_KEY=ONE)
    one.adopt(*one.options)
    more = cloned(one, make, "more", OPENAI_API_KEY=ONE, STRIPE_API_KEY=OTHER)
    more.adopt(*more.options)
    more.adopt()
    role = f"{folder}-shop-web"
    assert can_read(vault, one, role, "api-keys/stripe") is True
    others = make("shop", "web", clone="others", STRIPE_API_KEY=OTHER)
    done = others.adopt(*others.options, code=73)
    assert (
        f"auth/approle/role/{role}: another project of the name shop uses this role; nothing was changed; if this is a"
        " clone of it, take over its compose.lessee.yaml and lessee/" in done.stderr
    )
    assert sorted(path.name for path in others.folder.iterdir()) == ["Dockerfile", "compose.yaml"]
    for project in (one, more):
        assert can_read(vault, project, role, "api-keys/openai") is True


def test_a_role_whose_name_only_looks_like_the_projects_is_refused(make, vault, folder):
    """ENVIRONMENT-PROJECT-SERVICE may be cut in several ways."""
    one = make("a-b", "c", OPENAI_API_KEY=ONE)
    one.adopt(*one.options)
    other = make("a", "b-c", STRIPE_API_KEY=OTHER)
    done = other.adopt(*other.options, code=73)
    where = f"auth/approle/role/{folder}-a-b-c"
    assert f"{where}: project a-b of environment {folder} uses this role; nothing was changed" in done.stderr
    assert can_read(vault, one, f"{folder}-a-b-c", "api-keys/openai") is True


def test_the_undo_removes_the_roles_of_services_that_are_gone_too(make, vault, folder):
    project = make("shop", "web", OPENAI_API_KEY=ONE)
    project.adopt(*project.options)
    project.write("compose.yaml", (project.folder / "compose.yaml").read_text().replace("  web:", "  api:"))
    project.adopt()
    project.adopt("--undo")
    assert [name for name in vault.list("auth/approle/role") if name.startswith(folder)] == []


@pytest.mark.thorough(each=3)
@pytest.mark.parametrize("data", [["a"], "a", {"chunks": "x"}, None])
def test_an_answer_of_another_form_is_an_error_with_its_path(proxy, tmp_path, data):
    """The server is not a Vault, or another program has written there."""
    compose = "services: {web: {build: ., environment: {OPENAI_API_KEY: sk-canary-one-Nn7Bb6Vv5Cc4Xx3}}}\n"
    address = f"http://127.0.0.1:{proxy.port}"
    project = AdoptedProject(tmp_path / "shop", compose, VAULT_ADDR=address, VAULT_TOKEN=ROOT_TOKEN)
    body = json.dumps({"data": {"data": data, "metadata": ["a"]}})
    proxy.on_path("secret/data/", Status(200, {}, body.encode()))
    done = project.adopt("--environment", "one", code=None)
    assert done.returncode in {70, 73, 77}, done.stderr
    assert "internal error" not in done.stderr
    assert "secret/data/one/" in done.stderr
    assert sorted(path.name for path in project.folder.iterdir() if path.name != ".lessee") == [
        "Dockerfile",
        "compose.yaml",
    ]
