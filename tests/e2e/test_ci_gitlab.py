"""A GitLab job: the scripts of the template job in separate shells, and a real OpenBao."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lessee.host.openbao import OpenBao
from support.needs import need
from support.programs.ci_job import CI, TOKEN, VALUES, CiWorld, copy, environ_of_jobs, kill
from support.programs.sidecar import eventually
from support.servers.jwt_issuer import Issuer

# Like a container: when its first process exits, the kernel kills the others.
CONTAINER = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc")
SEES = """
import os
print("built", len(os.environ["REGISTRY_TOKEN"]), sorted(name for name in os.environ if name.startswith("LESSEE")))
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gitlab")
    issuer = Issuer(folder)
    issuer.claims = {
        "sub": "project_path:octo/app:ref_type:branch:ref:main",
        "project_id": "42",
        "ref_protected": "true",
    }
    with OpenBao(folder) as server:
        yield CiWorld("gitlab", server, issuer, folder)
    issuer.close()


class Gitlab:
    """`before_script` and `script` in one shell, `after_script` in another, like the runner."""

    def __init__(self, world, folder):
        self.workspace = folder / "workspace"
        copy("gitlab", self.workspace)
        self.job = yaml.safe_load((CI / "gitlab/lessee.gitlab-ci.yml").read_text())[".lessee"]
        known = {
            "CI_JOB_ID": f"{os.getpid()}{id(self)}",
            "CI_PROJECT_DIR": str(self.workspace),
            "VAULT_ADDR": world.server.address,
        }
        [(name, about)] = self.job["id_tokens"].items()
        tokens = {name: world.issuer.sign(aud=_expanded(about["aud"], known))}
        variables = {key: _expanded(value, known) for key, value in self.job["variables"].items()}
        self.env = {
            **environ_of_jobs(),
            "CI": "true",
            "GITLAB_CI": "true",
            **known,
            **variables,
            **tokens,
        }
        self.memory, self.home = Path(variables["LESSEE_CI"]), Path(variables["LESSEE_HOME"])
        self.process = None

    def begin(self, *script, before=()):
        """`before`: a command that starts the shell."""
        text = "\n".join(["set -eo pipefail", *self.job["before_script"], *script])
        # Like the runner: the shell reads the whole script before it runs it.
        self.process = subprocess.Popen(
            [*before, "bash", "-c", f": | eval {shlex.quote(text)}"],
            cwd=self.workspace,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def after(self):
        done = subprocess.run(
            ["bash", "-c", "\n".join(["set -eo pipefail", *self.job["after_script"]])],
            cwd=self.workspace,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.stdout + done.stderr, done.returncode

    def close(self):
        if self.process is not None:
            if self.process.poll() is None:
                kill(self.process)
            self.process.stdout.close()
        for folder in (self.memory, self.home):
            shutil.rmtree(folder, ignore_errors=True)


def _expanded(text, known):
    return re.sub(r"\$(\w+)", lambda match: known[match[1]], text)


@pytest.fixture
def gitlab(world, tmp_path):
    gitlab = Gitlab(world, tmp_path)
    yield gitlab
    gitlab.close()


@pytest.mark.thorough
def test_a_job_logs_in_by_gitlabs_jwt_shows_nothing_and_leaves_nothing(gitlab, world):
    (gitlab.workspace / "sees.py").write_text(SEES)
    own = 'ls "$LESSEE_CI/build"; cp "$LESSEE_CI/build/registry.json" "$LESSEE_CI/copy"'
    gitlab.begin(f"lessee exec --once --app build -- {sys.executable} sees.py", own)
    log = gitlab.process.communicate(timeout=100)[0].decode()
    assert gitlab.process.returncode == 0, log
    assert f"built {len(TOKEN)} []" in log
    assert "registry.json" in log
    assert not [value for value in (*VALUES, gitlab.env["LESSEE_ID_TOKEN"]) if value in log]
    said, code = gitlab.after()
    assert code == 0, said
    assert not gitlab.memory.exists()
    assert not gitlab.home.exists()
    assert world.tokens() == []


@pytest.mark.parametrize("code", [0, 3])
def test_a_job_in_a_container_leaves_no_file_and_no_token(gitlab, world, code):
    there = subprocess.run([*CONTAINER, "true"], capture_output=True, check=False).returncode == 0
    need(there, "needs util-linux's unshare, and a kernel that lets it make namespaces")
    gitlab.begin("ls $LESSEE_CI", "cd /", f"exit {code}", before=CONTAINER)
    log = gitlab.process.communicate(timeout=100)[0].decode()
    assert (gitlab.process.returncode, "build" in log) == (code, True), log
    assert world.tokens() == []
    assert not gitlab.memory.exists()


def test_after_script_runs_no_program_that_another_user_put_where_all_may_write(gitlab):
    """The id of the next job is easy to guess. `before_script` fails, and the runner runs `after_script` then too."""
    job, sign = gitlab.env["CI_JOB_ID"], gitlab.workspace / "ran"
    planted = [Path(place) / f"lessee-{job}" for place in ("/tmp", "/dev/shm")]  # As another user does.
    try:
        for folder in planted:
            program = folder / "venv/bin/lessee"
            program.parent.mkdir(parents=True)
            program.write_text(f"#!/bin/sh\ntouch {sign}\n")
            program.chmod(0o755)
        gitlab.begin("true")
        log = gitlab.process.communicate(timeout=100)[0].decode()
        assert gitlab.process.returncode != 0, log
        gitlab.after()
        assert not sign.exists()
    finally:
        for folder in planted:
            shutil.rmtree(folder, ignore_errors=True)


def test_a_killed_job_leaves_no_file_and_no_token(gitlab, world):
    sign = gitlab.workspace / "here"
    gitlab.begin(f"lessee exec --once --app build -- sh -c 'touch {sign}; exec sleep 1000'")
    eventually(sign.exists, "the build", 100)
    assert len(world.tokens()) == 1
    assert TOKEN in (gitlab.memory / "build/registry.json").read_text()
    kill(gitlab.process)
    eventually(lambda: not world.tokens(), "the revocation", 60)
    eventually(lambda: not gitlab.memory.exists(), "the removal", 60)
