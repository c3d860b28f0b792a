"""The plan for a project that Compose reads: plaintext in any syntax is edited, or a step names its line."""

import os
import shutil
import subprocess

import pytest
import yaml

from lessee.core.errors import ConfigError
from lessee.ops.adopt.access import no_access
from lessee.ops.adopt.planning import Request, new_record, prepare, read
from lessee.ops.adopt.policy.edits import apply_edits, is_reference
from support.needs import need

CANARY = "canary-9Kx2vQ7m"
PEM = [
    "-----BEGIN PRIVATE KEY-----",
    "canaryMIIBVAIBADANBgkqhkiG9w0BAQEF",
    "canaryAASCAT4wggE6AgEAAkEAq7BF",
    "-----END PRIVATE KEY-----",
]


@pytest.fixture(scope="module", autouse=True)
def compose():
    version = ["docker", "compose", "version"]
    found = shutil.which("docker") and subprocess.run(version, capture_output=True, check=False).returncode == 0
    need(found, "docker with Compose (Debian: docker-cli docker-compose)")


def prepared_for(folder, environment, **files):
    """What adopt does for one service with these lines of `environment`; `top`: lines after the services."""
    top = files.pop("top", "")
    text = f"services:\n  app:\n    image: redis:7\n    environment:\n{environment}{top}"
    files = {"compose.yaml": text, **{name.replace("_", "."): content for name, content in files.items()}}
    for name, content in files.items():
        (folder / name).write_text(content)
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "DOCKER_HOST": "unix:///nonexistent"}
    request = Request(folder, (), (), "development", "lessee", environ)
    access = no_access(environ)
    project = read(request)
    return prepare(project, new_record(project, request, access), access, None)[0]


def planned(folder, environment, **files):
    """Each file as it is after the edits, and the plan."""
    prepared = prepared_for(folder, environment, **files)
    after = {}
    for name in ("compose.yaml", *(name.replace("_", ".") for name in files if name != "top")):
        edits = [edit for edit in prepared.plan.edits if edit.span.file == name]
        after[name] = apply_edits((folder / name).read_bytes(), edits).decode()
    yaml.safe_load(after["compose.yaml"])
    return after, prepared.plan


EDITED = {
    "a block": "      X_PASSWORD: |\n        " + CANARY + "\n",
    "a key in a block": "      TLS_KEY: |\n" + "".join(f"        {row}\n" for row in PEM) + "      Z: 1\n",
    "a block with all newlines": "      TLS_KEY: |+2\n" + "".join(f"        {row}\n" for row in PEM) + "\n      Z: 1\n",
    "a folded scalar": f"      X_PASSWORD: >\n        {CANARY}\n        canary-two\n",
    "a plain scalar of two lines": f"      X_PASSWORD: {CANARY}\n        canary-two\n      Z: 1\n",
    "an anchored scalar": f'      X_PASSWORD: &pw "{CANARY}"\n      Y_PASSWORD: *pw\n',
    "a tagged block": f"      X_PASSWORD: &pw !!str |-\n        {CANARY}\n      Y_PASSWORD: *pw\n",
    "a list item": f"      - |\n        X_PASSWORD={CANARY}\n      - Z=1\n",
    "a folded list item": f"      - >- # a=b\n        X_PASSWORD={CANARY}\n        canary-two\n      - Z=1\n",
    "hex": "      X_PASSWORD: 0x1F2E3D4C5B\n",
    "a float": "      X_PASSWORD: 1e10\n",
    "a date": "      X_PASSWORD: 2024-01-01\n",
    "text before a variable": f"      X_PASSWORD: {CANARY}${{X}}\n",
    "text before a default": f'      X_PASSWORD: "{CANARY}-${{X:-canary-zz}}"\n',
    "a double-quoted escape": '      X_PASSWORD: "\\x63anary-9Kx2vQ7m"\n',
    "single quotes": "      X_PASSWORD: 'canary-''9Kx2vQ7m'\n",
    "a part of a password in a URL": f"      X_URL: postgres://app:{CANARY}${{X}}@db/app\n",
}  # fmt: skip


