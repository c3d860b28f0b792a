"""The recipe for deployments, run from its YAML: by GitHub's steps in bash, and by gitlab-ci-local."""

import json
import shutil
import subprocess
from contextlib import ExitStack
from functools import cache

import pytest
import yaml

from e2e.compose import AGENT, OPENBAO, Project
from lessee.host.openbao import OpenBao
from support.environments.deployment import Deployment
from support.npm import packages, program
from support.paths import ROOT, TESTS
from support.programs.ci_job import CI
from support.programs.sidecar import PATIENCE
from support.servers.jwt_issuer import Issuer
from support.thorough import THOROUGH

PROGRAMS = TESTS / "support/programs"


@pytest.fixture(scope="module")
def deployments(tmp_path_factory, module_memory):
    """A function that makes the project of a kind of CI, once for all its tests."""
    with ExitStack() as ends:

        @cache
        def deployment(kind):
            folder = tmp_path_factory.mktemp(kind)
            issuer = Issuer(folder)
            ends.callback(issuer.close)
            server = ends.enter_context(OpenBao(folder))
            mount = f"jwt-{kind}"
            server.ask("POST", f"sys/auth/{mount}", {"type": "jwt"})
            ca = issuer.ca.read_text()
            body = {"oidc_discovery_url": issuer.url, "bound_issuer": issuer.url, "oidc_discovery_ca_pem": ca}
            server.ask("POST", f"auth/{mount}/config", body)
            memory = module_memory / kind
            memory.mkdir()
            project = Deployment(kind, server, issuer, folder / "project", memory)
            ends.callback(project.close)
            return project

        yield deployment


@pytest.fixture
def project(request, deployments):
    """A project whose first revision is deployed, and which its job has never deployed."""
    project = deployments(request.param)
    project.begin_again()
    return project


def of_kinds(*kinds):
    """With `THOROUGH=yes` both: `ci/deploy.sh` is the same for them."""
    return pytest.mark.parametrize("project", ["github", "gitlab"] if THOROUGH else kinds, indirect=True)


of_both = of_kinds("github", "gitlab")
of_github, of_gitlab = of_kinds("github"), of_kinds("gitlab")


@of_both
def test_a_deployment_is_validated_rotated_and_proven_and_shows_no_value(project):
    first, version = project.key
    revision = project.commit({"lessee/app.env.j2": 'MODE=new\nAPI_KEY={{ secret("mcp/memory-service").api_key }}\n'})
    log, failed = project.job()
    assert not failed, log
    second, newer = project.key
    assert (second != first, newer) == (True, version + 1)
    assert second in project.file
    assert "MODE=new" in project.file
    assert project.deployed == revision
    assert "simba is ready with the newest secrets" in log
    assert f"{revision} is deployed and proven" in log
    assert not [value for value in (first, second) if value in log]
    assert project.tokens() == []


@pytest.mark.thorough
@of_github
def test_a_critical_validation_deploys_and_rotates_nothing(project):
    old, version = project.deployed, project.put_key("changeme")
    project.commit({"new": ""})
    log, failed = project.job()
    assert failed, log
    assert "placeholder" in log
    assert (project.deployed, project.key) == (old, ("changeme", version))
    assert "deploying" not in log


@pytest.mark.thorough
@of_gitlab
def test_a_template_that_cannot_be_compiled_deploys_nothing(project):
    old, key = project.deployed, project.key
    project.commit({"lessee/app.env.j2": 'API_KEY={{ secret("mcp/memory-service") \n'})
    log, failed = project.job()
    assert failed, log
    assert "app.env.j2:1" in log
    assert (project.deployed, project.key) == (old, key)


@pytest.mark.thorough
@of_github
def test_a_refused_rotation_deploys_nothing(project):
    old, key = project.deployed, project.key
    rules = {"data": '["read"]', "metadata": '["read", "list"]'}
    text = "\n".join(f'path "secret/{kind}/production/*" {{ capabilities = {rule} }}' for kind, rule in rules.items())
    with project.policy("production-deploy", text):
        project.commit({"new": ""})
        log, failed = project.job()
    assert failed, log
    assert "lessee/rotation/mcp: permission denied" in log
    assert (project.deployed, project.key) == (old, key)
    assert "deploying" not in log


@pytest.mark.thorough
@of_gitlab
def test_an_agent_that_was_down_is_named_and_the_deployment_proves_that_it_has_the_new_value(project):
    config = (project.repository / "ci/deploy.yaml").read_text()
    revision = project.commit({"ci/deploy.yaml": config.replace("[simba]", "[simba], confirmation_timeout: 1s")})
    project.end("agent")
    log, failed = project.job()
    assert not failed, log
    assert "NOT confirmed by simba" in log
    assert project.key[0] in project.file
    assert f"{revision} is deployed and proven" in log


