"""`lessee import` moves the secrets of an env file into a real OpenBao, and `lessee render` gives them back."""

import os
import signal
import subprocess
import sys

import pytest
import yaml
from dotenv import dotenv_values

from lessee.core.redaction import forms
from lessee.host.openbao import ROOT_TOKEN
from support.programs.terminal import Terminal

CANARY = "canary-imported-7f3a"
TEXT = f"""\
# The shop's settings; the password was {CANARY}

SHOP_NAME='the {{{{ shop }}}}'
POSTGRES_PASSWORD={CANARY}
export DATABASE_URL="postgres://app:{CANARY}@db:5432/shop?sslmode=disable"
SMTP_PASSWORD='{CANARY} é \\' " # x'
"""


class Project:
    """A project's folder with an env file, and a user's environment."""

    def __init__(self, address, folder, memory, environment):
        self.folder = folder / "shop"
        self.folder.mkdir()
        self.file = self.folder / ".env"
        self.file.write_text(TEXT)
        self.environment = environment
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "VAULT_ADDR": address,
            "VAULT_TOKEN": ROOT_TOKEN,
            "LESSEE_ENVIRONMENT": environment,
            "XDG_RUNTIME_DIR": str(memory),
        }
        self.output = ""

    def __call__(self, *words, code=0, **environ):
        """Run lessee in the folder; returns its output."""
        done = subprocess.run(
            [sys.executable, "-m", "lessee", *words],
            cwd=self.folder,
            env=self.environ | environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.output += done.stdout + done.stderr
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def names(self):
        return {path.name for path in self.folder.iterdir()}


@pytest.fixture
def project(bao, tmp_path, memory, folder):
    return Project(bao.address, tmp_path, memory, folder)


def secret(bao, project, path):
    return bao.ask("GET", f"secret/data/{project.environment}/{path}")["data"]["data"]


def test_the_reader_gets_the_same_from_vault_and_no_value_is_printed(bao, project, tmp_path):
    before = dotenv_values(project.file)
    printed = project("import", ".env", "--reader", "python-dotenv", "--yes")
    assert "SMTP_PASSWORD (line 6) → applications/shop#smtp_password" in printed
    assert ".env is unchanged, and still contains the secrets" in printed
    assert project.file.read_text() == TEXT
    assert project.names() == {".env", "lessee.yaml", "shop.env.j2"}
    assert secret(bao, project, "database/postgres")["password"] == CANARY
    project("render", "--app", "shop", "--output", str(tmp_path / "out"))
    assert dotenv_values(tmp_path / "out/.env") == before
    written = "".join((project.folder / name).read_text() for name in ("lessee.yaml", "shop.env.j2"))
    assert not [form for form in forms(CANARY) if form in project.output + written]

    project.file.unlink()
    project("render", "--app", "shop", "--output", str(tmp_path / "again"))
    assert dotenv_values(tmp_path / "again/.env") == before


def test_a_second_run_has_nothing_to_do_and_needs_no_consent(project):
    project("import", ".env", "--reader", "python-dotenv", "--yes")
    times = {path: path.stat().st_mtime_ns for path in project.folder.iterdir()}
    assert "nothing to do" in project("import", ".env", "--reader", "python-dotenv")
    assert {path: path.stat().st_mtime_ns for path in project.folder.iterdir()} == times


def test_another_value_in_vault_is_refused_and_nothing_is_written(bao, project):
    path = f"secret/data/{project.environment}/applications/shop"
    bao.ask("POST", path, {"data": {"smtp_password": "another", "mine": "x"}})
    printed = project("import", ".env", "--reader", "compose", "--exclude", "DATABASE_URL", "--yes", code=73)
    assert "Vault has another value for smtp_password; nothing was written" in printed
    assert not any(line.startswith("+ ") for line in printed.splitlines())
    assert project.names() == {".env"}
    assert secret(bao, project, "applications/shop") == {"smtp_password": "another", "mine": "x"}
    with pytest.raises(RuntimeError, match="404"):
        secret(bao, project, "database/postgres")
    project("import", ".env", "--reader", "python-dotenv", "--path", "imported", "--yes")
    assert secret(bao, project, "imported/database/postgres")["password"] == CANARY


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("prefer", "value", "how"),
    [
        ("vault", "another", "that of Vault is rendered"),
        ("files", None, "Vault gets that of the file as a new version"),
    ],
)
def test_a_person_says_which_value_is_right(bao, project, tmp_path, prefer, value, how):
    path = f"secret/data/{project.environment}/applications/shop"
    bao.ask("POST", path, {"data": {"smtp_password": "another", "mine": "x"}})
    words = ("import", ".env", "--reader", "python-dotenv", "--yes")
    assert "`lessee import .env --prefer vault`" in project(*words, code=73)
    printed = project(*words, "--prefer", prefer)
    assert f"applications/shop#smtp_password has another value in Vault: {how}" in printed
    project("render", "--app", "shop", "--output", str(tmp_path / "out"))
    wanted = dotenv_values(project.file) | ({"SMTP_PASSWORD": value} if value else {})
    assert dotenv_values(tmp_path / "out/.env") == wanted
    assert secret(bao, project, "applications/shop") == {"smtp_password": wanted["SMTP_PASSWORD"], "mine": "x"}
    assert "nothing to do" in project(*words, "--prefer", prefer)


