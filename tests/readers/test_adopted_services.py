"""Real shells start programs of adopted services: each program gets the bytes that Compose handed over."""

import json
import os
import subprocess
import sys
import time
from functools import cache

import pytest

from lessee.core.path_scope import PathScope
from lessee.core.secrets import Secret
from lessee.ops.adopt.policy import launcher
from lessee.ops.adopt.policy.model import AppPlan, Delivery, Part, Rendered
from lessee.ops.adopt.policy.template_texts import files
from lessee.rendering.formats import write
from lessee.rendering.templates import Compiler, Renderer
from readers.test_sh_readers import SHELLS, started
from support.inputs.adopted_projects import service
from support.inputs.hostile_values import VALUES

HELD = [value for value in VALUES if "\0" not in value]
POSIX = [name for name in SHELLS if name != "zsh"]  # No image has zsh as /bin/sh.
PROGRAM = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"
BATCH = 250
_SPACE = PathScope("secret", "", (), frozenset())


@pytest.fixture(scope="module", params=POSIX)
def shell(request):
    return started(request.param)


def render(app, owner, secrets):
    """The app's files by name, as the agent renders them from `secrets`: fields by path."""
    texts = {file.template: file.text for file in files(app, owner)}
    found = {}
    for file in files(app, owner):
        compiled = Compiler(texts.__getitem__, _SPACE).compile(file.template)
        known = {need: Secret(secrets[need.path]) for need in compiled.references}
        found[file.name] = write(Renderer(_SPACE, known, {}, {}, {}).render(compiled), file.format)
    return found


def publish(folder, contents):
    folder.mkdir(exist_ok=True)
    (folder / "..data").mkdir(exist_ok=True)
    for name, text in contents.items():
        (folder / name).write_bytes(text.encode())


