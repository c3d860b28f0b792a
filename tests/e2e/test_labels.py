"""Apps of labels in a running agent: rendered, reloaded with the model, and each refused alone."""

import json
import re
import subprocess
import sys

import pytest
import yaml
from dotenv import dotenv_values

from lessee.config.grammar import Guarded
from lessee.host.openbao import ROOT_TOKEN
from support.paths import ROOT
from support.programs.sidecar import eventually

FORKED_AGENTS = True
PASSWORD = 'it\'s "$x" `y` \\ @:/%'


@pytest.fixture
def labeled(sidecar, bao):
    """A sidecar whose configuration has no app; call it with the services of the model."""
    bao.put("testing/labels/db", user="web", password=PASSWORD, url="a b/c")
    sidecar.config["apps"] = {}
    sidecar.config["compose"] = {"file": "model/compose.json", "directory": str(sidecar.memory)}
    sidecar.config["secrets"] = {"refresh_interval": "200ms"}
    (sidecar.disk / "model").mkdir()

    def write(**services):
        new = sidecar.disk / "model/new"
        new.write_text(json.dumps({"services": services}, indent=2))
        new.rename(sidecar.disk / "model/compose.json")

    return write


def shell(file):
    """The variables that a shell passes on after it has read the file."""
    program = f". {file}; exec {sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    done = subprocess.run(["sh", "-euc", program], env={}, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


ENVIRONMENT = {
    "PASSWORD": "ref+openbao://labels/db#password",
    "URL": "postgres://ref+vault://labels/db#/user+:ref+vault://labels/db?urlencode=true#url+@db/web",
    "PLAIN": "a $$HOME 'b'",
}


def test_references_of_a_service_are_rendered_for_its_shell_and_change_with_the_secret(sidecar, labeled, bao):
    labeled(web={"labels": {"lessee.env": "true"}, "environment": ENVIRONMENT})
    sidecar.start()
    file = sidecar.memory / "web/env.sh"
    read = shell(file)
    assert {name: read.get(name) for name in ENVIRONMENT} == {
        "PASSWORD": PASSWORD,
        "URL": "postgres://web:a%20b%2Fc@db/web",
        "PLAIN": None,
    }
    bao.put("testing/labels/db", user="web", password="new", url="")
    eventually(lambda: shell(file)["PASSWORD"] == "new", "the new password")
    assert shell(file)["URL"] == "postgres://web:@db/web"


def test_all_variables_of_a_service_and_a_dotenv_file_with_variables_of_labels(sidecar, labeled):
    labels = {"lessee.env": "all", "lessee.env_file": "app.env", "lessee.env.MORE": "x#y\n$$z"}
    labeled(web={"labels": labels, "environment": ENVIRONMENT})
    sidecar.start()
    assert dotenv_values(sidecar.memory / "web/app.env", interpolate=False) == {
        "PASSWORD": PASSWORD,
        "URL": "postgres://web:a%20b%2Fc@db/web",
        "PLAIN": "a $HOME 'b'",
        "MORE": "x#y\n$z",
    }


def test_an_edited_model_is_in_force_and_a_broken_one_leaves_the_previous(sidecar, labeled):
    labeled(web={"labels": {"lessee.template.a.txt": "one"}})
    sidecar.start()
    assert (sidecar.memory / "web/a.txt").read_text() == "one"
    labeled(web={"labels": {"lessee.template.a.txt": "two"}}, db={"labels": {"lessee.template.b.txt": "three"}})
    sidecar.until(lambda status: set(status["apps"]) == {"web", "db"} and status["ready"])
    eventually(lambda: (sidecar.memory / "web/a.txt").read_text() == "two", "the edited label")
    assert (sidecar.memory / "db/b.txt").read_text() == "three"
    (sidecar.disk / "model/compose.json").write_text('{"services": {"web"')
    broken = "the edited configuration is not in effect: model/compose.json:2: column 1: invalid YAML"
    status = sidecar.until(lambda status: broken in str(status["problems"]))
    assert set(status["apps"]) == {"web", "db"}
    labeled(web={"labels": {"lessee.template.a.txt": "four"}})
    eventually(lambda: (sidecar.memory / "web/a.txt").read_text() == "four", "the repaired model")
    sidecar.until(lambda status: not status["problems"])


