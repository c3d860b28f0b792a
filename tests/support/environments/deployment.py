"""A project that CI deploys: its repository, a real agent and app on a "host", and jobs that run the CI templates."""

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

from lessee.host.openbao import ROOT_TOKEN, find_bao, free_port
from support.npm import packages, program
from support.paths import TESTS
from support.programs.ci_job import CI, as_json, environ_of_jobs, tokens_of
from support.programs.sidecar import PATIENCE, eventually

RUNNER = TESTS / "support/programs/github_runner.py"
MAIN = {
    "github": {
        "sub": "repo:octo/app:environment:production",
        "repository": "octo/app",
        "ref": "refs/heads/main",
        "environment": "production",
    },
    "gitlab": {"sub": "project_path:octo/app:ref_type:branch:ref:main", "project_id": "42", "ref_protected": "true"},
}
"""The claims of a job of the main branch."""
_FILES = {
    "github": ("deploy.yaml",),
    "gitlab": ("deploy.yaml", "lessee.gitlab-ci.yml", "deploy.gitlab-ci.yml"),
}
# Reads its file when it starts and at SIGHUP. With MODE=broken it is not ready.
APP = """
import http.server, pathlib, signal, sys
def read(*_):
    global env
    env = pathlib.Path(sys.argv[1]).read_text()
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if "broken" in env or "API_KEY" not in env else 200)
        self.end_headers()
    def log_message(self, *_):
        pass
signal.signal(signal.SIGHUP, read)
read()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), Health).serve_forever()
"""
# What a project does for itself: puts the revision's files on the host, and starts its agent and app again.
UP = """#!/usr/bin/env bash
set -euo pipefail
end() {
  local pid
  pid=$(cat "$HOST/$1.pid" 2>/dev/null) || return 0
  if kill "$pid" 2>/dev/null; then tail --pid="$pid" -f /dev/null; fi
}
start() {
  local name=$1; shift
  setsid env -i PATH="$PATH" HOME="$HOST" "$@" >>"$HOST/$name.log" 2>&1 </dev/null &
  echo $! >"$HOST/$name.pid"
}
end app
end agent
cp -r lessee app.py "$HOST"
start agent lessee run --config "$HOST/lessee/lessee.yaml"
lessee read --config "$HOST/lessee/lessee.yaml" --timeout 60s simba app.env >/dev/null
start app python3 "$HOST/app.py" "$MEMORY/simba/app.env" "$PORT"
until python3 -c "import socket; socket.create_connection(('127.0.0.1', $PORT), 5)" 2>/dev/null; do :; done
git rev-parse HEAD >"$HOST/revision"
"""


