"""A GitHub Actions job: the steps of the action and the workflow, a real OpenBao, and a masked log."""

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml

from e2e.compose import copy_source
from lessee.host.openbao import OpenBao
from support.paths import TESTS
from support.programs.ci_job import (
    CI,
    KEY,
    TOKEN,
    VALUES,
    CiWorld,
    as_json,
    copy,
    environ_of_jobs,
    kill,
    without_lessee,
)
from support.programs.sidecar import eventually
from support.servers.jwt_issuer import REQUEST_TOKEN, Issuer

REPOSITORY = {"repository": "octo/app", "ref": "refs/heads/main", "sub": "repo:octo/app:ref:refs/heads/main"}
WORKFLOW = TESTS / "support/programs/github_runner.py"
ACTION = str(CI / "github")
# Prints values in all forms that are likely in a log.
SHOWS = """
import base64, json, os, urllib.parse
for name in ("REGISTRY_TOKEN", "DEPLOY_KEY"):
    value = os.environ[name]
    print(value, repr(value), json.dumps({name: value}), urllib.parse.quote(value, safe=""), sep="\\n")
    print(base64.b64encode(value.encode()).decode(), base64.urlsafe_b64encode(value.encode()).decode())
print({name: value for name, value in os.environ.items() if name.startswith(("VAULT", "LESSEE", "ACTIONS_ID"))})
print('{ "not": "hidden" }')
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("github")
    issuer = Issuer(folder)
    with OpenBao(folder) as server:
        yield CiWorld("github", server, issuer, folder)
    issuer.close()


class Github:
    """Runs jobs in a workspace, and finds the files that the last one left."""

    def __init__(self, world, folder):
        self.world, self.folder, self.process, self.machine = world, folder, None, environ_of_jobs()
        self.workspace, self.log = folder / "workspace", folder / "log"
        copy("github", self.workspace)
        world.issuer.claims, world.issuer.answer = dict(REPOSITORY), 200
        world.issuer.asked.clear()

    def begin(self, *steps, **env):
        env = {"VAULT_ADDR": self.world.server.address, **self.world.issuer.variables, **env}
        job = as_json(self.folder / "job.json", steps=steps, env=env, workspace=str(self.workspace), log=str(self.log))
        self.log.write_text("")
        self.process = subprocess.Popen(
            [sys.executable, WORKFLOW, job], env=self.machine, start_new_session=True, stderr=subprocess.PIPE
        )

    def run(self, *steps, **env):
        """Run a job; return its log, and whether it failed. Installing may take a minute on a busy machine."""
        self.begin(*steps, **env)
        said = self.process.communicate(timeout=200)[1].decode()
        assert not said, said
        return self.log.read_text(), self.process.returncode != 0

    @property
    def masks(self):
        return json.loads((self.folder / "job.masks").read_text())

    def left(self):
        """Files with a value, anywhere that the job wrote; it may be removing them now."""
        tops = [self.folder, *Path("/dev/shm").glob("lessee.????????")]
        files = [Path(folder, name) for top in tops for folder, _, names in os.walk(top) for name in names]
        return [path for path in files if path.suffix != ".masks" and holds_value(path)]

    def close(self):
        if self.process is not None and self.process.poll() is None:
            kill(self.process)
        if self.process is not None:
            self.process.stderr.close()


def holds_value(path):
    try:
        read = path.read_bytes()
    except FileNotFoundError:
        return False
    return any(value.encode() in read for value in VALUES)


@pytest.fixture
def github(world, tmp_path):
    github = Github(world, tmp_path)
    yield github
    github.close()


def steps(**given):
    """The steps of the template's workflow, with the test's command."""
    [job] = yaml.safe_load((CI / "github/workflow.yml").read_text())["jobs"].values()
    use, run, clean = job["steps"][1:]
    assert (list(use), list(run), list(clean)) == (["uses", "with"], ["run"], ["if", "run"])
    use = {"uses": ACTION, "with": {**use["with"], "config": "lessee.yaml", **given}}
    return use, run["run"].removesuffix("npm run build"), clean


@pytest.mark.thorough
def test_a_job_logs_in_with_github_s_jwt_and_its_log_masks_all_forms_of_secrets(github, world):
    use, runs, clean = steps()
    look = {"run": 'ls -ld "$LESSEE_CI"; stat -f -c %T "$LESSEE_CI"; cat "$LESSEE_CI/build/registry.json"'}
    (github.workspace / "shows.py").write_text(SHOWS)
    log, failed = github.run(use, look, {"run": f"{runs}{sys.executable} shows.py"}, clean)
    assert not failed, log
    assert not [value for value in VALUES if value in log]
    encoded = (base64.b64encode(TOKEN.encode()).decode(), quote(TOKEN, safe=""), json.dumps(KEY)[1:-1])
    assert not [form for form in encoded if form in log]
    assert log.count("***") > 10
    # A value's line that is a single bracket is not masked: it would mask every log.
    assert '{ "not": "hidden" }' in log
    assert all(len(mask) >= 5 for mask in github.masks)
    assert "\n{}\n" in log  # The build has no variables of Vault and of GitHub's JWT.
    assert "drwx------" in log
    assert "\ntmpfs\n" in log
    assert world.issuer.asked == [[world.server.address]]  # Once: `exec` reused the saved token.
    assert world.tokens() == []
    assert github.left() == []


def test_export_gives_later_steps_the_exact_values_only_if_requested(github):
    use, _, clean = steps()
    given = {**use, "with": {**use["with"], "export": "true"}}
    save = {"run": f'{sys.executable} -c \'import json, os; json.dump(dict(os.environ), open("env.json", "w"))\''}
    log, failed = github.run(given, save, clean)
    assert not failed, log
    environ = json.loads((github.workspace / "env.json").read_text())
    assert (environ["REGISTRY_TOKEN"], environ["DEPLOY_KEY"]) == (TOKEN, KEY)
    github.run(use, save, clean)
    assert "REGISTRY_TOKEN" not in json.loads((github.workspace / "env.json").read_text())


@pytest.mark.parametrize("name", ["NODE_OPTIONS", "GITHUB_TOKEN"])
def test_variables_that_the_runner_rejects_are_reported_and_nothing_is_exported(github, name):
    (github.workspace / "build.env.j2").write_text(f'FIRST=1\n{name}={{{{ secret("build/registry").token }}}}\n')
    use, _, clean = steps(export="true")
    log, failed = github.run(use, {"if": "always()", "run": 'echo "first: ${FIRST:-none}"'}, clean)
    assert failed
    assert f"lessee: {name}: the runner does not let a step set this variable" in log
    assert "first: none" in log


def test_failed_and_killed_jobs_leave_no_file_and_no_token(github, world):
    use, runs, clean = steps()
    log, failed = github.run(use, {"run": f"{runs}sh -c 'exit 3'"}, {"run": "echo not reached"}, clean)
    assert failed
    assert "exit code 3" in log
    assert "not reached" not in log
    assert (world.tokens(), github.left()) == ([], [])
    sign = github.folder / "here"
    print_folder = {"run": 'echo "$LESSEE_CI"'}
    github.begin(use, print_folder, {"run": f"{runs}sh -c 'touch {sign}; exec sleep 1000'"}, clean)
    eventually(sign.exists, "the build", 60)
    assert len(world.tokens()) == 1
    assert github.left()
    [folder] = [Path(line) for line in github.log.read_text().splitlines() if line.startswith("/dev/shm/lessee.")][-1:]
    kill(github.process)
    eventually(lambda: not world.tokens(), "the revocation", 60)
    eventually(lambda: not github.left(), "the removal", 60)
    eventually(lambda: not folder.exists(), "the removal of the folder", 60)


def test_a_job_of_another_branch_is_denied_with_the_claims_of_its_jwt(github, world):
    world.issuer.claims |= {"ref": "refs/heads/other", "sub": "repo:octo/app:ref:refs/heads/other"}
    use, runs, clean = steps()
    log, failed = github.run(use, {"run": f"{runs}echo built"}, clean)
    assert failed
    assert "Vault does not accept GitHub's JWT for this job at auth/jwt-github/login, role build; its claims: " in log
    assert "'repo:octo/app:ref:refs/heads/other'" in log
    assert "built" not in log
    assert REQUEST_TOKEN not in log
    assert world.tokens() == []


def test_masks_are_sent_only_to_a_runner(github):
    use, _, clean = steps()
    tried = ("GITHUB_ACTIONS= lessee render", "lessee render 2>said", "lessee render 2>&1 | tee piped")
    log, failed = github.run(use, {"run": "".join(f"! {one}\n" for one in tried) + "cat said; exit 1"}, clean)
    assert failed
    assert "not a GitHub Actions job" in log
    assert "stderr is a file or a terminal" in log
    assert "stderr is redirected to stdout" in log
    assert github.left() == []
    assert not [value for value in VALUES if value in log]


@pytest.mark.thorough
def test_the_action_installs_lessee_without_changing_the_job_s_python(github, world):
    source = copy_source(github.folder / "source")
    action = shutil.copytree(ACTION, source / "templates/ci/github")
    github.machine = without_lessee(github.folder / "bin")
    use, runs, clean = steps()
    tells = {"run": f"{runs}sh -c 'command -v python3; echo built'; command -v lessee"}
    log, failed = github.run({**use, "uses": str(action)}, tells, clean)
    assert not failed, log
    assert f"\n{github.folder}/bin/python3\nbuilt\n" in log
    [lessee] = [Path(line) for line in log.splitlines() if line.endswith("/lessee-bin/lessee")]
    assert [path.name for path in lessee.parent.iterdir()] == ["lessee"]
    assert world.tokens() == []


def test_two_uses_of_the_action_share_one_folder_and_one_token(github, world):
    use, _, clean = steps()
    log, failed = github.run(use, {"run": "echo at $LESSEE_CI"}, use, {"run": "echo at $LESSEE_CI"}, clean)
    assert not failed, log
    folders = [line for line in log.splitlines() if line.startswith("at /dev/shm/")]
    assert len(folders) == 2
    assert len(set(folders)) == 1
    assert len(world.issuer.asked) == 1
    assert world.tokens() == []
    assert github.left() == []


def test_a_changed_secret_is_masked_in_the_step_that_reads_it(github, world):
    use, runs, clean = steps()
    new = "canary-of-later"
    sign = github.folder / "here"
    wait = {"run": f"touch {sign}; until [ -e {sign}.done ]; do sleep 0.05; done"}
    github.begin(use, wait, {"run": f"{runs}sh -c 'echo $REGISTRY_TOKEN'"}, clean)
    eventually(sign.exists, "the step", 60)
    world.server.put("ci/build/registry", url="https://registry.example.com", token=new)
    Path(f"{sign}.done").touch()
    try:
        assert github.process.wait(60) == 0, github.log.read_text()
    finally:
        world.server.put("ci/build/registry", url="https://registry.example.com", token=TOKEN)
    assert new in github.masks
    assert new not in github.log.read_text()


def test_a_value_too_short_to_mask_is_a_warning(github, world):
    world.server.put("ci/build/registry", url="https://registry.example.com", token="abc")
    try:
        use, _, clean = steps()
        log, failed = github.run(use, clean)
    finally:
        world.server.put("ci/build/registry", url="https://registry.example.com", token=TOKEN)
    assert not failed
    [warning] = [json.loads(line) for line in log.splitlines() if "values too short to mask" in line]
    assert (warning["secret"], warning["values"]) == ("secret/ci/build/registry", 1)
    assert "abc" not in github.masks
