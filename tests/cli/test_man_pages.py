"""The man pages have each command, option and key, and no formatter warns of them."""

import importlib
import json
import re
import shutil
import subprocess
from importlib.resources import files

import pytest

from lessee.cli.command_table import COMMANDS
from lessee.cli.command_tree import command_tree
from lessee.cli.dispatch import whole_parser
from lessee.cli.options.shared import EXIT_CODES
from support.needs import need
from support.paths import ROOT

TREE = command_tree(whole_parser())
NAMES = ["lessee.1", "lessee.yaml.5", *(f"lessee-{name}.1" for name in COMMANDS)]


@pytest.fixture(scope="module")
def man_pages():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / ".ci"))
        yield importlib.import_module("man_pages")


@pytest.fixture(scope="module")
def rendered(man_pages, tmp_path_factory):
    """The text of each page as `man` prints it, in one line."""
    need(shutil.which("man") and shutil.which("groff"), "needs man: apt install man-db groff-base")
    folder, found = tmp_path_factory.mktemp("man"), {}
    for name, text in man_pages.pages().items():
        (folder / name).write_text(text)
        done = subprocess.run(
            ["man", "--warnings=all", "--encoding=UTF-8", "--local-file", str(folder / name)],
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "500", "MANPAGER": "cat"},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stderr == "", name
        found[name] = " ".join(re.sub(r"\x1b\[[0-9;]*m|.\x08", "", done.stdout).split())
    return found


def test_there_is_a_page_of_each_command_and_of_the_configuration(man_pages):
    assert sorted(man_pages.pages()) == sorted(NAMES)


@pytest.mark.thorough
def test_no_formatter_warns(man_pages, rendered):
    assert len(rendered) == len(NAMES)
    for name, text in man_pages.pages().items():
        for device in ("utf8", "ascii"):
            done = subprocess.run(
                ["groff", "-ww", "-man", "-z", "-K", "utf8", f"-T{device}"],
                input=text,
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            )
            assert done.stderr == "", (name, device)


@pytest.mark.parametrize("command", TREE.actions, ids=lambda command: command.words[0])
def test_a_page_has_each_action_option_and_argument_with_its_help(rendered, command):
    page = rendered[f"lessee-{command.words[0]}.1"]
    assert f"lessee-{command.words[0]}(1)" in rendered["lessee.1"]
    assert command.summary[1:] in rendered["lessee.1"]
    for one in command.all():
        assert f"lessee {' '.join(one.words)}" in page
        assert one.summary[1:] in page
        for argument in (*one.options, *one.positionals):
            assert all(name in page for name in argument.names)
            assert " ".join(argument.help[1:].rstrip(".").replace("…", "...").split()) in page
            assert all(choice in page for choice in argument.choices)
    for code, meaning in EXIT_CODES.items():
        assert f"{code} {meaning[0].upper()}{meaning[1:]}" in page


def test_the_page_of_the_configuration_has_each_key(rendered):
    schema = json.loads(files("lessee").joinpath("lessee.schema.json").read_text())
    page = rendered["lessee.yaml.5"]
    assert {name.upper() for name in schema["properties"]} <= set(page.split())
    for path in ("vault.auth.secret_id_file", "apps.NAME.files[].template", "apps.NAME.notify.process.name"):
        assert f" {path} " in page
    for block in schema["$defs"].values():
        for name, key in block["properties"].items():
            assert re.search(rf"[\w\]]\.{name} ", page), name
            assert " ".join(key.get("description", "").replace("…", "...").split()) in page, name


def test_a_text_does_not_act_on_the_formatter(man_pages):
    assert man_pages._text(".so /etc/passwd") == "\\&.so /etc/passwd"
    assert man_pages._text("a\\fBb") == "a\\efBb"
    assert man_pages._text("'br") == "\\(aqbr"


@pytest.mark.parametrize("command", [one for one in TREE.all() if one.words], ids=lambda one: " ".join(one.words))
def test_each_help_has_the_exit_codes(command):
    assert all(f"{code} {meaning}" in command.epilog for code, meaning in EXIT_CODES.items())