class Deployment:
    """A project in its first revision, deployed without CI. `kind` is github or gitlab."""

    def __init__(self, kind, server, issuer, folder, memory):
        self.kind, self.server, self.issuer, self.folder = kind, server, issuer, folder
        self.claims = dict(MAIN[kind])
        self.host, self.memory, self.port = folder / "host", memory, free_port()
        self.repository, self.home = folder / "repository", folder / "home"
        for path in (self.host, self.home, folder / "tools"):
            path.mkdir(parents=True)
        (folder / "tools/bao").symlink_to(find_bao())
        self.environ = {
            **environ_of_jobs(),
            "HOME": str(self.home),
            "HOST": str(self.host),
            "MEMORY": str(memory),
            "PORT": str(self.port),
            "VAULT_ADDR": server.address,
        }
        self._first = self._make_project()
        self._set_up()
        self._run("bash", "up", cwd=self.repository)

    def begin_again(self):
        """A new revision with the files of the first, which the host runs, and which no job has deployed or rotated."""
        self.claims = dict(MAIN[self.kind])
        shutil.rmtree(self.home / ".local", ignore_errors=True)  # The record of the last proven revision.
        self.server.ask("DELETE", "secret/metadata/production/lessee/rotation/mcp")
        self._run("git", "read-tree", "--reset", "-u", self._first, cwd=self.repository)
        if self.key[0] == "changeme":
            self.put_key(secrets.token_hex(20))
        changed = self._run("git", "diff", "--name-only", self.deployed, self._first, cwd=self.repository)
        if changed or not self._runs("agent") or not self._runs("app") or self.key[0] not in self.file:
            self.commit({})
            self._run("bash", "up", cwd=self.repository)

    def _make_project(self):
        git = ("git", "init", "--quiet", "--initial-branch=main", str(self.repository))
        self._run(*git)
        (self.repository / "ci").mkdir()
        for name in (*_FILES[self.kind], "../deploy.sh"):
            shutil.copy(CI / self.kind / name, self.repository / "ci")
        if self.kind == "gitlab":
            (self.repository / ".gitlab-ci.yml").write_text("include: [{local: ci/deploy.gitlab-ci.yml}]\n")
        login = {name: f"{self.host}/logins/production/production-simba/{name}" for name in ("role_id", "secret_id")}
        config = {
            "environment": "production",
            "vault": {
                "address": self.server.address,
                "auth": {"method": "approle", **{f"{name}_file": path for name, path in login.items()}},
            },
            "state_dir": f"{self.memory}/state",
            "apps": {
                "simba": {
                    "directory": f"{self.memory}/simba",
                    "files": [{"template": "app.env.j2"}],
                    "notify": {"process": {"pid_file": f"{self.host}/app.pid"}, "action": "SIGHUP"},
                    "ready": {
                        "http": f"http://127.0.0.1:{self.port}/",
                        "initial_delay": "100ms",
                        "timeout": "5s",
                    },
                }
            },
            "setup": {
                "environments": ["production"],
                "secrets": {"mcp/memory-service": {"api_key": {"generate": 40}}},
            },
        }
        return self.commit(
            {
                "lessee/lessee.yaml": yaml.safe_dump(config),
                "lessee/app.env.j2": 'API_KEY={{ secret("mcp/memory-service").api_key }}\n',
                "app.py": APP,
                "up": UP,
            }
        )

    def _set_up(self):
        """What an operator does once: `lessee setup`, and the script of the README for the job's role."""
        environ = {"VAULT_TOKEN": ROOT_TOKEN, "BAO_TOKEN": ROOT_TOKEN, "BAO_ADDR": self.server.address}
        environ["PATH"] = f"{self.folder}/tools:{self.environ['PATH']}"
        setup = ("lessee", "setup", "--config", "lessee/lessee.yaml", "--output", f"{self.host}/logins")
        self._run(*setup, cwd=self.repository, **environ)
        scripts = re.findall(r"^```sh\n(.*?)^```$", (CI / "README.md").read_text(), re.MULTILINE | re.DOTALL)
        [script] = [script for script in scripts if f"jwt-{self.kind}/role/production-deploy" in script]
        self._run("bash", "-euo", "pipefail", "-c", script, cwd=self.repository, **environ)

    def _run(self, *command, cwd=None, **environ):
        done = subprocess.run(
            command,
            cwd=cwd,
            env=self.environ | environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def commit(self, files):
        """A new revision with these files; its name."""
        for name, text in files.items():
            path = self.repository / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        self._run("git", "add", "--all", cwd=self.repository)
        self._run("git", *author, "commit", "--quiet", "--allow-empty", "-m", "a revision", cwd=self.repository)
        return self._run("git", "rev-parse", "HEAD", cwd=self.repository).strip()

    @property
    def deployed(self):
        """The revision that the host runs."""
        return (self.host / "revision").read_text().strip()

    @property
    def key(self):
        """The newest value in Vault, and its version."""
        found = self.server.ask("GET", "secret/data/production/mcp/memory-service")["data"]
        return found["data"]["api_key"], found["metadata"]["version"]

    def put_key(self, value):
        """Write a value; its version."""
        self.server.put("production/mcp/memory-service", api_key=value)
        return self.key[1]

    @contextmanager
    def policy(self, name, text):
        """Another text of a policy meanwhile."""
        path = f"sys/policies/acl/{name}"
        before = self.server.ask("GET", path)["data"]["policy"]
        self.server.ask("POST", path, {"policy": text})
        yield
        self.server.ask("POST", path, {"policy": before})

    @property
    def file(self):
        """What the app reads."""
        return (self.memory / "simba/app.env").read_text()

    def job(self, before=""):
        """Run the template's job for the newest revision; its log, and whether it failed."""
        workspace = self.folder / "workspace"
        shutil.rmtree(workspace, ignore_errors=True)
        self._run("git", "clone", "--quiet", str(self.repository), str(workspace))
        own = {
            "UP": "bash up",
            "AGENT": f"env LESSEE_CONFIG={self.host}/lessee/lessee.yaml lessee",
            "PROOF_TIMEOUT": "60s",
        }
        self.issuer.claims = dict(self.claims)
        return getattr(self, f"_{self.kind}")(workspace, own, before)

    def _github(self, workspace, own, before):
        """The steps after the checkout, with the action of the template."""
        workflow = yaml.safe_load((CI / "github/deploy.yml").read_text())
        steps = workflow["jobs"]["deploy"]["steps"][1:]
        steps = [{**step, "uses": str(CI / "github")} if "uses" in step else step for step in steps]
        log = self.folder / "log"
        log.write_text("")
        env = {
            **workflow["env"],
            **{name: self.environ[name] for name in ("HOST", "MEMORY", "PORT", "VAULT_ADDR", "HOME")},
            **own,
            "GITHUB_REPOSITORY": "octo/app",
            **self.issuer.variables,
        }
        contexts = {"github": {"event": {"before": before}}}
        job = as_json(
            self.folder / "job.json", steps=steps, env=env, workspace=str(workspace), log=str(log), contexts=contexts
        )
        done = subprocess.run(
            [sys.executable, RUNNER, job], env=environ_of_jobs(), stderr=subprocess.PIPE, timeout=300, check=False
        )
        assert not done.stderr, done.stderr.decode()
        return log.read_text(), done.returncode != 0

    def _gitlab(self, workspace, own, before):
        """gitlab-ci-local: it checks the files against GitLab's schema, merges them, and runs the job in a shell."""
        folder = packages()
        local = folder / "node_modules/gitlab-ci-local/dist/index.js"
        variables = {
            **own,
            "VAULT_ADDR": self.server.address,
            "CI_COMMIT_BEFORE_SHA": before,
            "LESSEE_ID_TOKEN": self.issuer.sign(aud=self.server.address),
        }
        given = [word for name, value in variables.items() for word in ("--variable", f"{name}={value}")]
        done = subprocess.run(
            [program(folder, "node-26"), local, "--force-shell-executor", "--no-color", *given, "deploy"],
            cwd=workspace,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=300,
            text=True,
            check=False,
        )
        return done.stdout, done.returncode != 0

    def tokens(self):
        """The accessors of all valid tokens of jobs."""
        return tokens_of(self.server, f"auth/jwt-{self.kind}/login")

    def end(self, name):
        """Stop the host's app or agent, if it runs."""
        with suppress(OSError, ValueError):
            os.kill(self._pid(name), signal.SIGTERM)
            eventually(lambda: not self._runs(name), f"the end of the {name}")

    def _pid(self, name):
        return int((self.host / f"{name}.pid").read_text())

    def _runs(self, name):
        return Path(f"/proc/{self._pid(name)}").exists()

    def close(self):
        for name in ("app", "agent"):
            self.end(name)