def launch(shell, folder, *words, environ=None):
    """The arguments and the variables that the launched program sees."""
    command = [*shell, "-c", launcher.SCRIPT, str(folder), *words]
    done = subprocess.run(command, env=environ or {"PATH": os.environ["PATH"]}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return json.loads(done.stdout)


def planned(rendered, delivery=Delivery.LAUNCHER):
    return AppPlan("app", delivery, tuple(rendered), 0, None, "/run/secrets/app")


def whole(name, field, path="applications/app"):
    return Rendered("app", name, (Part(path=path, field=field),))


@cache
def as_values(first):
    """Files of hostile values, and the words that stand for them in a command."""
    values = dict(enumerate(HELD[first : first + BATCH]))
    variables = [whole(f"V{at}", f"v{at}") for at in values]
    words = [whole(f"command[{at}]", f"v{at}") for at in values]
    secrets = {"applications/app": {f"v{at}": value for at, value in values.items()}}
    return render(planned([*variables, *words]), service(), secrets), [
        launcher.placeholder(item.name) for item in words
    ]


@cache
def as_texts(first):
    """Files of hostile texts of the project around a secret."""
    secret = Part(path="a/b", field="c")
    texts = enumerate(HELD[first : first + BATCH])
    variables = [Rendered("app", f"V{at}", (Part(text=text), secret, Part(text=text))) for at, text in texts]
    return render(planned(variables), service(), {"a/b": {"c": "'$x\n"}})


@pytest.mark.thorough(each=2)
@pytest.mark.parametrize("first", range(0, len(HELD), BATCH))
def test_each_hostile_value_arrives_as_a_variable_and_as_a_word(shell, tmp_path, first):
    values = HELD[first : first + BATCH]
    contents, placeholders = as_values(first)
    publish(tmp_path / "f", contents)
    arguments, environ = launch(shell, tmp_path / "f", sys.executable, "-c", PROGRAM, *placeholders, "last one", "")
    assert arguments == [*values, "last one", ""]
    assert [environ.get(f"V{at}") for at in range(len(values))] == values


@pytest.mark.parametrize("first", range(0, len(HELD), BATCH))
def test_the_projects_own_text_around_a_secret_arrives_unchanged(shell, tmp_path, first):
    values = HELD[first : first + BATCH]
    publish(tmp_path / "f", as_texts(first))
    _, environ = launch(shell, tmp_path / "f", sys.executable, "-c", PROGRAM)
    assert [environ.get(f"V{at}") for at in range(len(values))] == [f"{value}'$x\n{value}" for value in values]


@pytest.mark.parametrize("first", range(0, len(HELD), BATCH))
def test_a_file_of_one_value_has_its_bytes_and_no_newline_after_them(first):
    values = HELD[first : first + BATCH]
    rendered = [
        Rendered("app", f"V{at}", (Part(text=text), Part(path="a/b", field="c"))) for at, text in enumerate(values)
    ]
    found = render(planned(rendered, Delivery.VARIABLE_FILE), service(), {"a/b": {"c": "p'\n "}})
    assert found == {f"V{at}": f"{text}p'\n " for at, text in enumerate(values)}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n", "{\n", "{", "\r"])
def test_the_end_of_a_file_is_that_of_the_value(end):
    parts = (Part(path="a/b", field="c"), Part(text=end))
    found = render(
        planned([Rendered("app", "secrets.S", parts)], Delivery.VARIABLE_FILE), service(), {"a/b": {"c": "x"}}
    )
    assert found == {"S": f"x{end}"}
    rendered = [Rendered("app", "V", parts[:1])]
    assert render(planned(rendered, Delivery.VARIABLE_FILE), service(), {"a/b": {"c": f"x{end}"}}) == {"V": f"x{end}"}


@pytest.mark.parametrize("field", ["items", "get", "with-dash", "9", "a.b", 'quo"te', "ü", "plain"])
def test_each_name_of_a_field_can_be_read(field):
    rendered = [whole("V", field, "a/b")]
    assert render(planned(rendered, Delivery.VARIABLE_FILE), service(), {"a/b": {field: "x"}}) == {"V": "x"}


def test_a_health_check_of_words_gets_its_secret(shell, tmp_path):
    owner = service(healthcheck=("CMD", sys.executable, "-c", PROGRAM, "x", "it's {{ x }}"))
    app = planned([whole("healthcheck.test[4]", "p")])
    publish(tmp_path, render(app, owner, {"applications/app": {"p": "a'b $c\n{{"}}))
    command = [*shell, "-c", f". {tmp_path}/healthcheck.sh"]
    done = subprocess.run(command, capture_output=True, check=True, env={"PATH": os.environ["PATH"]})
    assert json.loads(done.stdout)[0] == ["a'b $c\n{{", "it's {{ x }}"]


@pytest.mark.parametrize("before", ["-a ", "-a '", '-a "'])
def test_a_health_check_of_a_shell_gets_its_secret_as_one_word(shell, tmp_path, before):
    quote = before[3:]
    text = (Part(text=f"{sys.executable} -c '{PROGRAM}' {before}"), Part(path="applications/app", field="p"))
    text = (*text, Part(text=f"{quote} ${{HOME}} && echo {{{{ }}}} {{% {{# '#}}'"))
    owner = service(healthcheck=("CMD-SHELL", "as in the project"))
    app = planned([Rendered("app", "healthcheck.test[1]", text)])
    publish(tmp_path, render(app, owner, {"applications/app": {"p": "a'b \"$c\\"}}))
    command = [*shell, "-c", f". {tmp_path}/healthcheck.sh"]
    environ = {"PATH": os.environ["PATH"], "HOME": "/home"}
    done = subprocess.run(command, capture_output=True, check=True, env=environ, text=True)
    first, second = done.stdout.splitlines()
    assert json.loads(first)[0] == ["-a", "a'b \"$c\\", "/home"]
    assert second == "{{ }} {% {# #}"


def test_the_program_keeps_its_other_variables_and_gets_no_variable_of_the_launcher(shell, tmp_path):
    publish(tmp_path, render(planned([whole("V", "v")]), service(), {"applications/app": {"v": "new"}}))
    environ = {"PATH": os.environ["PATH"], "V": "", "stat": "own", "pid": "own", "at": "own", "lessee": "own"}
    _, found = launch(shell, tmp_path, sys.executable, "-c", PROGRAM, environ=environ)
    ignored = {"PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE"}
    assert {name: found[name] for name in found if name not in ignored} == environ | {"V": "new"}


def test_the_launcher_waits_for_the_files_and_becomes_the_program(shell, tmp_path):
    command = [
        *shell,
        "-c",
        launcher.SCRIPT,
        str(tmp_path / "f"),
        sys.executable,
        "-c",
        "import os; print(os.getpid())",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    publish(tmp_path / "f", {})
    assert process.communicate()[0] == f"{process.pid}\n"


def test_the_first_of_two_running_programs_is_the_one_to_notify(shell, tmp_path):
    script = launcher.SCRIPT.replace(launcher.PID_FOLDER, str(tmp_path))
    publish(tmp_path / "f", {})
    sleep = [*shell, "-c", script, str(tmp_path / "f"), "sleep", "60"]
    noted = tmp_path / launcher.PID_FILE
    first = subprocess.Popen(sleep)
    try:
        wait_until(lambda: noted.exists() and noted.read_text().split("\n")[0] == str(first.pid))
        subprocess.run([*shell, "-c", script, str(tmp_path / "f"), "true"], check=True)
        assert noted.read_text().split("\n")[0] == str(first.pid)
    finally:
        first.kill()
        first.wait()
    second = subprocess.Popen(sleep)
    try:
        wait_until(lambda: noted.read_text().split("\n")[0] == str(second.pid))
        assert noted.stat().st_mode & 0o777 == 0o644
    finally:
        second.kill()
        second.wait()


def test_an_image_with_its_own_files_needs_no_variables(shell, tmp_path):
    publish(tmp_path, {"PASSWORD": "x"})
    arguments, _ = launch(shell, tmp_path, sys.executable, "-c", PROGRAM, "a b")
    assert arguments == ["a b"]


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
