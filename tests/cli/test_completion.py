"""Completion in real shells: each command, option and choice, and files, by what a person types."""

import json
import os
import sys
from importlib import import_module
from pathlib import Path

import pytest

from lessee.cli.command_tree import CHOICE, command_tree, title
from lessee.cli.dispatch import whole_parser
from support.programs.forks import run_lessee
from support.programs.shells import SHELLS

TREE = command_tree(whole_parser())
COMMANDS = list(TREE.all())


@pytest.fixture(scope="module", params=SHELLS)
def shell(request, tmp_path_factory):
    """A shell in a folder with files."""
    folder = tmp_path_factory.mktemp(request.param)
    script = import_module(f"lessee.cli.completion.{request.param}").script(TREE)
    for name in ("a file.yaml", "lessee.yaml", "$(touch pwned).yaml", "`touch pwned`.yaml"):
        (folder / name).write_text("")
    (folder / "folder").mkdir()
    made = SHELLS[request.param](folder, script)
    made.name, made.folder = request.param, folder
    yield made
    made.close()


@pytest.fixture
def complete(shell):
    return lambda line: sorted(shell.complete(line))


@pytest.mark.thorough
def test_each_command_and_action_is_completed(complete):
    for command in COMMANDS:
        if command.actions:
            assert complete(f"{title(command)} ") == sorted(one.words[-1] for one in command.actions)
            for one in command.actions:
                assert one.words[-1] in complete(title(one)[:-1])


@pytest.mark.thorough
def test_each_option_of_each_command_is_completed(complete):
    for command in COMMANDS:
        names = {name for option in command.options for name in option.names if name.startswith("--")}
        assert set(complete(f"{title(command)} --")) == names, title(command)


@pytest.mark.thorough
def test_each_choice_is_completed_after_a_space_and_after_an_equals_sign(complete):
    choices = [
        (command, option)
        for command in COMMANDS
        for option in command.options
        if option.kind == CHOICE and option.least
    ]
    assert len(choices) > 10
    for command, option in choices:
        assert complete(f"{title(command)} {option.names[-1]} ") == sorted(option.choices)
        first = option.choices[0]
        joined = f"{option.names[-1]}={first}"
        assert complete(f"{title(command)} {joined[:-1]}") == [joined]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("lessee rot", ["rotate"]),
        ("lessee completion ", ["bash", "fish", "zsh"]),
        ("lessee run --strict --log-le", ["--log-level"]),
        ("lessee monitor --since 1h ap", ["approve"]),
        ("lessee monitor --since audit und", ["undo"]),
        ("lessee backup verify latest --key-", ["--key-file"]),
        ("lessee status --wait --so", ["--socket"]),
        ("lessee status --wait 3s --so", ["--socket"]),
        ("lessee check --compose lessee.yaml --fo", ["--format"]),
        ("lessee set run exec --gen", ["--generate"]),
        ("lessee exec --app web -- printen", ["printenv"]),
    ],
)
def test_a_word_is_completed_as_its_place_has_it(complete, line, words):
    assert complete(line) == words


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("lessee check --config a", "a file.yaml"),
        ("lessee check --config less", "lessee.yaml"),
        ("lessee check --config=less", "--config=lessee.yaml"),
        ("lessee check --compose x less", "lessee.yaml"),
        ("lessee import less", "lessee.yaml"),
        ("lessee exec --app web -- cat less", "lessee.yaml"),
    ],
)
def test_files_are_completed_where_one_is_expected(complete, line, word):
    assert complete(line) == [word]


def test_only_directories_are_completed_where_one_is_expected(complete):
    assert [one.rstrip("/") for one in complete("lessee render --output ")] == ["folder"]


def test_no_file_is_completed_where_none_is_expected(complete):
    for line in (
        "lessee refresh less",
        "lessee rotate less",
        "lessee run --log-level less",
        "lessee status --wait less",
    ):
        assert set(complete(line)) <= {"less"}, line


def test_a_command_in_the_name_of_a_file_is_not_run(shell):
    shell.complete("lessee check --config ")
    shell.complete("lessee check --config=")
    for start in ("\\$", "'$(", "\\`"):
        shell.complete(f"lessee check --config {start}")
    assert not (shell.folder / "pwned").exists()


def test_the_program_prints_the_script_and_asks_for_a_known_shell(tmp_path):
    for name in SHELLS:
        done = run_lessee("completion", name, cwd=tmp_path, env={})
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == import_module(f"lessee.cli.completion.{name}").script(TREE)
    done = run_lessee("completion", "bsh", cwd=tmp_path, env={})
    assert (done.returncode, done.stderr) == (64, "lessee: SHELL: unknown value; did you mean `bash`?\n")


def test_the_script_for_bash_works_where_unset_variables_are_errors_and_words_end_elsewhere(tmp_path):
    script = import_module("lessee.cli.completion.bash").script(TREE)
    shell = SHELLS["bash"](tmp_path, f"{script}\nset -u; IFS=:\n")
    assert shell.complete("lessee rot") == ["rotate"]
    assert shell.complete("lessee backup ver") == ["verify"]
    assert shell.complete("lessee check --format s") == ["sarif"]
    assert shell.complete("lessee read web x --form") == ["--format"]
    shell.close()


@pytest.mark.thorough
@pytest.mark.parametrize("name", SHELLS)
def test_the_apps_of_the_configuration_are_completed(tmp_path, monkeypatch, name):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    apps = {
        name: {"directory": f"/run/{number}", "files": [{"contents": "a", "name": "a"}]}
        for number, name in enumerate(("web", "worker", "api"))
    }
    (tmp_path / "lessee.yaml").write_text(json.dumps({"environment": "testing", "apps": apps}))
    shell = SHELLS[name](tmp_path, import_module(f"lessee.cli.completion.{name}").script(TREE))
    try:
        assert sorted(shell.complete("lessee exec --app w")) == ["web", "worker"]
        assert shell.complete("lessee render --app a") == ["api"]
        assert shell.complete("lessee read a") == ["api"]
        (tmp_path / "lessee.yaml").write_text("apps: [")
        assert set(shell.complete("lessee exec --app w")) <= {"w"}
    finally:
        if name != "fish":
            shell.close()


def test_a_name_that_a_shell_would_expand_is_not_offered(tmp_path):
    name = "$(touch pwned)"
    config = {
        "environment": "testing",
        "apps": {
            "web": {"directory": "/run/a", "env_template": "a"},
            name: {"directory": "/run/b", "env_template": "a"},
        },
    }
    (tmp_path / "lessee.yaml").write_text(json.dumps(config))
    done = run_lessee("completion", "bash", "--apps", cwd=tmp_path, env={})
    assert (done.returncode, done.stderr) == (0, "")
    assert "$" not in done.stdout
