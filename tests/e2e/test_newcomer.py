"""Mistakes of a newcomer on the real program: each error says what is wrong, where, and what to do next."""

import grp
import json
import os
import pwd
import subprocess

import pytest

from lessee.host.openbao import free_port
from support.programs.sidecar import eventually

FORKED_AGENTS = True
POLICY = 'path "secret/*" { capabilities = ["read", "list"] }'


@pytest.fixture
def project(bao, sidecar, folder):
    """An agent with an AppRole of its own, whose every mistake is a test's."""
    bao.put(f"testing/{folder}/db", password="first")
    sidecar.template("app.env.j2", f'PASSWORD={{{{ secret("{folder}/db").password }}}}\n')
    sidecar.log_in_by_approle(bao, POLICY)
    sidecar.write_config()
    return sidecar


def render(project, *arguments):
    project.write_config()
    done = project.command("render", *arguments)
    return done.returncode, done.stderr


def test_an_absolute_path_of_a_template_is_accepted_in_the_template_directory_alone(project, tmp_path):
    project.web["files"] = [{"template": str(tmp_path / "app.env.j2")}]
    assert render(project) == (0, "")
    assert (project.directory / "app.env").read_text() == "PASSWORD='first'\n"
    project.web["files"] = [{"template": "/etc/hostname", "name": "a.env"}]
    code, error = render(project)
    assert code == 65
    assert f"{tmp_path}: the template '/etc/hostname' is outside the template directory" in error
    assert "name it relative to that directory" in error


@pytest.mark.parametrize("command", ["render", "check", "run"])
def test_a_template_that_is_not_there_is_named_with_its_line_and_the_nearest_name(project, command):
    project.web["files"] = [{"template": "app.evn.j2"}]
    project.write_config()
    done = project.command(command)
    assert done.returncode == 65
    text = (project.disk / "lessee.yaml").read_text().splitlines()
    line = next(number for number, one in enumerate(text, 1) if "app.evn.j2" in one)
    assert (
        f"lessee.yaml:{line}: apps.web.files[0].template: app.evn.j2: template not found; did you mean app.env.j2?"
        in done.stderr
    )


@pytest.mark.parametrize("file", ["role_id", "secret_id"])
def test_a_wrong_credential_names_the_files_and_the_command_that_writes_them(project, file):
    (project.disk / file).write_text("00000000-0000-0000-0000-000000000000")
    code, error = render(project)
    assert code == 77
    assert f"{project.disk}/role_id or {project.disk}/secret_id" in error
    assert "`lessee setup --output DIR` creates both" in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("file", ["role_id", "secret_id"])
def test_a_missing_credential_names_the_file_and_the_next_step(project, file):
    (project.disk / file).unlink()
    code, error = render(project)
    assert code == 77
    assert f"cannot read {project.disk}/{file}: No such file or directory; write it there: `lessee setup" in error
    assert len(error.splitlines()) == 1


def test_a_denied_path_names_the_command_that_prints_the_policy_in_the_log_too(bao, project):
    project.log_in_by_approle(bao, 'path "other/*" { capabilities = ["read"] }')
    code, error = render(project)
    assert code == 77
    assert "`lessee check --policy`" in error
    project.start(wait=False)
    eventually(
        lambda: any("lessee check --policy" in one.get("todo", "") for one in lines(project)), "the line of the log"
    )


def lines(project):
    """The events in the log, of which the last line may be incomplete."""
    found = []
    for line in project.log.read_text().splitlines() if project.log.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