@pytest.mark.thorough(each=2)
@pytest.mark.parametrize("case", EDITED)
def test_plaintext_in_any_scalar_is_edited(tmp_path, case):
    after, plan = planned(tmp_path, EDITED[case])
    assert plan.manual_steps == ()
    left = after["compose.yaml"].split("environment:")[1]
    assert "ref+openbao://" in left
    for text in ("canary", "0x1F", "1e10", "2024", "BEGIN"):
        assert text not in left
    # Compose reads the edited file, and has no plaintext any more.
    (tmp_path / "compose.yaml").write_text(after["compose.yaml"])
    done = subprocess.run(["docker", "compose", "config"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "canary" in done.stdout) == (0, False), done.stderr
    assert is_reference(done.stdout)


LEFT = {
    "two variables": (
        '      X_PASSWORD: "${A}${B}"\n', {"_env": "A=canary-one-11\nB=canary-two-22\n"}, [".env:1", ".env:2"]),
    "a default and a variable": (
        '      X_PASSWORD: "${NOPE-canary-one}${B}"\n', {"_env": "B=canary-two-22\n"}, [".env:1", "compose.yaml:5"]),
    "a comment": (
        f"      X_PASSWORD: ${{X}} # {CANARY}\n", {"_env": f"#X={CANARY}old\nX={CANARY}\n"},
        [".env:1", "compose.yaml:5"]),
    "a comment with a key": (
        "      TLS_KEY: |\n" + "".join(f"        {row}\n" for row in PEM) + "".join(f"  # {row}\n" for row in PEM), {},
        ["compose.yaml:11"]),
    "an x- block": (
        f"      X_PASSWORD: {CANARY}\n", {"top": f'x-a:\n  folded: >-\n    {CANARY}\n  hex: "\\x63anary-9Kx2vQ7m"\n'},
        ["compose.yaml:8", "compose.yaml:9"]),
    "a folded x- block": (
        "      X_PASSWORD: canary one 4711\n", {"top": "x-a:\n  folded: >-\n    canary\n    one\n    4711\n"},
        ["compose.yaml:7"]),
    "an unused variable": (
        f"      X_PASSWORD: {CANARY}\n", {"_env": f"OLD={CANARY}\nUNUSED_PASSWORD=canary-of-nothing-1\nTAG=1\n"},
        [".env:1", ".env:2"]),
    "an overridden line": (
        "      X_PASSWORD: ${X_PASSWORD}\n", {"_env": f"X_PASSWORD=canary-old-0815\nX_PASSWORD={CANARY}\n"},
        [".env:1"]),
}  # fmt: skip


@pytest.mark.parametrize("case", LEFT)
def test_plaintext_that_no_edit_removes_is_a_step_with_its_line(tmp_path, case):
    environment, files, lines = LEFT[case]
    _, plan = planned(tmp_path, environment, **files)
    assert sorted(step.where for step in plan.manual_steps) == lines
    assert "canary" not in "".join(map(str, plan.manual_steps))


def test_a_mixed_line_of_an_env_file_is_edited_as_a_whole(tmp_path):
    text = "    env_file: app.env\n      Z: 1\n".replace("      Z: 1\n", "")
    after, plan = planned(
        tmp_path, "      Z: '1'\n" + text, app_env='X_PASSWORD="canary\\"e ${BASE}"\n', _env="BASE=b\n"
    )
    assert "canary" not in after["app.env"]
    assert [step.where for step in plan.manual_steps] == [".env:1"]


def test_a_word_that_is_a_secret_and_a_name_needs_no_step(tmp_path):
    _, plan = planned(tmp_path, "      POSTGRES_PASSWORD: postgres\n      NOTE: postgres\n")
    assert plan.manual_steps == ()


@pytest.mark.parametrize(
    "env",
    [
        "COMPOSE_PATH_SEPARATOR=;\nCOMPOSE_FILE=compose.yaml;more.yaml\n",
        "COMPOSE_FILE='compose.yaml,more.yaml' # both\nCOMPOSE_PATH_SEPARATOR=','\n",
        "COMPOSE_FILE=compose.yaml:more.yaml\n",
    ],
)
def test_a_plain_docker_compose_uses_the_override_whatever_the_separator_is(tmp_path, env):
    (tmp_path / "more.yaml").write_text("services: {more: {image: redis:7}}\n")
    prepared = prepared_for(tmp_path, f"      X_PASSWORD: {CANARY}\n", _env=env)
    for name, text in prepared.texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    for change in prepared.edits:
        path = tmp_path / change.path
        path.write_bytes(apply_edits(path.read_bytes(), change.edits))
    command = ["docker", "compose", "config", "--services"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert set(done.stdout.split()) == {"app", "more", "lessee-agent", "lessee-holder"}, done.stderr


def test_a_variable_that_a_hostname_needs_too_stays_and_both_are_named(tmp_path):
    files = {"_env": f"X={CANARY}\n", "top": '    hostname: ${X}\n    labels: {a: "${X}"}\n'}
    after, plan = planned(tmp_path, "      X_PASSWORD: ${X}\n", **files)
    assert after[".env"] == f"X={CANARY}\n"
    assert [str(step).partition(";")[0] for step in plan.manual_steps] == [
        ".env:1: labels.a of service app is a label, which has a secret",
        ".env:1: X stays in this file, because hostname of app, labels.a of app needs it",
        "app: hostname of service app has the value of applications/app#x_password",
    ]


@pytest.mark.parametrize("kind", ["device", "fifo", "folder", "name"])
def test_a_dockerfile_that_is_no_file_is_not_read(tmp_path, kind):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    name = {"device": "/dev/zero", "name": '"a\\0b"'}.get(kind, kind)
    text = f"    build: {{context: ., dockerfile: {name}}}\n"
    try:
        _, plan = planned(tmp_path, f"      X_PASSWORD: {CANARY}\n", top=text)
    except ConfigError:
        assert kind == "name"  # Compose refuses it.
        return
    assert plan.project.services["app"].image.entrypoint is None


def test_a_file_that_is_nested_too_deeply_is_an_error_and_no_crash(tmp_path):
    with pytest.raises(ConfigError):
        planned(tmp_path, f"      X_PASSWORD: {CANARY}\n", top=f"x-a: {'[' * 1500}{']' * 1500}\n")
