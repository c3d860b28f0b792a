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


def names(file: str, source: str) -> Iterator[str]:
    """The names of the tests in a file's source."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            yield from (f"{file}::{node.name}::{test}" for test in _tests(node.body))
    yield from (f"{file}::{test}" for test in _tests(ast.parse(source).body))


def _tests(body: list[ast.stmt]) -> Iterator[str]:
    functions = (node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return (node.name for node in functions if node.name.startswith("test_"))


def existing() -> set[str]:
    """The names of all tests in the working tree."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return {name for file in files for name in names(str(file.relative_to(ROOT)), file.read_text())}


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
