"""`lessee render` and `lessee check`: once, for builds and for people."""

import json
import subprocess
import sys

import pytest

from lessee.host.openbao import free_port


@pytest.fixture
def project(bao, sidecar, folder):
    bao.put(f"testing/{folder}/db", password="first")
    sidecar.template("app.env.j2", f'PASSWORD={{{{ secret("{folder}/db").password }}}}\n')
    sidecar.write_config()
    return sidecar


def test_render_into_a_directory_writes_plain_files_and_lists_them(project, tmp_path):
    done = project.command("render", "--output", "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path}/out/web/app.env\n"
    assert (tmp_path / "out/web/app.env").read_text() == "PASSWORD='first'\n"
    assert not (tmp_path / "out/web/app.env").is_symlink()
    assert not project.state.exists()  # a build leaves nothing behind
    done = project.command("render", "--app", "web", "--output", "flat")
    assert (tmp_path / "flat/app.env").exists()


def test_render_without_a_directory_publishes_where_run_would(project):
    done = project.command("render")
    assert done.returncode == 0, done.stderr
    assert (project.directory / "app.env").read_text() == "PASSWORD='first'\n"
    assert str((project.directory / "app.env").readlink()) == "..data/app.env"


def test_a_diff_shows_names_and_structure_and_writes_nothing(bao, project, folder):
    first = project.command("render", "--diff")
    assert "(new)" in first.stdout
    assert "+ PASSWORD" in first.stdout
    assert not project.directory.exists()
    project.command("render")
    assert "(unchanged)" in project.command("render", "--diff").stdout
    bao.put(f"testing/{folder}/db", password="canary-value")
    changed = project.command("render", "--diff")
    assert "values changed" in changed.stdout
    assert "canary" not in changed.stdout + changed.stderr
    assert (project.directory / "app.env").read_text() == "PASSWORD='first'\n"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_diff_hides_values_used_as_names_and_escapes_control_characters(bao, project, folder, encoding):
    bao.put(f"testing/{folder}/keys", word="CANARY5e7", quoted='canary."5e7\u00e9', control="a\x1b[2J\x9bb")
    keys = f'{{% set keys = secret("{folder}/keys") %}}'
    project.template("a.json.j2", f'{keys}{{ {{{{ keys.quoted }}}}: 1, {{{{ keys.control }}}}: 2, "\\ud800": 3 }}')
    project.template("a.yaml.j2", f'{keys}{{{{ keys.quoted }}}}: {{ "é": 1 }}\n')
    project.template("a.toml.j2", f"{keys}{{{{ keys.quoted }}}} = 1\n")
    project.template("a.ini.j2", f"{keys}[a]\nName{{{{ keys.word }}}} = 1\n")
    project.write_config()
    done = project.command("render", "--diff", env={"PYTHONIOENCODING": encoding})
    assert done.returncode == 0, done.stderr
    assert not {"\x1b", "\x9b"} & set(done.stdout)
    assert "canary" not in done.stdout.lower()
    lines = done.stdout.splitlines()
    assert "    + a.Name***" in lines
    assert lines.count('    + "***": integer') == 3  # of JSON (its control one is another value), and of TOML
    assert '    + "\\ud800": integer' in lines
    assert f'    + "***".{"é" if encoding == "utf-8" else chr(92) + "xe9"}: integer' in lines


def test_a_missing_secret_exits_immediately_with_65_and_other_apps_are_rendered(project, tmp_path, memory):
    project.config["apps"]["bad"] = {"directory": str(memory / "bad"), "files": [{"template": "bad.env.j2"}]}
    (tmp_path / "bad.env.j2").write_text('X={{ secret("no/such").thing }}\n')
    project.write_config()
    done = project.command("render", "--output", "out")
    assert done.returncode == 65
    assert "secret/testing/no/such: it does not exist" in done.stderr
    assert (tmp_path / "out/web/app.env").exists()
    assert not (tmp_path / "out/bad").exists()


def test_a_denied_path_exits_immediately_with_77(bao, project):
    token = bao.ask("POST", "auth/token/create", {"policies": ["default"], "ttl": "5m"})["auth"]["client_token"]
    done = project.command("render", "--output", "out", env={"VAULT_TOKEN": token})
    assert done.returncode == 77, done.stderr
    done = project.command("render", "--output", "out", env={"VAULT_TOKEN": "no-such-token"})
    assert done.returncode == 77
    assert "no-such-token" not in done.stderr


def test_an_unreachable_vault_exits_after_the_timeout_with_69(project):
    project.config["vault"]["address"] = f"http://127.0.0.1:{free_port()}"
    project.write_config()
    done = project.command("render", "--output", "out", "--timeout", "3s")
    assert done.returncode == 69
    assert "connection refused" in done.stderr


def test_check_needs_no_vault_and_lists_what_each_app_reads(project, folder):
    project.config["vault"]["address"] = "http://127.0.0.1:1"
    project.write_config()
    done = project.command("check")
    assert done.returncode == 0, done.stderr
    assert f"reads secret/testing/{folder}/db" in done.stdout


@pytest.mark.parametrize(
    ("notify", "ready", "said"),
    [
        ({"process": {"name": "nginx"}}, {"tcp": "web:80"}, "SIGHUP to process nginx|a connection to web:80"),
        (
            {"process": {"cmdline": "celery.*"}, "action": "restart"},
            {"http": "http://u:canary@web/x?canary"},
            "restart to the process whose command line has celery.*|GET from web",
        ),
        ({"pid_file": "/run/pid"}, {"file": "/run/ready"}, "SIGHUP to the pid in /run/pid|the file /run/ready"),
        (
            {"child": True, "action": "restart"},
            {"command": ["psql", "canary"]},
            "restart to the child of `lessee exec`|the command psql",
        ),
        (
            {"container": {"service": "web"}, "action": "restart"},
            {"tls": {"address": "web:443", "certificate": "app.env"}},
            "restart to service web|web:443, which serves app.env",
        ),
        ({"command": ["reload", "canary"]}, {"tcp": "web:80"}, "the command reload|a connection"),
        ({"http": "http://u:canary@web/x?canary"}, {"tcp": "web:80"}, "POST to web|a connection"),
    ],
)
def test_check_prints_how_an_app_is_checked_notified_and_probed_without_secrets(project, notify, ready, said):
    project.web.update(check=["nginx", "canary"], notify=notify, ready=ready, env_template="app.env.j2")
    if notify.get("action") != "restart" and "command" not in notify and "http" not in notify:
        del project.web["env_template"]
    project.write_config()
    done = project.command("check")
    assert done.returncode == 0, done.stderr
    telling, proof = said.split("|")
    assert "  checked by nginx, within 10s\n" in done.stdout
    assert f"  notified by {telling}\n" in done.stdout
    assert f"  ready by {proof}" in done.stdout
    assert ("the environment of the child" in done.stdout) == ("env_template" in project.web)
    assert "canary" not in done.stdout


def test_check_prints_who_reads_at_the_sockets_of_an_app(project):
    project.web["socket"] = {
        "path": "/run/sockets/web.sock",
        "uids": [1001, 1000],
        "gids": [5],
        "listen": "127.0.0.1:8300",
        "token_file": str(project.disk / "token"),
    }
    project.web["credentials"] = {"socket": "/run/sockets/credentials.sock", "units": ["b.service", "a.service"]}
    project.write_config()
    said = project.command("check").stdout
    assert "  read by uid 1000 or uid 1001 or gid 5 at /run/sockets/web.sock\n" in said
    assert f"  read with the token in {project.disk}/token at 127.0.0.1:8300\n" in said
    assert "  read by systemd for a.service, b.service at /run/sockets/credentials.sock\n" in said
    project.web["socket"] = {
        "path": "/run/sockets/web.sock",
        "containers": [{"project": "shop", "service": "web"}, {"label": "role=web"}],
    }
    project.write_config()
    said = project.command("check").stdout
    assert "  read by the agent's user in a container of shop web or role=web at /run/sockets/web.sock\n" in said


def test_check_prints_all_template_errors_and_exits_with_65(project):
    project.template("one.env.j2", '{{ secret("a" ~ "b").x }}')
    project.template("two.env.j2", "\n\n{{ nonsense }}")
    project.template("three.env.j2", '{{ secret("production/x").y }}')
    project.write_config()
    done = project.command("check")
    assert done.returncode == 65
    for place in ("one.env.j2:1", "two.env.j2:3", "three.env.j2:1"):
        assert place in done.stderr


def test_check_prints_all_configuration_errors_and_exits_with_78(project, tmp_path):
    (tmp_path / "lessee.yaml").write_text("vualt: {}\napps:\n  web:\n    directory: relative\n    files: 3\n")
    done = project.command("check")
    assert done.returncode == 78
    for place in ("lessee.yaml:1", "lessee.yaml:4", "lessee.yaml:5"):
        assert place in done.stderr


def test_export_needs_an_environment_template(project):
    done = project.command("render", "--app", "web", "--export", "variables")
    assert (done.returncode, "apps.web: --export has no environment to export" in done.stderr) == (64, True), (
        done.stderr
    )
    assert not (project.disk / "variables").exists()


def test_usage_errors_and_a_missing_configuration_have_their_exit_codes(project):
    assert project.command("rendr").returncode == 64
    assert project.command("render", "--outptu", "x").returncode == 64
    assert project.command("render", env={"LESSEE_LOG_LEVEL": "chatty"}).returncode == 64
    assert project.command("check", "--config", "nowhere.yaml").returncode == 78
    assert project.command("--version").stdout.startswith("lessee ")
    assert "start here" in project.command("--help").stdout


def test_a_loop_with_commas_renders_json(bao, project, folder, tmp_path):
    for name in ("a", "b"):
        bao.put(f"testing/{folder}/keys/{name}", key=f'"{name}"')
    loop = f'{{% for name, one in secrets("{folder}/keys/").items() %}}'
    text = loop + '"{{ name }}": {{ one.key }}{{ "," if not loop.last }}{% endfor %}'
    project.template("keys.json.j2", "{\n" + text + "}\n")
    project.write_config()
    done = project.command("render", "--output", "out")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out/web/keys.json").read_text()) == {"a": '"a"', "b": '"b"'}


def test_render_imports_no_library_it_does_not_use(project):
    listed = (
        "import sys; from lessee.cli import main; main(['render','--output','out']);"
        "print([m for m in ('docker','rich','prometheus_client','asyncio') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", listed],
        cwd=project.disk,
        env=project.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("how", [(), ("--app", "web"), ("--diff",), ("--output", "out")])
@pytest.mark.parametrize("token", ["right", "wrong"])
def test_an_app_that_has_only_an_environment_is_not_rendered_and_that_is_said(project, how, token):
    del project.web["files"]
    project.web["env_template"] = "app.env.j2"
    project.write_config()
    if token == "wrong":
        project.environ["VAULT_TOKEN"] = "wrong"
    done = project.command("render", *how)
    assert (done.returncode, done.stdout) == (64, "")
    assert "apps.web: nothing to render: it has only `env_template`" in done.stderr
    assert "`lessee exec --app web -- COMMAND`" in done.stderr


def test_of_several_apps_those_with_files_are_rendered_and_the_others_are_named(project):
    project.config["apps"]["worker"] = {"directory": str(project.memory / "worker"), "env_template": "app.env.j2"}
    project.write_config()
    done = project.command("render")
    assert (done.returncode, done.stdout) == (0, f"{project.directory}/app.env\n")
    assert "apps.worker: not rendered: it has only `env_template`" in done.stderr


@pytest.mark.parametrize("theirs", ["file", "link"])
def test_a_file_that_lessee_did_not_write_is_named_when_it_is_replaced(project, theirs):
    project.directory.mkdir()
    (project.directory / "other.env").write_text("THEIRS=1\n")
    if theirs == "file":
        (project.directory / "app.env").write_text("MINE=1\n")
    else:
        (project.directory / "app.env").symlink_to("other.env")
    done = project.command("render")
    assert done.returncode == 0, done.stderr
    assert "file replaced" in done.stderr
    assert f"{project.directory}/app.env" in done.stderr
    assert "other.env" not in done.stderr
    assert (project.directory / "app.env").read_text() == "PASSWORD='first'\n"
    assert (project.directory / "other.env").read_text() == "THEIRS=1\n"
    project.template("app.env.j2", 'OTHER={{ env("HOME") }}\n')
    project.config["template_env"] = ["HOME"]
    project.write_config()
    again = project.command("render")
    assert (again.returncode, again.stderr) == (0, "")


@pytest.mark.parametrize("typo", ["path", "mount"])
def test_a_denied_path_may_be_a_typo_of_another_one(bao, project, folder, typo):
    project.log_in_by_approle(bao, f'path "secret/data/testing/{folder}/db" {{ capabilities = ["read"] }}')
    calls = {"path": f'secret("{folder}/dbb").password', "mount": 'vault("databse/creds/app", every="1h").username'}
    project.template("b.env.j2", f"B={{{{ {calls[typo]} }}}}\n")
    project.write_config()
    done = project.command("render")
    assert done.returncode == 77, done.stderr
    assert "grant `read` in the token's policy (`lessee check --policy` prints it), or correct the path" in done.stderr
    assert (f"did you mean secret/testing/{folder}/db?" in done.stderr) == (typo == "path")
