"""`lessee check` in a build: all problems in one run, for people and programs, without values."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support.paths import ROOT
from support.programs.sidecar import Sidecar, eventually

CANARY = "HUNTER2-c4n4ry"
COMPOSE = f"""\
services:
  agent: {{image: lessee, pid: host, volumes: ["files:DIRECTORY"]}}
  web:
    volumes: ["files:/run/secrets/web"]
    environment:
      PASSWORD: {CANARY}
      DSN: "postgresql://web:{CANARY}@db/web"
    env_file: web.env
    build: {{args: {{NPM_TOKEN: {CANARY}}}}}
"""


@pytest.fixture
def project(tmp_path, memory):
    made = Sidecar("http://127.0.0.1:1", tmp_path, memory)
    made.template("app.env.j2", 'PASSWORD={{ secret("db").password }}\nUSER_NAME={{ secret("db").user }}\n')
    made.write_config()
    return made


@pytest.fixture
def wrong(project, tmp_path):
    """A project with a problem in each of its files."""
    (tmp_path / "t").mkdir()
    project.template("t/app.json.j2", '{\n"a": {{ secret("db").password }},\n"b"}')
    project.template("b.env.j2", '{{ nope }}\n{{ 1 | nope }}\n{{ secret("a" ~ "b").c }}')
    project.web["notify"] = {"process": {"name": "celery"}}
    project.write_config()
    (tmp_path / "web.env").write_text(f"USER_NAME={CANARY}\n")
    (tmp_path / "compose.yaml").write_text(COMPOSE.replace("DIRECTORY", str(project.directory)))
    return project


RULES = {
    "sighup-not-handled",
    "format-mismatch",
    "literal-secret",
    "path-not-literal",
    "shadowed-variable",
    "unknown-filter",
    "unknown-name",
    "writable-mount",
}


def findings(project, *arguments, **more):
    done = project.command("check", "--format", "json", *arguments, **more)
    assert not done.stderr
    return done.returncode, json.loads(done.stdout)


def test_all_problems_are_reported_with_paths_relative_to_the_current_directory(wrong):
    code, found = findings(wrong, "--compose", "compose.yaml")
    assert code == 78
    assert {one["rule"] for one in found} == RULES
    places = {(one["file"], one["line"]) for one in found if one["rule"] != "sighup-not-handled"}
    assert places == {
        ("b.env.j2", 1), ("b.env.j2", 2), ("b.env.j2", 3), ("t/app.json.j2", 3),
        ("compose.yaml", 4), ("compose.yaml", 6), ("compose.yaml", 7), ("compose.yaml", 8), ("compose.yaml", 9),
    }  # fmt: skip
    shadows = [one["message"].split()[0] for one in found if one["rule"] == "shadowed-variable"]
    assert shadows == ["PASSWORD", "USER_NAME"]


@pytest.mark.parametrize("form", ["text", "json", "sarif", "github"])
def test_no_value_of_a_compose_file_is_repeated(wrong, form):
    done = wrong.command("check", "--format", form, "--compose", "compose.yaml")
    assert done.returncode == 78
    assert CANARY not in done.stdout + done.stderr


def test_the_text_report_goes_to_stderr_with_a_count(wrong):
    done = wrong.command("check", "--compose", "compose.yaml")
    assert done.stdout.startswith("# Add these lines as compose.override.yaml")
    lines = done.stderr.splitlines()
    assert "b.env.j2:2: unknown filter 'nope'" in lines
    assert any(line.startswith("compose.yaml:4: warning: service web may write") for line in lines)
    assert lines[-1] == "7 problems, 4 warnings"


def test_sarif_and_github_reports_are_the_only_output(wrong):
    done = wrong.command("check", "--format", "sarif")
    assert (done.returncode, done.stderr) == (78, "")
    results = json.loads(done.stdout)["runs"][0]["results"]
    done = wrong.command("check", "--format", "github")
    assert (done.returncode, done.stderr) == (78, "")
    assert len(done.stdout.splitlines()) == len(results) == 5
    assert all(line.startswith("::error file=") for line in done.stdout.splitlines())
    assert "::error file=b.env.j2,line=2,title=unknown-filter::unknown filter 'nope'" in done.stdout.splitlines()


def test_without_findings_programs_get_an_empty_list_and_people_the_secrets_read(project, tmp_path):
    assert findings(project) == (0, [])
    assert project.command("check", "--format", "github").stdout == ""
    mount = f"volumes: ['{project.directory}:/s:ro']"
    (tmp_path / "compose.yaml").write_text(f"services: {{web: {{environment: {{A_TOKEN: x}}, {mount}}}}}")
    done = project.command("check", "--compose", "compose.yaml")
    assert done.returncode == 0
    assert done.stderr.splitlines()[1:] == ["1 warning"]
    assert "reads secret/testing/db" in done.stdout
    assert "lessee.yaml is valid: 1 app" in done.stdout


def test_the_exit_code_is_65_for_a_template_and_78_for_the_configuration(project, tmp_path):
    (tmp_path / "app.env.j2").write_text("{{ nope }}")
    assert findings(project)[0] == 65
    with (tmp_path / "lessee.yaml").open("a") as file:
        file.write("nope: 1\n")
    code, found = findings(project)
    assert (code, [one["rule"] for one in found]) == (78, ["unknown-name", "configuration"])


def test_a_path_outside_the_current_directory_is_absolute(project, tmp_path):
    elsewhere = tmp_path / "else"
    elsewhere.mkdir()
    (tmp_path / "app.env.j2").write_text("{{ nope }}")
    done = subprocess.run(
        [sys.executable, "-m", "lessee", "check", "--config", "../lessee.yaml", "--format", "json"],
        cwd=elsewhere,
        env=project.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert [one["file"] for one in json.loads(done.stdout)] == [f"{tmp_path}/app.env.j2"]


def test_a_missing_configuration_is_a_finding(project):
    code, [found] = findings(project, "--config", "nowhere.yaml")
    assert (code, found["rule"], found["file"]) == (78, "configuration", "nowhere.yaml")


def test_a_missing_compose_file_is_reported(project):
    code, [found] = findings(project, "--compose", "nowhere.yaml")
    assert (code, found["rule"], found["file"], found["line"]) == (78, "compose-unreadable", "nowhere.yaml", None)


def test_invalid_usage_is_reported(project):
    assert project.command("check", "--online").returncode == 64
    assert project.command("check", "--format", "xml").returncode == 64


@pytest.mark.parametrize("example", sorted(ROOT.glob("compose/*/compose.yaml")), ids=lambda path: path.parent.name)
def test_the_examples_have_no_errors(project, example):
    # `issue` has that of the host's service too.
    [config] = (file for file in example.parent.rglob("lessee.yaml") if file.parent.name != "issuer")
    if "\ncompose:" in config.read_text():
        # The user writes the model; this one has the labels as the file has them.
        config = Path(shutil.copy(config, project.disk))
        (project.disk / "compose.json").write_text(json.dumps(yaml.safe_load(example.read_text())))
    code, found = findings(project, "--config", str(config), "--compose", str(example))
    assert (code, {one["level"] for one in found} - {"warning", "note"}) == (0, set())


def test_the_sidecar_does_not_import_lint():
    listed = (
        "import sys, lessee.cli.commands.run, lessee.cli.commands.exec, lessee.cli.commands.render;"
        "print([name for name in sys.modules if name.startswith('lessee.ops')])"
    )
    done = subprocess.run([sys.executable, "-c", listed], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_credential_that_every_user_can_read_is_named_with_its_mode_and_what_to_do(project, memory):
    memory.chmod(0o755)
    secret, role = memory / "secret_id", memory / "role_id"
    for path in (secret, role):
        path.write_text(CANARY)
        path.chmod(0o644)
    project.config["vault"]["auth"] = {
        "method": "approle",
        "role_id_file": str(role),
        "secret_id_file": str(secret),
    }
    project.write_config()
    code, found = findings(project)
    assert code == 0
    [finding] = [one for one in found if one["rule"] == "exposed-credential"]
    assert finding["message"].startswith(f"{secret} holds a credential of the agent")
    assert "(mode 0644)" in finding["message"]
    assert f"chmod 600 {secret}" in finding["help"]
    project.start(wait=False)
    exposed = "credential exposed"
    warnings = eventually(lambda: [one for one in project.events() if one["event"] == exposed], "the warning")
    assert [(one["file"], one["mode"]) for one in warnings] == [(str(secret), "0644")]
    assert CANARY not in project.log.read_text()
    project.close()
    secret.chmod(0o600)
    assert not [one for one in findings(project)[1] if one["rule"] == "exposed-credential"]


@pytest.mark.parametrize("shared", [False, True])
def test_a_fix_is_offered_only_where_the_file_can_be_edited(project, shared):
    project.web.update(directory="/run/secrets/web", notify={"container": {"service": "web"}})
    project.write_config()
    web = "services:\n  web: &web\n    image: web\n  agent: {image: lessee, command: run}\n"
    # An edit of the first service would change the other one too.
    (project.disk / "compose.yaml").write_text(web + "  other: *web\n" * shared)
    done = project.command("check", "--compose", "compose.yaml")
    assert "# Add these lines as compose.override.yaml" in done.stdout
    fixed = project.command("check", "--compose", "compose.yaml", "--fix", "--dry-run")
    assert ("nothing to fix" in fixed.stderr) == shared, fixed.stderr
    assert ("--fix" in done.stdout) != shared
