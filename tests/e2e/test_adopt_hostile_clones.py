"""`lessee adopt` in a clone that an attacker prepared: it tells what the files want, and gives them nothing else."""

import json
import shutil
import socket
from contextlib import closing, contextmanager

import pytest

from lessee.host.openbao import ROOT_TOKEN
from lessee.vault.admin import AdminClient
from lessee.vault.transport import Address, Transport
from support.programs.adopting import AdoptedProject

SECRET, OTHER = "sk-canary-one-Nn7Bb6Vv5Cc4Xx3", "sk-canary-other-Pp9Oo8Ii7Uu6Yy5"
COMPOSE = f"""\
name: shop
services:
  web:
    build: .
    environment:
      OPENAI_API_KEY: {SECRET}
"""


@pytest.fixture
def vault(bao):
    with closing(Transport(Address(bao.address))) as transport:
        yield AdminClient(transport, ROOT_TOKEN)


@pytest.fixture
def adopted(bao, tmp_path, folder):
    """A project that its person has adopted, but for the edits of its files: there is no Engine."""
    found = AdoptedProject(tmp_path / "shop", COMPOSE, VAULT_ADDR=bao.address, VAULT_TOKEN=ROOT_TOKEN)
    found.adopt("--environment", folder)
    found.environment = folder
    return found


@pytest.fixture
def clone(adopted, tmp_path):
    """A clone of it, in the folder of another person, whose Vault is the same."""
    found = AdoptedProject(tmp_path / "home/shop", COMPOSE, **adopted.environ)
    found.environ["HOME"] = str(tmp_path / "home")
    for name in ("compose.lessee.yaml", "lessee"):
        copy = shutil.copytree if (adopted.folder / name).is_dir() else shutil.copy
        copy(adopted.folder / name, found.folder / name)
    found.environment = adopted.environment
    return found


def files(project):
    return {
        str(path.relative_to(project.folder)): path.read_bytes() for path in project.folder.rglob("*") if path.is_file()
    }


def change(project, name, old, new):
    text = (project.folder / name).read_text()
    assert old in text
    project.write(name, text.replace(old, new))


def adoption(project, **fields):
    file = project.folder / "lessee/adoption.json"
    project.write("lessee/adoption.json", json.dumps(json.loads(file.read_text()) | fields))


def roles(vault, project):
    return {
        name: (len(vault.list(f"auth/approle/role/{name}/secret-id")), vault.read(f"sys/policies/acl/{name}")["policy"])
        for name in vault.list("auth/approle/role")
        if name.startswith(project.environment)
    }