def test_a_wrong_label_is_refused_alone_and_retains_what_was_in_force(sidecar, labeled):
    good = {"labels": {"lessee.template.a.txt": "one"}}
    labeled(web=good, db={"labels": {"lessee.template.a.txt": "x", "lessee.check": "[sh, -c, evil]"}})
    sidecar.start(wait=False)
    status = sidecar.until(lambda status: (sidecar.memory / "web/a.txt").exists() and status)
    [problem] = status["problems"]
    assert "service db: lessee.check: labels may not set it" in problem
    assert not (sidecar.memory / "db").exists()
    labeled(web={"labels": {"lessee.template.a.txt": "two", "lessee.directory": "/etc/x"}})
    sidecar.until(lambda status: "it is not below" in str(status["problems"]))
    assert (sidecar.memory / "web/a.txt").read_text() == "one"


def test_a_path_outside_the_environment_and_a_malformed_reference_are_errors_of_the_label(sidecar, labeled):
    labeled(
        web={"labels": {"lessee.template.a.txt": 'x\n{{ secret("../production/x").y }}'}},
        db={"labels": {"lessee.env.A": "ref+vault://labels/db"}},
        api={"labels": {"lessee.template.b.txt": "x\ny\nref+vault://a#b@c"}},
    )
    sidecar.write_config()
    done = sidecar.command("check")
    assert done.returncode == 78
    assert "model/compose.json:10: service db: lessee.env.A: expected a text, in which references" in done.stderr
    labeled(
        web={"labels": {"lessee.template.a.txt": 'x\n{{ secret("../production/x").y }}'}},
        api={"labels": {"lessee.template.b.txt": "x\ny\nref+vault://a#b@c"}},
    )
    done = sidecar.command("check")
    assert done.returncode == 65
    lines = done.stderr.splitlines()
    assert any(line.startswith("model/compose.json:5: service web: lessee.template.a.txt, line 2: ") for line in lines)
    assert any("model/compose.json:10: service api: lessee.template.b.txt, line 3: the ref" in line for line in lines)


def test_no_template_reads_the_model_which_may_have_values_of_other_services(sidecar, labeled):
    sidecar.config["template_dir"] = "."
    file = "[{template: model/compose.json, name: a.txt}]"
    labeled(web={"labels": {"lessee.files": file}}, db={"environment": {"PASSWORD": "canary"}})
    sidecar.write_config()
    for command in (["check"], ["render", "--output", "out"]):
        done = sidecar.command(*command)
        assert done.returncode == 65
        assert "a file with a credential of the agent, or its configuration" in done.stderr
        assert "canary" not in done.stdout + done.stderr


def test_render_check_and_the_policy_read_labels_too(sidecar, labeled):
    labeled(web={"labels": {"lessee.env": "true", "lessee.template.a.txt": "x"}, "environment": ENVIRONMENT})
    sidecar.write_config()
    checked = sidecar.command("check")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "web" in checked.stdout
    assert "testing/labels/db" in sidecar.command("check", "--policy").stdout
    assert sidecar.command("render", "--output", "out").returncode == 0
    assert (sidecar.disk / "out/web/a.txt").read_text() == "x"


def test_exec_replaces_the_references_in_its_own_environment(sidecar, bao):
    bao.put("testing/labels/db", user="web", password=PASSWORD, url="a b/c")
    sidecar.template("env.j2", "OWN=ref+vault://labels/db#user\n")
    sidecar.web["env_template"] = "env.j2"
    sidecar.write_config()
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    given = {name: text for name, text in ENVIRONMENT.items() if "ref+" in text} | {"OTHER": "ref+awssm://x"}
    for options in ([], ["--once"]):
        command = ("exec", "--app", "web", *options, "--", sys.executable, "-c", program)
        done = sidecar.command(*command, env=given)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["PASSWORD"] == PASSWORD
        assert found["URL"] == "postgres://web:a%20b%2Fc@db/web"
        assert (found["OWN"], found["OTHER"]) == ("web", "ref+awssm://x")
        assert PASSWORD not in done.stderr


