"""The page of promises is true: each test that it names exists, and no file of end-to-end tests serves no promise."""

import pytest

from support.paths import ROOT
from support.promises import PAGE, existing, promises, vanished

PROMISES = list(promises(PAGE.read_text()))


@pytest.fixture(scope="module")
def there():
    return existing()


def test_each_named_test_exists(there):
    assert [test for promise in PROMISES for test in promise.tests if test not in there] == []


def test_each_promise_has_a_test_and_no_test_twice():
    assert PROMISES
    assert [
        promise.text for promise in PROMISES if not promise.tests or len(set(promise.tests)) < len(promise.tests)
    ] == []


def test_each_promise_has_a_test_in_each_run():
    in_each_run = existing(each_run=True)
    assert [promise.text for promise in PROMISES if not in_each_run.intersection(promise.tests)] == []


def test_each_of_the_twelve_headings_has_promises():
    headings = [line[3:] for line in PAGE.read_text().splitlines() if line.startswith("## ")]
    assert len(headings) == 12
    assert list(dict.fromkeys(promise.heading for promise in PROMISES)) == headings


def test_each_file_of_end_to_end_tests_serves_a_promise():
    named = {test.partition("::")[0] for promise in PROMISES for test in promise.tests}
    files = {str(file.relative_to(ROOT)) for file in (ROOT / "tests/e2e").rglob("test_*.py")}
    assert files - named == set()


def test_a_test_that_is_gone_is_listed_and_one_that_moved_has_its_new_place():
    before = {"tests/a.py::test_one", "tests/a.py::test_two", "tests/a.py::test_three"}
    after = {"tests/a.py::test_one", "tests/b.py::test_two"}
    assert list(vanished(before, after)) == ["tests/a.py::test_three", "tests/a.py::test_two → tests/b.py::test_two"]
