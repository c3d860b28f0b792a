"""The stack of labels on a real Engine: the model of docs/how-to/labels.md is read, rotated, edited and read again."""

import json
import re
import shlex
import shutil
import subprocess

import pytest
import yaml

from e2e.compose import DIRECTORY, fingerprint
from support.paths import ROOT
from support.programs.sidecar import eventually

pytestmark = pytest.mark.docker

PAGE = (ROOT / "docs/how-to/labels.md").read_text()
COMMAND = re.search(r"^```console\n\$ (docker compose config .*)\n```$", PAGE, re.MULTILINE)[1]


class Stack:
    """A copy of the stack's files, in which the command of the page runs, and the project with its folder mounted."""

    def __init__(self, folder, project):
        self.folder, self.project = folder, project

    def write_model(self):
        subprocess.run(shlex.split(COMMAND), cwd=self.folder, check=True, capture_output=True, timeout=60)

    def edit(self, old, new):
        file = self.folder / "compose.yaml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        self.write_model()


@pytest.fixture(scope="module")
def stack(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    folder.chmod(0o755)
    for name in ("labels", "quickstart"):
        shutil.copytree(ROOT / "compose" / name, folder / name)
    copy = Stack(folder / "labels", None)
    copy.write_model()
    with images.up("labels", {"agent": {"volumes": [f"{copy.folder}/lessee:/etc/lessee:ro"]}}) as project:
        copy.project = project
        yield copy


def starts(project):
    """The fingerprint that the app printed at each start."""
    return [line.split()[-1] for line in project.lines("app", "start:")]


def until_started_with(project, values):
    eventually(lambda: starts(project)[-1:] == [fingerprint(values)], "a start with these values")


def url(password):
    return f"app{'postgresql://app:'}{password}@postgres/app"


def test_the_page_shows_the_stack():
    blocks = [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)]
    stack = yaml.safe_load((ROOT / "compose/labels/compose.yaml").read_text())["services"]["app"]
    shown = blocks[0]["services"]["app"]
    assert shown == {key: stack[key] for key in shown}
    assert blocks[1] == {"compose": yaml.safe_load((ROOT / "compose/labels/lessee/lessee.yaml").read_text())["compose"]}
    readme = (ROOT / "compose/labels/README.md").read_text()
    assert f"$ {COMMAND}\n" in readme
    assert "entrypoint: [sh, -c, '. /run/secrets/app/env.sh; exec \"$$@\"', sh]" in PAGE
    assert stack["entrypoint"] == ["sh", "-c", '. /run/secrets/app/env.sh; exec "$$@"', "sh"]


def test_a_service_with_labels_only_gets_its_variables_and_is_restarted_with_new_ones(stack):
    project = stack.project
    password = project.rotate()
    until_started_with(project, url(password))
    # A part of a URL.
    project.rotate("p@ss/w:rd %")
    until_started_with(project, url("p%40ss%2Fw%3Ard%20%25"))
    assert json.loads(project.read("agent", f"{DIRECTORY}/report.json")) == {"user": "app"}


def test_neither_the_model_nor_the_container_has_a_value(stack):
    password = stack.project.rotate()
    until_started_with(stack.project, url(password))
    model = (stack.folder / "lessee/compose.json").read_text()
    assert "ref+openbao://database#username" in model
    inspected = json.dumps(stack.project.inspect("app"))
    for text in (model, inspected, stack.project.compose("logs")):
        assert password not in text
    assert "ref+openbao://database#username" in inspected


def test_an_edited_label_is_in_force_when_the_model_is_written_again(stack):
    before = len(starts(stack.project))
    stack.edit('{"user": {{', '{"role": {{')
    report = f"{DIRECTORY}/report.json"
    eventually(lambda: json.loads(stack.project.read("agent", report)) == {"role": "app"}, "the new report")
    eventually(lambda: len(starts(stack.project)) > before, "the restart")
    stack.edit("lessee.notify: restart", "lessee.notfy: restart")
    wrong = "service app: lessee.notfy: unknown key"
    eventually(lambda: wrong in str(stack.project.status()["problems"]), "the refusal")
    assert json.loads(stack.project.read("agent", report)) == {"role": "app"}
    stack.edit("lessee.notfy: restart", "lessee.notify: restart")
    eventually(lambda: not stack.project.status()["problems"], "the correction")


def test_the_agent_has_no_docker_socket(stack):
    mounts = stack.project.inspect("agent")["Mounts"]
    assert not [mount for mount in mounts if "docker.sock" in mount["Source"] + mount["Destination"]]