def test_exec_says_which_reference_of_its_environment_is_malformed(sidecar):
    sidecar.web["env"] = {"A": "x"}
    del sidecar.web["files"]
    sidecar.write_config()
    done = sidecar.command("exec", "--app", "web", "--", "true", env={"URL": f"x:{ROOT_TOKEN}@ref+vault://db"})
    assert done.returncode == 78
    assert "$URL: the reference names no field; write `#FIELD` after the path" in done.stderr
    assert f"{ROOT_TOKEN}@" not in done.stderr


def test_variables_of_lessee_yaml_reach_a_child_without_a_file(sidecar, bao):
    bao.put("testing/labels/db", user="web", password=PASSWORD, url="")
    sidecar.web["env"] = {"PASSWORD": ENVIRONMENT["PASSWORD"]}
    del sidecar.web["files"]
    sidecar.write_config()
    done = sidecar.command("exec", "--app", "web", "--", "printenv", "PASSWORD")
    assert (done.returncode, done.stdout) == (0, f"{PASSWORD}\n")
    assert not list(sidecar.directory.rglob("env.sh"))


def test_an_agent_without_labels_and_references_imports_nothing_of_them(sidecar):
    sidecar.template("a.txt.j2", "x")
    sidecar.write_config()
    code = "import sys; from lessee.cli import main; main(['render', '--output', 'out']); print(*sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=sidecar.disk, env=sidecar.environ, capture_output=True, text=True, check=False)
    modules = [name for name in done.stdout.split() if name.startswith("lessee.")]
    found = [name for name in modules if "label" in name or "inline_references" in name]
    assert found == []
    assert "lessee.config.parsing" in modules
    assert "lessee.config.environment" not in modules


PAGE = (ROOT / "docs/how-to/labels.md").read_text()


def test_the_configurations_of_the_page_are_valid_and_its_error_is_what_check_prints(sidecar, labeled):
    blocks = [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)]
    shown, _, whole, allowing = blocks
    assert [*shown, *allowing] == ["services", "compose"]
    ready = {"labels": {"lessee.template.a": "x", "lessee.ready.command": '["true"]'}}
    for config, services in ((whole, {}), (allowing, shown["services"] | {"web": ready})):
        compose = config.get("compose", {}) | ({"file": "model/compose.json"} if "compose" in config else {})
        rest = {"environment": "testing"} | config | ({"compose": compose} if compose else {})
        (sidecar.disk / "lessee.yaml").write_text(yaml.safe_dump(rest))
        labeled(**services)
        done = sidecar.command("check")
        assert done.returncode == 0, done.stderr
    [error] = re.findall(r"^```text\n(.*)\n```$", PAGE, re.MULTILINE)
    filler = {f"lessee.env.A{number}": "x" for number in range(7)}
    labeled(web={"labels": filler | {"lessee.notfy": "x"}})
    assert f"model/{error}" in sidecar.command("check").stderr


def test_the_page_names_each_key_that_labels_may_not_set():
    table = PAGE.partition("| key | because")[2].partition("```")[0]
    named = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(.*?)`", row)}
    assert named == set(Guarded.__args__)


def test_each_label_of_the_page_is_one_of_an_app(sidecar, labeled):
    labels = set(re.findall(r"`(lessee\.[a-z_.]+[a-zA-Z_.]*)`", PAGE.partition("## The labels")[2].partition("```")[0]))
    values = {
        "lessee.app": "site",
        "lessee.directory": f"{sidecar.memory}/site",
        "lessee.owner": "0:1000",
        "lessee.mode": "0440",
        "lessee.template.FILE": "x",
        "lessee.format.FILE": "text",
        "lessee.env": "true",
        "lessee.env.NAME": "x",
        "lessee.env_file": "app.env",
        "lessee.notify": "SIGHUP",
        "lessee.notify.name": "app",
        "lessee.ready.tcp": "web:80",
        "lessee.refresh_interval": "5s",
        "lessee.public_variables": "[VITE_API_URL]",
    }
    others = {"lessee.", "lessee.notify.cmdline", "lessee.notify.process.cmdline", "lessee.notify.http"}
    assert labels - others == set(values)
    labeled(web={"labels": values, "environment": ENVIRONMENT})
    sidecar.write_config()
    assert sidecar.command("check").returncode == 0