@pytest.mark.parametrize(
    "words",
    [
        ["render", "--timeout", "1s"],
        ["set", "database/postgres", "password"],
        ["emergency", "--environment", "testing", "--dry-run"],
        ["setup", "--plan"],
    ],
    ids=lambda words: words[0],
)
def test_where_vault_is_away_its_address_is_in_the_error(project, words):
    address = f"http://127.0.0.1:{free_port()}"
    project.config["vault"]["address"] = address
    project.config["setup"] = {"environments": ["testing"]}
    project.write_config()
    done = project.command(*words, text="value\n")
    assert done.returncode == 69
    assert "connection refused" in done.stderr
    assert address in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_where_vault_is_away_its_address_is_in_the_log(project):
    address = f"http://127.0.0.1:{free_port()}"
    project.config["vault"]["address"] = address
    project.start(wait=False)
    eventually(
        lambda: any((one["event"], one.get("address")) == ("vault unavailable", address) for one in lines(project)),
        "the line of the log",
    )


def test_a_sealed_server_is_an_error_with_the_command_that_unseals_it(project, server):
    project.config["vault"]["address"] = server.address
    server.ask("PUT", "sys/seal")
    code, error = render(project, "--timeout", "1s")
    assert code == 69
    assert "Vault is sealed (503); `lessee setup --unseal DIR`" in error
    assert server.address in error


def test_a_process_that_is_not_there_is_an_error_with_the_one_that_looks_alike(project, app):
    app("lessnewcom")
    project.web["notify"] = {"process": {"name": "lessnewcon"}}
    project.start(wait=False)
    status = project.until(lambda status: status["apps"]["web"]["notify"]["error"])
    error = status["apps"]["web"]["notify"]["error"]
    assert error == "no process is called lessnewcon; did you mean lessnewcom, which runs?"


def test_an_app_that_a_signal_would_end_is_an_error_with_all_ways_out(project):
    sleeper = subprocess.Popen(["sleep", "1000"])
    try:
        (project.disk / "app.pid").write_text(f"{sleeper.pid}\n")
        project.web["notify"] = {"pid_file": str(project.disk / "app.pid"), "uid": os.getuid(), "start_period": "0s"}
        code, error = render(project)
    finally:
        sleeper.kill()
        sleeper.wait()
    assert code == 75
    assert "does not catch it and would terminate" in error
    assert all(word in error for word in ("`--workers 2`", "`lessee exec`", "`on_unhandled_signal: restart`"))


def test_an_owner_may_be_a_name(project):
    user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    project.web["owner"] = f"{user}:{group}"
    assert render(project) == (0, "")
    project.web["owner"] = "no-such-user"
    code, error = render(project)
    assert code == 78
    assert "apps.web.owner: the agent's machine has no user no-such-user; write the number that `id -u` prints" in error


def test_a_mode_that_every_user_may_read_is_a_warning(project):
    project.web["mode"] = "0444"
    project.write_config()
    done = project.command("check")
    assert done.returncode == 0
    assert "apps.web.mode: every user of the machine can read app.env" in done.stderr
    assert 'write "0440"' in done.stderr


def test_a_directory_on_disk_is_found_by_check_before_run_refuses_it(project, tmp_path):
    project.web["directory"] = str(tmp_path / "published")
    project.write_config()
    done = project.command("check")
    assert "not in memory (tmpfs or ramfs)" in done.stderr
    assert "allow_disk: true" in done.stderr
    assert "/dev/shm" in done.stderr
    code, text = render(project)[:2]
    assert code == 73
    assert f"apps.web.directory: {tmp_path}/published: not in memory" in text
    assert "name a directory in /dev/shm in `apps.web.directory`" in text
    project.config["state_dir"] = str(tmp_path / "state")
    project.write_config()
    code, text = render(project)[:2]
    assert code == 73
    assert f"state_dir: {tmp_path}/state: not in memory (tmpfs or ramfs); name a directory in /dev/shm" in text


def test_an_error_is_printed_once(project, tmp_path):
    (tmp_path / "secret_id").write_text("wrong")
    assert len(render(project)[1].splitlines()) == 1
    project.config["vault"]["address"] = f"http://127.0.0.1:{free_port()}"
    assert len(render(project, "--timeout", "1s")[1].splitlines()) == 1
