"""`lessee check --fix` mends each kind of finding in real stacks, shows a diff without values, and loses nothing."""

# ruff: noqa: E501  # What breaks a stack is in one line.

import json
import os
import shutil
import subprocess
import sys

import pytest

from support.needs import need
from support.paths import ROOT
from support.programs.forks import run_lessee
from support.programs.terminal import Terminal

COMPOSE = ROOT / "compose"
CANARY = "HUNTER2-c4n4ry"


def lessee(*arguments, cwd):
    return run_lessee(
        *arguments, cwd=cwd, env={name: value for name, value in os.environ.items() if name[:6] != "PYTHON"}
    )


class Project:
    """A copy of compose/, of which a test breaks a stack."""

    def __init__(self, folder, stack):
        shutil.copytree(COMPOSE, folder / "compose")
        shutil.copytree(ROOT / "templates", folder / "templates")
        self.folder, self.file = folder / "compose" / stack, folder / "compose" / stack / "compose.yaml"
        self.config = self.folder / "lessee/lessee.yaml"

    def run(self, *options):
        command = ("check", "--config", "lessee/lessee.yaml", "--compose", "compose.yaml", *options)
        return lessee(*command, cwd=self.folder)

    def rules(self):
        return {found["rule"] for found in json.loads(self.run("--format", "json").stdout)}

    def edit(self, file, *pairs):
        text = file.read_text()
        for old, new in pairs:
            assert old in text, old
            text = text.replace(old, new, 1)
        file.write_text(text)

    def accepted(self):
        """Whether Compose accepts the stack; also where no Engine runs."""
        environ = os.environ | {"DOCKER_GID": "1"}
        done = subprocess.run(
            ["docker", "compose", "config", "--quiet"],
            cwd=self.folder,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode == 0, done.stderr


MOUNT = '"files:/run/secrets/app:ro"'
APP = "    command: [python3, /app/app.py]\n"
TMPFS = '    driver_opts: {type: tmpfs, device: tmpfs, o: "size=1m,mode=0750,uid=0,gid=1000,noexec,nosuid,nodev"}\n'
ENGINE = ("process: {name: app.py}", "container: {service: app, through: engine}")
CELERY = "{process: {name: celery}, action: restart, stop_grace_period: 60s}"

# The stack, the rule, what breaks compose.yaml, and what breaks lessee.yaml.
BREAKS = [
    ("quickstart", "writable-mount", [(MOUNT, '"files:/run/secrets/app"')], []),
    ("quickstart", "writable-mount", [(MOUNT, "{type: volume, source: files, target: /run/secrets/app}")], []),
    ("simba", "writable-mount", [('"api:/run/secrets/simba:ro"', '"api:/run/secrets/simba"')], []),
    (
        "quickstart",
        "stale-mount",
        [(MOUNT, "{type: volume, source: files, target: /run/secrets/app/in, read_only: true, volume: {subpath: in}}")],
        [("template: app.env.j2", "{template: app.env.j2, name: in/app.env}")],
    ),
    ("quickstart", "no-shared-pid", [("    pid: service:holder\n", ""), ("    pid: service:holder\n", "")], []),
    ("quickstart", "no-shared-pid", [('    user: "1000:1000"\n    pid: service:holder\n', '    user: "1000:1000"\n')], []),
    ("simba", "no-shared-pid", [("  pid: service:holder\n", "")], []),
    ("quickstart", "shadowed-variable", [(APP, f"{APP}    environment:\n      DATABASE_PASSWORD: {CANARY} # mine\n")], []),
    ("quickstart", "shadowed-variable", [(APP, f"{APP}    environment: [A=b, DATABASE_PASSWORD={CANARY}]\n")], []),
    ("quickstart", "shadowed-variable", [(APP, f"{APP}    env_file: app.env\n")], []),
    ("quickstart", "same-user", [('    user: "0:1000"', '    user: "1000:1000"'), ("mode=0750,uid=0", "mode=0750,uid=1000")], []),
    ("quickstart", "no-stop-signal", [], [ENGINE]),
    ("quickstart", "unknown-service", [], [("process: {name: app.py}", "container: {service: ap}")]),
    ("exec", "unknown-app", [("    networks: [vault]\n    volumes", "    entrypoint: [/opt/lessee/bin/lessee, exec, --app, ap, --]\n    command: [x]\n    networks: [vault]\n    volumes")], []),
    ("quickstart", "starts-too-early", [("      agent: {condition: service_healthy}", "      agent: {condition: service_started}")], []),
    ("quickstart", "starts-too-early", [("    depends_on:\n      agent: {condition: service_healthy}", "    depends_on: [agent] # wait")], []),
    ("quickstart", "not-in-memory", [(TMPFS, "    labels: {a: b}\n")], []),
    ("quickstart", "other-group", [("mode=0750,uid=0,gid=1000", "mode=0750,uid=0,gid=1001")], []),
    ("restart", "no-restart-policy", [("    restart: unless-stopped #", '    restart: "no" #')], []),
    ("simba", "sighup-not-handled", [], [(CELERY, CELERY.replace("restart", "SIGHUP"))]),
    ("quickstart", "app-not-mounted", [(f", {MOUNT}", "")], []),
    ("quickstart", "app-not-mounted", [("      - files:/run/secrets/app\n", ""), (f", {MOUNT}", "")], []),
]  # fmt: skip


@pytest.mark.thorough(each=7)
@pytest.mark.parametrize(("stack", "rule", "compose", "config"), BREAKS)
def test_a_broken_stack_is_mended(tmp_path, stack, rule, compose, config):
    project = Project(tmp_path, stack)
    (project.folder / "app.env").write_text(f"A=1\nDATABASE_PASSWORD={CANARY}\nB=2\n")
    before = project.rules()
    assert rule not in before
    project.edit(project.file, *compose)
    project.edit(project.config, *config)
    assert rule in project.rules()
    done = project.run("--fix", "--yes")
    assert CANARY not in done.stdout + done.stderr
    assert project.rules() <= before, done.stderr
    again = project.run("--fix", "--yes")
    assert again.stdout == ""
    assert "nothing to fix" in again.stderr
    if shutil.which("docker"):
        assert project.accepted() == (True, "")


@pytest.fixture
def broken(tmp_path):
    project = Project(tmp_path, "quickstart")
    project.edit(
        project.file,
        (MOUNT, '"files:/run/secrets/app"'),
        (APP, f"{APP}    environment: {{DATABASE_PASSWORD: {CANARY}}}\n"),
    )
    return project


@pytest.mark.parametrize("option", ["--dry-run", "--diff"])
def test_a_dry_run_shows_a_diff_without_values_and_changes_nothing(broken, option):
    text = broken.file.read_bytes()
    done = broken.run("--fix", option)
    assert done.returncode == 78
    assert "--- compose.yaml before\n+++ compose.yaml after\n" in done.stdout
    assert '+    volumes: ["./app:/app:ro", "files:/run/secrets/app:ro"]' in done.stdout
    assert "-    environment: {DATABASE_PASSWORD: ***}" in done.stdout
    assert CANARY not in done.stdout + done.stderr
    assert broken.file.read_bytes() == text


def test_a_person_is_asked_once(broken):
    text = broken.file.read_bytes()
    command = [
        sys.executable,
        "-m",
        "lessee",
        "check",
        "--config",
        "lessee/lessee.yaml",
        "--compose",
        "compose.yaml",
        "--fix",
    ]
    for answer, is_applied in (("n", False), ("y", True)):
        terminal = Terminal(*command, cwd=broken.folder)
        try:
            terminal.until("apply these changes? [y/N] ")
            terminal.type(f"{answer}\n")
            terminal.until("2 fixed" if is_applied else "nothing was written")
        finally:
            terminal.close()
        assert (broken.file.read_bytes() != text) == is_applied


def test_without_a_terminal_it_needs_yes(broken):
    text = broken.file.read_bytes()
    done = broken.run("--fix")
    assert done.returncode == 64
    assert "there is no terminal; add --yes, or --dry-run" in done.stderr
    assert broken.file.read_bytes() == text


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--fix", "--format", "json"), "--fix prints a diff"),
        (("--dry-run",), "without --fix"),
        (("--yes",), "without --fix"),
    ],
)
def test_options_that_have_no_effect_are_refused(broken, options, why):
    done = broken.run(*options)
    assert done.returncode == 64
    assert why in done.stderr


