"""Which tests a run has: the mark `thorough` and THOROUGH=yes."""

import os
import re
import subprocess
import sys

import pytest

from support.paths import ROOT
from support.thorough import sampled

TESTS = """
import pytest

def test_usual(): pass

@pytest.mark.thorough
def test_long(): pass

@pytest.mark.parametrize("case", range(7))
@pytest.mark.thorough(each=3)
def test_cases(case): pass

@pytest.mark.parametrize("case", range(2))
@pytest.mark.thorough(each=9)
def test_few(case): pass
"""
CONFTEST = """
from support.thorough import THOROUGH, Selection

def pytest_configure(config):
    config.addinivalue_line("markers", "thorough")
    if not THOROUGH:
        config.pluginmanager.register(Selection())
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_a.py").write_text(TESTS)
    (tmp_path / "test_b.py").write_text("import pytest\n\n@pytest.mark.thorough\ndef test_other(): pass\n")
    return tmp_path


def run(folder, *arguments, **environ):
    """How often each test ran, and the number of those left out that the run prints."""
    kept = {name: value for name, value in os.environ.items() if name != "THOROUGH" and not name.startswith("PYTEST")}
    command = (sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *arguments)
    environ = kept | {"PYTHONPATH": str(ROOT / "tests")} | environ
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    ran = re.findall(r"test_\w\.py::(test_\w+)\S* PASSED|PASSED \S*test_\w\.py::(test_\w+)", done.stdout)
    names = ["".join(pair) for pair in ran]
    left = re.search(r"^(\d+) tests are for THOROUGH=yes alone$", done.stdout, re.MULTILINE)
    return {name: names.count(name) for name in names}, int(left[1]) if left else 0


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_has_the_usual_tests_and_a_sample_of_cases_and_says_how_many_it_leaves(folder, workers):
    ran, left = run(folder, "-n", workers)
    assert set(ran) == {"test_usual", "test_cases", "test_few"}
    assert ran["test_usual"] == ran["test_few"] == 1
    assert 2 <= ran["test_cases"] <= 3
    assert sum(ran.values()) + left == 12
    assert run(folder, "-n", workers)[0] == ran


def test_a_thorough_run_has_all(folder):
    every = {"test_usual": 1, "test_long": 1, "test_cases": 7, "test_few": 2, "test_other": 1}
    assert run(folder, THOROUGH="yes") == (every, 0)


def test_a_file_or_test_that_is_named_runs_whole(folder):
    assert run(folder, "test_b.py") == run(folder, "-n", "2", "test_b.py") == ({"test_other": 1}, 0)
    assert run(folder, "test_a.py::test_long") == ({"test_long": 1}, 0)
    ran, left = run(folder, "test_b.py", ".")
    assert ran["test_other"] == 1
    assert left


def test_the_samples_of_several_keys_start_at_several_places():
    starts = {next(iter(sampled(range(20), of=5, key=str(key)))) for key in range(30)}
    assert starts == set(range(5))
