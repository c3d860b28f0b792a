"""The house as its contracts have it: every package is under one, and the pages that describe it agree."""

import re
import subprocess
import tomllib
from fnmatch import fnmatchcase
from importlib import import_module

import pytest

from support.paths import ROOT, TESTS

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS = {contract["name"]: contract for contract in PROJECT["tool"]["importlinter"]["contracts"]}
PAGE = (ROOT / "docs/explanation/architecture.md").read_text()
PACKAGE = ROOT / "agent/lessee"
PURE = CONTRACTS["Pure packages touch nothing"]["source_modules"]


def layers():
    """The contract's layers from the top, each with its packages."""
    return [re.split(r" [|:] ", layer) for layer in CONTRACTS["Imports point downward only"]["layers"]]


def named(folder):
    """The packages and modules directly in a folder."""
    found = {path.name for path in folder.iterdir() if (path / "__init__.py").is_file()}
    return found | {path.stem for path in folder.glob("*.py") if path.stem not in {"__init__", "__main__"}}


def test_every_package_is_in_a_layer():
    listed = {name for layer in layers() for name in layer}
    assert named(PACKAGE) == listed


def test_every_feature_of_ops_is_in_a_layer_and_its_policy_is_pure():
    features = named(PACKAGE / "ops")
    listed = {
        name
        for layer in CONTRACTS["A feature of ops knows only the features below it"]["layers"]
        for name in re.split(r" [|:] ", layer)
    }
    assert features == listed
    assert {f"lessee.ops.{name}.policy" for name in features} == {
        name for name in PURE if name.startswith("lessee.ops.")
    }


def test_no_contract_has_an_exception():
    assert [name for name, contract in CONTRACTS.items() if contract.get("ignore_imports")] == []


def test_what_is_pure_is_measured_for_branch_coverage():
    assert sorted(PROJECT["tool"]["coverage"]["run"]["source_pkgs"]) == sorted(PURE)


def test_the_tests_of_what_is_pure_are_run_by_make_check():
    """Coverage does not report a package that no test imports."""
    show = ["make", "--silent", "--eval", "show: ; @echo $(PURE)", "show"]
    run = subprocess.run(show, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    folders = ["tests/" + name.removeprefix("lessee.").replace(".", "/") for name in PURE]
    tested = [folder for folder in folders if (ROOT / folder).is_dir()]
    assert len(tested) > 20
    assert not [folder for folder in tested if folder not in run]


def test_the_drawing_has_every_layer_in_the_contract_s_order():
    drawing = PAGE.partition("```text")[2].partition("```")[0]
    places = []
    for names in layers():
        lines = {
            next(n for n, line in enumerate(drawing.split("\n")) if re.search(rf"│ {re.escape(name)} ", line))
            for name in names
        }
        assert len(lines) == 1, names
        places += lines
    assert places == sorted(places)
    assert drawing.count("(pure)") == 5


@pytest.mark.parametrize("step", re.findall(r"`([\w/]+\.py):(\w+(?:\.\w+)?)`", PAGE))
def test_each_step_of_the_way_of_a_secret_names_a_function_that_there_is(step):
    file, _, names = step[0], None, step[1].split(".")
    found = import_module("lessee." + file.removesuffix(".py").replace("/", "."))
    for name in names:
        found = getattr(found, name)
    assert callable(found)


def test_each_place_to_look_exists():
    table = PAGE.partition("## Where to look")[2]
    places = list(re.findall(r"`([a-z_/]+(?:/|\.py))`", table))
    assert len(places) > 5
    assert [place for place in places if not (PACKAGE / place).exists()] == []


README = (TESTS / "README.md").read_text()


def named_in_support():
    """Each file that the table of `support/` names. A folder that one row describes is a pattern for all its files."""
    folder = ""
    for names, content in re.findall(r"^\| (.+?) \| (.*?) ?\|$", README.partition("\n## support/\n")[2], re.MULTILINE):
        if heading := re.fullmatch(r"\*\*(\w+/)\*\*", names):
            folder = heading[1]
            yield from [f"{folder}*"] if content else []
        yield from (f"{folder}{name}" for name in re.findall(r"`(.+?)`", names))


def test_the_readme_of_the_tests_names_each_file_of_support_and_no_other():
    support = TESTS / "support"
    files = [str(path.relative_to(support)) for path in support.rglob("*.*") if path.suffix in {".py", ".mjs"}]
    named = list(named_in_support())
    assert [file for file in files if not any(fnmatchcase(file, name) for name in named)] == []
    assert [name for name in named if not any(fnmatchcase(file, name) for file in files)] == []


def test_the_readme_of_the_tests_names_each_file_at_the_top():
    assert [file.name for file in TESTS.glob("test_*.py") if f"`{file.name}`" not in README] == []