@pytest.mark.thorough
@of_github
def test_a_revision_whose_app_is_not_ready_is_named_and_rolled_back(project):
    good = project.commit({"new": ""})
    log, failed = project.job()
    assert not failed, log
    bad = project.commit({"lessee/app.env.j2": 'MODE=broken\nAPI_KEY={{ secret("mcp/memory-service").api_key }}\n'})
    log, failed = project.job(before=good)
    assert failed, log
    assert "simba: NOT READY: rolled_back: " in log
    assert f"{bad} is NOT proven" in log
    assert f"rolled back: {good} is deployed and proven" in log
    assert project.deployed == good
    assert "broken" not in project.file


@pytest.mark.thorough
@of_both
def test_an_app_that_fails_with_unchanged_files_is_named_by_validate_and_rolled_back(project):
    old = project.deployed
    project.commit({"app.py": (project.repository / "app.py").read_text().replace("503 if", "503 if True or")})
    log, failed = project.job(before=old)  # The record of a proven revision is not there yet.
    assert failed, log
    assert "the app is not ready" in log
    assert f"rolled back: {old} is deployed and proven" in log
    assert project.deployed == old


@pytest.mark.thorough
@of_gitlab
def test_without_a_proven_revision_the_way_back_is_printed(project):
    bad = project.commit({"lessee/app.env.j2": 'MODE=broken\nAPI_KEY={{ secret("mcp/memory-service").api_key }}\n'})
    log, failed = project.job(before="0" * 40)
    assert failed, log
    assert "no proven revision is known on this machine, so nothing was rolled back" in log
    assert "go back manually, on this machine: git checkout --detach REVISION && bash up" in log
    assert project.deployed == bad
    # The agent did not give the app the files with which it is not ready.
    assert "broken" not in project.file


@pytest.mark.thorough
@of_gitlab
def test_a_job_of_another_branch_may_not_log_in(project):
    old, key = project.deployed, project.key
    project.claims |= {"ref": "refs/heads/other", "ref_protected": "false"}
    project.commit({"new": ""})
    log, failed = project.job()
    assert failed, log
    assert "Vault does not accept" in log
    assert (project.deployed, project.key) == (old, key)


@pytest.mark.thorough
@pytest.mark.docker
def test_the_commands_for_compose_prove_a_stack_and_roll_it_back(images, tmp_path):
    """The workflow's own UP and AGENT, on a real Engine. The project is the quickstart."""
    repository, override = tmp_path / "repository", tmp_path / "override.yaml"
    shutil.copytree(ROOT / "compose/quickstart", repository)
    (repository / "ci").mkdir()
    shutil.copy(CI / "deploy.sh", repository / "ci")
    built = {"agent": AGENT, "holder": AGENT, "openbao": OPENBAO, "setup": OPENBAO}
    override.write_text(json.dumps({"services": {name: {"image": image} for name, image in built.items()}}))
    workflow = yaml.safe_load((CI / "github/deploy.yml").read_text())
    name = "lessee-e2e-deployed"
    environ = images.engine.environ | {
        **{name: workflow["env"][name] for name in ("UP", "AGENT", "DEPLOY_TO")},
        "HOME": str(tmp_path),
        "COMPOSE_PROJECT_NAME": name,
        "COMPOSE_FILE": f"{repository}/compose.yaml:{override}",
        "BASE_IMAGE": images.base,
        "VALIDATE": "--component app",  # The quickstart's server has no TLS.
    }

    def run(*command):
        return subprocess.run(
            command, cwd=repository, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    def commit():
        run("git", "add", "--all")
        run("git", "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "a revision")
        return run("git", "rev-parse", "HEAD").stdout.strip()

    stack = Project(images.engine, name, (repository / "compose.yaml", override), {"BASE_IMAGE": images.base})
    run("git", "init", "--quiet")
    good = commit()
    try:
        done = run("bash", "ci/deploy.sh")
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{good} is deployed and proven" in done.stdout
        template = repository / "lessee/app.env.j2"
        template.write_text(template.read_text().replace(".password", ".passwort"))
        bad = commit()
        done = run("bash", "ci/deploy.sh")
    finally:
        stack.down()
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{bad} is NOT proven" in done.stdout
    assert "app: NOT READY: " in done.stdout
    assert f"rolled back: {good} is deployed and proven" in done.stdout


@pytest.mark.thorough
def test_github_s_own_parser_finds_nothing_wrong(tmp_path):
    """gitlab-ci-local checks the other files against GitLab's schema in each of the tests above."""
    bad = tmp_path / "bad.yml"
    bad.write_text((CI / "github/deploy.yml").read_text().replace("github.event", "githb.event"))
    assert "Unrecognized named-value: 'githb'" in parsed(bad)
    assert parsed(*(CI / "github").glob("*.yml")) == ""


def parsed(*files):
    folder = packages()
    command = [program(folder, "node-26"), PROGRAMS / "github_parser.mjs", *files]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout
