"""`lessee adopt` gives Compose what its user gives it, and nothing of its own."""

import pytest

from support.programs.adopting import AdoptedProject
from support.servers.dev_server import Dev

COMPOSE = """\
services:
  web:
    build: .
    environment:
      APP_PASSWORD: hunter2hunter3
      NOTE: "${VAULT_TOKEN:-none}"
      VAULT_ADDR: "${VAULT_ADDR:-http://vault:8200}"
      SESSION_SECRET: ${SESSION_SECRET:-}
"""
SESSION = "canary-session-Nn7Bb6Vv5Cc4Xx3"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Dev(tmp_path_factory.mktemp("dev")) as dev:
        dev.folder = dev.home / ".local/state/lessee/dev"
        dev.detach()
        yield dev


@pytest.fixture
def project(tmp_path, server):
    return AdoptedProject(tmp_path / "shop", COMPOSE, HOME=str(server.home))


@pytest.mark.thorough
def test_the_token_of_the_server_for_development_reaches_no_program_and_no_service(project, server):
    done = project.adopt("--dev", "--environment", "one")
    assert server.get("one/applications/web") == {"app_password": "hunter2hunter3"}
    assert server.token not in project.environ_of_docker()
    assert "VAULT_" not in project.environ_of_docker()
    said = done.stdout + done.stderr
    assert [line.split() for line in said.splitlines() if line.startswith("  VAULT_ADDR")] == [["VAULT_ADDR", "plain"]]
    assert server.token not in said


def test_a_secret_of_the_shell_is_left_to_a_person_and_stored_nowhere(project, server):
    done = project.adopt("--dev", "--environment", "two", SESSION_SECRET=SESSION, code=75)
    step = "  ! web: SESSION_SECRET is a variable of your shell, which adopt does not change; write it into .env"
    assert [line for line in done.stdout.splitlines() if line.startswith(step)] != [], done.stdout
    assert server.get("two/applications/web") == {"app_password": "hunter2hunter3"}
    assert SESSION not in done.stdout + done.stderr
    # What is adopted stays so, also for a shell that has it.
    project.write(".env", f"SESSION_SECRET={SESSION}\n")
    project.adopt("--dev")
    project.write(".env", "SESSION_SECRET=ref+openbao://applications/web#session_secret\n")
    assert "left to you" not in project.adopt("--dev", SESSION_SECRET=SESSION).stdout
    assert server.get("two/applications/web")["session_secret"] == SESSION


@pytest.mark.thorough(each=3)
@pytest.mark.parametrize("name", ["--help", "lessee-agent", ".."])
def test_a_service_whose_name_cannot_be_used_is_named_before_anything_is_planned(tmp_path, name):
    lines = ["services:", f'  "{name}":', "    build: .", "    environment: {APP_PASSWORD: hunter2hunter3}", ""]
    done = AdoptedProject(tmp_path / "shop", "\n".join(lines)).adopt("--plan", code=78)
    assert done.stderr.startswith(f"lessee: services.{name}: "), done.stderr
    assert "; rename the service" in done.stderr
    assert done.stdout == ""


def test_without_an_engine_the_plan_says_what_it_guesses(tmp_path):
    project = AdoptedProject(
        tmp_path / "shop", "services: {web: {image: a/b, environment: {APP_PASSWORD: hunter2hunter3}}}"
    )
    done = project.adopt("--plan", code=75)
    assert done.stdout.startswith("the Docker Engine does not answer, so this plan guesses what is in the images\n")
    [step] = [line for line in done.stdout.splitlines() if line.startswith("  ? ")]
    assert "a shell in its image, is not known" in step
    assert "  ! " not in done.stdout
    assert done.stderr.endswith("see the lines marked with ! or ?\n")


def test_a_project_is_found_from_a_folder_below_it(tmp_path):
    project = AdoptedProject(tmp_path / "shop", COMPOSE)
    planned = project.adopt("--plan")
    project.folder = project.folder / "src/web"
    project.folder.mkdir(parents=True)
    below = project.adopt("--plan")
    assert below.stdout == planned.stdout
    assert f"lessee: the project is in {tmp_path}/shop; type `docker compose` there too" in below.stderr


def test_a_folder_that_others_can_write_to_ends_the_search_for_a_project(tmp_path):
    project = AdoptedProject(tmp_path / "shop", COMPOSE)
    project.folder.chmod(0o777)
    project.folder = project.folder / "src"
    project.folder.mkdir()
    assert "the folder has no Compose file" in project.adopt("--plan", code=78).stderr