@contextmanager
def listener():
    """A port of the attacker. Yields its address; nothing has connected to it at the end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.thorough
def test_a_clone_is_adopted_and_undone_without_an_engine(adopted, clone, vault):
    before, known = files(clone), roles(vault, clone)
    clone.adopt()
    assert {name: count for name, (count, _) in roles(vault, clone).items()} == {
        name: count + 1 for name, (count, _) in known.items()
    }
    made = files(clone).keys() - before.keys()
    assert {name for name in made if not name.startswith(".lessee/")} == {".env"}
    assert (clone.folder / ".env").read_text() == (
        "COMPOSE_FILE=compose.yaml:compose.lessee.yaml:.lessee/compose.yaml\n"
    )
    clone.adopt("--undo")
    assert files(clone) == before
    assert roles(vault, clone) == known
    adopted.adopt("--undo")
    assert roles(vault, clone) == {}


@pytest.mark.thorough
def test_a_foreign_address_gets_no_request_and_the_plan_names_it(clone):
    [line] = [
        line for line in (clone.folder / "lessee/lessee.yaml").read_text().splitlines() if line.startswith("  address:")
    ]
    with listener() as evil:
        change(clone, "lessee/lessee.yaml", line, f"  address: ${{VAULT_ADDR:-{evil}}}")
        deployment = json.loads((clone.folder / "lessee/adoption.json").read_text())["deployment"]
        adoption(clone, deployment=deployment | {"vault_address": evil})
        planned = clone.adopt("--plan").stdout
        assert f"lessee/lessee.yaml names {evil}: this clone does not use that address" in planned
        clone.adopt()
        own = (clone.folder / ".lessee/compose.yaml").read_text()
        assert f'VAULT_ADDR: "{clone.environ["VAULT_ADDR"].replace("127.0.0.1", "host.docker.internal")}"' in own
        clone.adopt("--undo")
        before = files(clone)
        change(clone, "lessee/lessee.yaml", f"${{VAULT_ADDR:-{evil}}}", evil)
        error = clone.adopt(code=78).stderr
        assert "lessee/lessee.yaml: vault: a login is not for your Vault at" in error
    assert files(clone).keys() == before.keys()


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "old", "new", "what"),
    [
        ("lessee/lessee.yaml", "template_dir: templates", "template_dir: ../..", "template not found"),
        ("lessee/lessee.yaml", "project: shop", "project: shop\n  components: {evil: [all]}", "it sets up more"),
        (
            "lessee/lessee.yaml",
            "template_dir:",
            "secrets: {prefix: '{environment}-other/'}\ntemplate_dir:",
            "would read outside",
        ),
        ("lessee/adoption.json", '"files": [', '"files": ["../../evil.yaml",', "no Compose file of the project"),
        ("lessee/adoption.json", '"references": {', '"references": {"../.bashrc": []', "no file of variables"),
        ("lessee/adoption.json", '"project": "shop"', '"project": "../shop"', "no name of a Compose project"),
    ],
)
def test_files_that_adopt_would_not_have_written_are_refused_before_anything_is_done(
    clone, vault, name, old, new, what
):
    change(clone, name, old, new)
    before, known = files(clone), roles(vault, clone)
    done = clone.adopt(code=None)
    error = done.stderr
    assert done.returncode in {65, 78}, error
    assert what in error
    assert "Traceback" not in error
    assert (files(clone), roles(vault, clone)) == (before, known)


@pytest.mark.thorough
@pytest.mark.parametrize("link", ["lessee/lessee.yaml", "lessee/templates/web/x", "compose.lessee.yaml", "lessee"])
def test_a_link_in_the_place_of_a_file_is_refused(clone, link):
    path = clone.folder / link
    if path.is_dir():
        path.rename(clone.folder / "elsewhere")
    elif path.exists():
        path.rename(f"{path}.old")
    path.symlink_to("/etc/passwd" if link != "lessee" else "elsewhere")
    error = clone.adopt(code=78).stderr
    assert f"{path}: a symbolic link in the place of a file of `lessee adopt`; remove it" in error


def test_an_environment_is_a_name_and_nothing_else(clone):
    with listener() as evil:
        adoption(clone, environment=f"a\nvault: {{address: {evil}}}")
        assert "environment is no name of an environment" in clone.adopt(code=78).stderr


def test_a_clone_gets_no_more_than_its_roles_have(clone, vault):
    vault.write(f"secret/data/{clone.environment}/other/project", {"data": {"key": OTHER}})
    template = next((clone.folder / "lessee/templates").rglob("*.j2"))
    template.write_text(template.read_text() + '{{ secret("other/project").key }}\n')
    before, known = files(clone), roles(vault, clone)
    done = clone.adopt(code=73)
    role = f"{clone.environment}-shop-web"
    assert f"sys/policies/acl/{role}: this clone's files need more than this policy grants: " in done.stderr
    assert f"secret/data/{clone.environment}/other/project" in done.stderr
    assert "; nothing was changed; see who changed lessee/" in done.stderr
    assert (files(clone), roles(vault, clone)) == (before, known)


@pytest.mark.thorough
def test_a_project_with_another_id_is_another_project(clone, vault):
    adoption(clone, id="0" * 16)
    known = roles(vault, clone)
    error = clone.adopt(code=73).stderr
    assert f"auth/approle/role/{clone.environment}-shop-web: another project of the name shop uses this role" in error
    assert roles(vault, clone) == known


@pytest.mark.thorough
def test_a_project_that_vault_does_not_know_gets_nothing_by_yes_alone(clone, adopted, vault):
    adopted.adopt("--undo")
    known, before = roles(vault, clone), files(clone)
    done = clone.adopt(code=64)
    assert f"  {clone.environment}-shop-web (new in this Vault):\n    api-keys/openai\n" in done.stdout
    assert "it is not known what its services may read" in done.stderr
    assert (files(clone), roles(vault, clone)) == (before, known)
    clone.adopt("--environment", clone.environment)
    assert roles(vault, clone).keys() == {f"{clone.environment}-shop-web"}


@pytest.mark.thorough
def test_a_clone_with_a_record_of_another_person_is_refused(clone, adopted):
    shutil.copytree(adopted.folder / ".lessee", clone.folder / ".lessee")
    error = clone.adopt(code=78).stderr
    assert "this user did not write this record of an adoption on this machine" in error