def test_layout_line_breaks_mode_owner_and_links_stay(broken):
    text = "\ufeff" + broken.file.read_text().replace("\n", "\r\n")
    real = broken.folder / "real.yaml"
    real.write_bytes(text.encode())
    real.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(real, 1000, 1001)
    before = real.stat()
    broken.file.unlink()
    broken.file.symlink_to(real)
    done = broken.run("--fix", "--yes")
    assert done.returncode == 0, done.stderr
    assert broken.file.is_symlink()
    after = real.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    expected = text.replace('"files:/run/secrets/app"', MOUNT).replace(
        f"    environment: {{DATABASE_PASSWORD: {CANARY}}}\r\n", ""
    )
    assert real.read_bytes().decode() == expected
    assert sorted(path.name for path in broken.folder.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize("how", ["read-only", "linked"])
def test_a_file_that_cannot_be_replaced_is_not_changed(broken, how):
    text = broken.file.read_bytes()
    if how == "read-only":
        broken.file.chmod(0o444)
    else:
        (broken.folder / "other").hardlink_to(broken.file)
    done = broken.run("--fix", "--yes")
    assert done.returncode == 73
    assert broken.file.read_bytes() == text


def test_the_lines_of_an_incomplete_stack_end_the_report_and_complete_it(tmp_path):
    (tmp_path / "lessee.yaml").write_text((COMPOSE / "quickstart/lessee/lessee.yaml").read_text())
    (tmp_path / "app.env.j2").write_text("DATABASE_PASSWORD={{ secret('database').password }}\n")
    file = tmp_path / "compose.yaml"
    file.write_text(
        f"services:\n  app:\n    image: x\n    environment:\n      DATABASE_PASSWORD: {CANARY}\n    depends_on: [db]\n  db: {{image: y}}\n"
    )
    done = lessee("check", "--compose", "compose.yaml", cwd=tmp_path)
    assert done.returncode == 78  # The variable hides the rendered one.
    assert CANARY not in done.stdout + done.stderr
    assert done.stdout.startswith("# Add these lines as compose.override.yaml: `docker compose up` reads both.\n")
    (tmp_path / "compose.override.yaml").write_text(done.stdout)
    both = lessee("check", "--compose", "compose.yaml", "compose.override.yaml", "--format", "json", cwd=tmp_path)
    assert {found["rule"] for found in json.loads(both.stdout)} == set()
    need(shutil.which("docker"), "needs docker with Compose")
    output = subprocess.run(
        ["docker", "compose", "config", "--format", "json"], cwd=tmp_path, capture_output=True, check=True
    )
    app = json.loads(output.stdout)["services"]["app"]
    assert CANARY not in output.stdout.decode()
    assert app["depends_on"].keys() == {"db", "agent", "holder"}
    assert app["volumes"][0] == {
        "type": "volume",
        "source": "app",
        "target": "/run/secrets/app",
        "read_only": True,
        "volume": {},
    }


def test_reports_for_programs_have_the_edits(broken):
    found = {one["rule"]: one for one in json.loads(broken.run("--format", "json").stdout)}
    [edit] = found["writable-mount"]["fix"]["edits"]
    content = broken.file.read_bytes()
    assert content[: edit["start"]].endswith(b'"files:/run/secrets/app')
    assert (edit["file"], edit["text"], edit["end"] - edit["start"]) == ("compose.yaml", ":ro", 0)
    log = json.loads(broken.run("--format", "sarif").stdout)
    assert any("fixes" in result for result in log["runs"][0]["results"])
    assert "--fix`: mount /run/secrets/app in app read-only)" in broken.run("--format", "github").stdout
    assert CANARY not in json.dumps(log)
