"""Lists the tests of the page of promises, and those that vanished: `python tests/support/promises.py --since REV`.

A test is named as pytest names it, without parameters: `tests/e2e/test_run.py::test_refresh_checks_immediately`. Tests
are read from the syntax of their files, of the working tree or of a commit; nothing is imported.
"""

import argparse
import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "tests/promises.md"


@dataclass(frozen=True)
class Promise:
    """One promise of the page: its heading, its text, and the names of its tests."""

    heading: str
    text: str
    tests: tuple[str, ...]


def promises(page: str) -> Iterator[Promise]:
    """The promises of a page, in its order."""
    heading, text, tests = "", "", []
    for line in [*page.splitlines(), "## "]:
        if match := re.fullmatch(r"  - `(tests/\S+)`", line):
            tests.append(match[1])
        elif line.startswith(("- ", "## ")):
            if text:
                yield Promise(heading, text, tuple(tests))
            heading = line[3:] if line.startswith("## ") else heading
            text, tests = line[2:] if line.startswith("- ") else "", []


def names(file: str, source: str, *, each_run: bool = False) -> Iterator[str]:
    """The names of the tests in a file's source: all, or those with a case that does not need `THOROUGH=yes`."""
    body = ast.parse(source).body
    if each_run and any(isinstance(node, ast.Assign) and "mark.thorough" in ast.unparse(node) for node in body):
        return  # `pytestmark`
    scopes: list[tuple[str, list[ast.stmt]]] = [("", body)]
    scopes += [(f"{node.name}::", node.body) for node in body if isinstance(node, ast.ClassDef)]
    for scope, nodes in scopes:
        for node in nodes:
            is_test = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
            if is_test and not (each_run and any(map(_is_thorough, node.decorator_list))):
                yield f"{file}::{scope}{node.name}"


def _is_thorough(decorator: ast.expr) -> bool:
    """Whether it is the mark `thorough` without arguments, with which some cases of the test are in each run."""
    return isinstance(decorator, ast.Attribute) and decorator.attr == "thorough"


def existing(*, each_run: bool = False) -> set[str]:
    """The names of all tests in the working tree, or of those that do not need `THOROUGH=yes`."""
    files = {str(file.relative_to(ROOT)): file.read_text() for file in sorted((ROOT / "tests").rglob("test_*.py"))}
    return {name for file, source in files.items() for name in names(file, source, each_run=each_run)}


def existing_at(revision: str) -> set[str]:
    """The names of all tests of a commit."""
    files = [file for file in _git("ls-tree", "-r", "--name-only", revision, "tests/").splitlines() if _is_test(file)]
    return {name for file in files for name in names(file, _git("show", f"{revision}:{file}"))}


def _is_test(file: str) -> bool:
    return Path(file).name.startswith("test_") and file.endswith(".py")


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def vanished(before: set[str], after: set[str]) -> Iterator[str]:
    """A line for each test that does not exist any more; one that moved to another file is named with it."""
    elsewhere = {name.partition("::")[2]: name for name in after - before}
    for name in sorted(before - after):
        moved = elsewhere.get(name.partition("::")[2])
        yield f"{name} → {moved}" if moved else name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--since", metavar="REV", help="list the tests of this commit that do not exist any more")
    parser.add_argument("--at", metavar="REV", help="compare with this commit instead of the working tree")
    options = parser.parse_args()
    after = existing_at(options.at) if options.at else existing()
    lines = list(vanished(existing_at(options.since), after)) if options.since else sorted(after)
    sys.stdout.write("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()