def test_a_dry_run_needs_no_server_and_writes_nothing(project):
    printed = project("import", ".env", "--reader", "python-dotenv", "--dry-run", VAULT_ADDR="http://127.0.0.1:1")
    assert "nothing was written" in printed
    assert project.names() == {".env"}


def test_without_consent_nothing_is_written(project):
    assert "there is no terminal; add --yes" in project("import", ".env", "--reader", "python-dotenv", code=64)
    command = [sys.executable, "-m", "lessee", "import", ".env", "--reader", "python-dotenv"]
    terminal = Terminal(*command, cwd=project.folder, env=project.environ)
    try:
        assert CANARY not in terminal.until("apply these changes? [y/N] ")
        terminal.type("n\n")
        terminal.until("nothing was written")
        assert terminal.end(15) == 64
    finally:
        terminal.close()
    assert project.names() == {".env"}


def test_an_existing_configuration_gets_the_app(project, tmp_path):
    (project.folder / "web.j2").write_text("x")
    before = (
        f"# mine\nenvironment: {project.environment}\nstate_dir: ${{XDG_RUNTIME_DIR}}/state\ntemplate_dir: templates\n"
        "apps:\n  web:\n    directory: ${XDG_RUNTIME_DIR}/web\n    files: [{template: web.j2}]\n"
    )
    (project.folder / "templates").mkdir()
    (project.folder / "lessee.yaml").write_text(before)
    project("import", ".env", "--reader", "python-dotenv", "--app", "api", "--yes")
    after = (project.folder / "lessee.yaml").read_text()
    assert after.startswith(before)
    assert yaml.safe_load(after)["apps"]["api"]["files"] == [
        {"template": "api.env.j2", "name": ".env", "format": "dotenv"}
    ]
    project("render", "--app", "api", "--output", str(tmp_path / "out"))
    assert dotenv_values(tmp_path / "out/.env") == dotenv_values(project.file)
    (project.folder / "templates/api.env.j2").write_text("other")
    printed = project("import", ".env", "--reader", "python-dotenv", "--app", "api", "--yes", code=73)
    assert "there is another file with the template's name" in printed


def test_readers_that_differ_are_named_with_the_line(project):
    project.file.write_text(f"A=1\nA_PASSWORD=${CANARY}\n")
    printed = project("import", ".env", "--yes", code=65)
    assert ".env:2: python-dotenv and Docker Compose read A_PASSWORD differently; name the program" in printed
    assert CANARY not in printed
    assert project.names() == {".env"}


def test_options_belong_to_one_kind_of_file(project):
    (project.folder / "agent.hcl").write_text("vault {}\n")
    assert "--yes is for env files alone" in project("import", "agent.hcl", "--yes", code=64)
    assert "--output is not for an env file" in project("import", ".env", "--output", "x", code=64)
    (project.folder / "plain.env").write_text("A=1\n")
    assert "no secrets found; nothing to do" in project("import", "plain.env")
    assert project.names() == {".env", "agent.hcl", "plain.env"}


@pytest.mark.thorough
@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_killed_run_is_finished_by_the_next(project, tmp_path, step):
    program = _KILLED.replace("STEP", str(step))
    done = subprocess.run(
        [sys.executable, "-c", program, "import", ".env", "--reader", "python-dotenv", "--yes"],
        cwd=project.folder,
        env=project.environ,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    project("import", ".env", "--reader", "python-dotenv", "--yes")
    project("render", "--app", "shop", "--output", str(tmp_path / "out"))
    assert dotenv_values(tmp_path / "out/.env") == dotenv_values(project.file)


# Killed before the STEP-th rename or connection.
_KILLED = """
import os, signal, sys
left = [STEP]
def audit(event, _):
    if event in {"os.rename", "socket.connect"}:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
from lessee.cli import main
sys.addaudithook(audit)
sys.exit(main())
"""
