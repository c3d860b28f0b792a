"""`make compat` on a real OpenBao: a report of what works, and nothing that stays."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from compat.report import reason, server_name
from compat.space import POLICY, PREFIX
from compat.vault_jobs import FIRST, JOBS, SECOND
from lessee import __version__
from lessee.host.openbao import ROOT_TOKEN
from support.paths import ROOT
from support.programs.sidecar import eventually

PAGE = ROOT / "docs/reference/compatibility.md"
WORKS = "works"


def start(server, *arguments, token=ROOT_TOKEN, folder=None, **environ):
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    kept |= {"TMPDIR": str(folder)} if folder else {}
    return subprocess.Popen(
        [sys.executable, "-m", "compat.run", *arguments],
        env=kept | {"PYTHONPATH": str(ROOT / "tests"), "VAULT_ADDR": server.address, "VAULT_TOKEN": token, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(server, *arguments, **options):
    process = start(server, *arguments, **options)
    output, errors = process.communicate()
    return process.returncode, output, errors


def state(server, namespace=""):
    """All that a run could leave."""
    below = f"{namespace}/" if namespace else ""

    def names(path):
        try:
            return sorted(server.ask("GET", f"{below}{path}?list=true")["data"]["keys"])
        except RuntimeError:  # There is nothing.
            return []

    found = {path: sorted(server.ask("GET", f"{below}{path}")["data"]) for path in ("sys/mounts", "sys/auth")}
    listed = ("sys/policies/acl", "sys/namespaces", "identity/entity/id", "auth/token/accessors")
    return found | {path: names(path) for path in listed}


def limited_token(server, policy, namespace=""):
    below = f"{namespace}/" if namespace else ""
    server.ask("PUT", f"{below}sys/policies/acl/compat-operator", {"policy": policy})
    body = {"policies": ["compat-operator"], "no_parent": True}
    return server.ask("POST", f"{below}auth/token/create", body)["auth"]["client_token"]


def rows(report):
    return dict(re.findall(r"^\| (.+?) \| (.+?) \|$", report, re.MULTILINE)[1:])


def test_every_job_works_with_the_documented_policy_and_nothing_is_left(server, postgres, tmp_path):
    token = limited_token(server, POLICY)
    server.put("mine", password="canary-of-yours")
    role_id, secret_id = server.approle("mine", 'path "secret/data/mine" { capabilities = ["read"] }')
    for name, value in ("role_id", role_id), ("secret_id", secret_id):
        (tmp_path / name).write_text(value)
    files = {f"{name}_file": str(tmp_path / name) for name in ("role_id", "secret_id")}
    template = '{{ vault("secret/data/mine", every="5m").data.password }}\n'
    login = {"auth": {"method": "approle", **files}, "template": template}
    (tmp_path / "login.json").write_text(json.dumps(login))
    before, roles = state(server), set(postgres.roles("v-%"))
    database = f"{postgres.admin_url}?sslmode=disable"
    environ = {"COMPAT_LOGIN": str(tmp_path / "login.json"), "COMPAT_DATABASE": database}
    code, report, progress = run(server, token=token, folder=tmp_path, **environ)
    assert (code, rows(report)) == (0, dict.fromkeys(JOBS, WORKS)), progress
    assert report.endswith("Left behind: nothing\n")
    assert state(server)["sys/mounts"] == before["sys/mounts"]
    left = {path: found for path, found in state(server).items() if found != before[path]}
    # The login of yours has a token and an entity of its own.
    assert set(left) <= {"auth/token/accessors", "identity/entity/id"}
    eventually(lambda: set(postgres.roles("v-%")) <= roles, "revocation of the leases, for which Vault does not wait")
    for text in (report, progress):
        assert server.address not in text
        for value in (FIRST, SECOND, "canary-of-yours", token, secret_id, database):
            assert value not in text
    assert report.startswith(f"### OpenBao 2.7.2\n\nlessee {__version__}, ")
    assert not list(tmp_path.glob(f"{PREFIX}*"))


@pytest.mark.thorough
def test_in_a_namespace_every_job_works_and_nothing_is_left(server, tmp_path):
    server.ask("POST", "sys/namespaces/team", {})
    token = limited_token(server, POLICY, "team")
    before = state(server), state(server, "team")
    code, report, progress = run(server, token=token, folder=tmp_path, VAULT_NAMESPACE="team")
    found = rows(report)
    not_tried = {job for job, outcome in found.items() if outcome != WORKS}
    assert code == 0, progress
    assert not_tried == {"log in by a method of yours", "renew a database's lease, and revoke it at the stop"}
    assert all(found[job].startswith("not tried: needs COMPAT_") for job in not_tried)
    assert (state(server), state(server, "team")) == before
    assert "team" not in report


def test_the_page_has_each_job_and_what_works_on_openbao():
    section = PAGE.read_text().partition("## Vault and OpenBao")[2].partition("\n## ")[0]
    table = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", section, re.MULTILINE)
    ]
    head, _, *lines = table
    assert head[1] == "OpenBao 2.7"
    assert [line[0] for line in lines] == list(JOBS)
    assert {line[1] for line in lines} == {WORKS}
    assert f"```hcl\n{POLICY}```" in PAGE.read_text()


@pytest.mark.parametrize(
    ("policy", "lacks"),
    [
        ('path "secret/*" { capabilities = ["read"] }', f"delete, sudo, update on sys/auth/{PREFIX}"),
        (POLICY.replace(', "sudo"] }', "] }"), f"sudo on sys/auth/{PREFIX}"),
        (POLICY.replace('"read", "delete"', '"read"'), "delete on identity/entity/id/a"),
    ],
)
def test_a_token_without_a_right_is_named_before_anything_is_created(server, tmp_path, policy, lacks):
    token = limited_token(server, policy)
    before = state(server)
    code, report, errors = run(server, token=token, folder=tmp_path)
    assert (code, report) == (77, "")
    assert "nothing was created: the token lacks" in errors
    assert lacks in errors
    assert POLICY in errors
    assert token not in errors
    assert state(server) == before


@pytest.mark.thorough
def test_an_interrupted_run_leaves_nothing_and_what_a_killed_one_left_is_removed(server, tmp_path):
    before = state(server)
    process = start(server, folder=tmp_path)
    process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert "interrupted; left behind: nothing" in errors
    assert state(server)["sys/mounts"] == before["sys/mounts"]
    process = start(server, folder=tmp_path)
    process.stderr.readline()
    process.kill()
    process.communicate()
    assert [path for path in state(server)["sys/mounts"] if path.startswith(PREFIX)]
    # The killed run's agent ends too.
    eventually(lambda: not agents(tmp_path), "the end of the agent")
    code, report, _ = run(server, "--clean", folder=tmp_path)
    assert (code, report.startswith("removed: sys/mounts/lessee-compat-")) == (0, True)
    for kind in ("sys/mounts", "sys/auth", "sys/policies/acl", "sys/namespaces"):
        assert state(server)[kind] == before[kind]
    assert not list(tmp_path.glob(f"{PREFIX}*"))
    assert run(server, "--clean", folder=tmp_path)[1] == "removed: nothing\n"


def agents(folder):
    """The commands of agents below this folder."""
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in found.splitlines() if "lessee" in line and str(folder) in line]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("environ", "error"),
    [
        ({"VAULT_TOKEN": ""}, "$VAULT_TOKEN must be set"),
        ({"VAULT_ADDR": "http://127.0.0.1:1"}, "compat: "),
        ({"VAULT_TOKEN": "not-a-token"}, "compat: "),
    ],
)
def test_a_server_that_cannot_be_used_is_one_line(server, environ, error):
    code, report, errors = run(server, **environ)
    assert (code, report) == (1, "")
    assert error in errors
    assert len(errors.splitlines()) == 1
    assert "not-a-token" not in errors


@pytest.mark.parametrize(
    ("health", "name"),
    [
        ({"version": "2.7.2"}, "OpenBao 2.7.2"),
        ({"version": "1.15.0"}, "HashiCorp Vault 1.15.0"),
        ({"version": "1.21.0", "enterprise": False}, "HashiCorp Vault 1.21.0"),
        ({"version": "2.0.0", "enterprise": False}, "HashiCorp Vault 2.0.0"),
        ({"version": "1.21.0+ent", "enterprise": True}, "HashiCorp Vault Enterprise 1.21.0+ent"),
        ({"version": "1 | [x](https://example)"}, "HashiCorp Vault of an unknown version"),
        ({}, "HashiCorp Vault of an unknown version"),
        ({"version": "1.13.0+ent.hsm"}, "HashiCorp Vault Enterprise 1.13.0+ent.hsm"),
    ],
)
def test_the_report_names_the_product_and_its_edition(health, name):
    assert server_name(health) == name


def test_a_failure_is_the_agents_last_complaint_without_the_address(monkeypatch):
    monkeypatch.setenv("VAULT_ADDR", "https://vault.example:8200")
    warning = {"level": "warning", "event": "login failed", "error": "https://vault.example:8200 | refused"}
    text = f"the wanted status was not true\n{json.dumps(warning)}\n" + json.dumps({"level": "info", "event": "x"})
    assert reason(AssertionError(text)) == "login failed: $VAULT_ADDR \\| refused"
    assert reason(ValueError("a\nb")) == "a"
