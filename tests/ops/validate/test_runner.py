"""Checks run concurrently, each within a time limit; an unexpected error is reported without its text."""

import threading
import time

from lessee.core.errors import DeniedError, LesseeError
from lessee.core.sensitive.names import SecretField
from lessee.core.severity import Level
from lessee.ops.validate.checks import (
    CachedCall,
    Check,
    CheckSkippedError,
    IncompleteCheckError,
    NotConfiguredError,
    UnusableSecretError,
)
from lessee.ops.validate.policy.results import Reporter, Skip
from lessee.ops.validate.runner import run

REPORTER = Reporter("c")


def outcome(body, names=("a", "b", "c"), timeout=5.0):
    """The outcome of each name, and the first failure."""
    results = run([Check("c", names, body)], timeout)
    assert [result.check for result in results] == list(names)
    failed = [result for result in results if result.passed is False]
    return [result.passed for result in results], (failed[0] if failed else None)


def test_checks_after_a_failure_are_skipped():
    passed, failed = outcome(lambda: [REPORTER.passed("a", "valid"), REPORTER.warning("b", "invalid", "correct it")])
    assert passed == [True, False, None]
    assert failed.level == Level.WARNING


def test_an_exception_is_a_failure_without_its_text():
    def body():
        yield REPORTER.passed("a", "valid")
        raise ValueError("canary")

    passed, failed = outcome(body)
    assert passed == [True, False, None]
    assert failed.text == "internal error of the check (ValueError)"
    assert failed.level == Level.CRITICAL


def test_a_lessee_error_is_a_failure_with_its_parts():
    def body():
        raise DeniedError("permission denied", where="secret/x", todo="grant it")
        yield

    passed, failed = outcome(body)
    assert passed == [False, None, None]
    assert (failed.text, failed.todo) == ("secret/x: permission denied", "grant it")
    assert outcome(lambda: _raise(LesseeError("unexpected")))[1].todo


def test_a_skipped_check_is_not_a_failure():
    def body():
        yield REPORTER.passed("a", "valid")
        raise CheckSkippedError("it is unavailable")

    assert outcome(body) == ([True, None, None], None)


def test_the_reason_of_a_skipped_check_is_in_its_results():
    for error, skip in ((NotConfiguredError, Skip.NOT_CONFIGURED), (IncompleteCheckError, Skip.INCOMPLETE)):

        def body(error=error):
            raise error("so it is")
            yield

        results = run([Check("c", ("a", "b"), body)], 5.0)
        assert [(result.passed, result.skip, result.text) for result in results] == [(None, skip, "so it is")] * 2


def test_an_unusable_secret_explains_other_failures():
    def body():
        raise UnusableSecretError("the secret does not exist", where="secret/x", todo="write it")
        yield

    first, second = run([Check("c", ("a", "b"), body)], 5.0)
    assert first.explains == {SecretField("secret/x", "")}
    assert not second.explains


def test_an_optional_check_that_finds_nothing_has_no_results_but_its_errors():
    assert run([Check("c", ("a", "b"), list, optional=True)], 5.0) == []
    [one] = run([Check("c", ("a", "b"), lambda: [REPORTER.passed("a", "valid")], optional=True)], 5.0)
    assert one.passed
    failed = run([Check("c", ("a", "b"), lambda: _raise(LesseeError("unexpected")), optional=True)], 5.0)
    assert [result.passed for result in failed] == [False, None]
    failed = run([Check("c", ("a", "b"), lambda: [REPORTER.warning("a", "bad", "do it")], optional=True)], 5.0)
    assert [result.passed for result in failed] == [False, None]
    denied = run([Check("c", ("a",), lambda: _raise(CheckSkippedError("no access")), optional=True)], 5.0)
    assert [result.text for result in denied] == ["no access"]


def test_a_hanging_check_keeps_its_results_and_delays_no_other():
    release = threading.Event()

    def hanging():
        yield REPORTER.passed("a", "valid")
        release.wait(30)
        yield REPORTER.passed("b", "too late")

    other = Reporter("d")
    checks = [Check("c", ("a", "b", "c"), hanging), Check("d", ("a",), lambda: [other.passed("a", "valid")])]
    began = time.monotonic()
    results = run(checks, 0.2)
    took = time.monotonic() - began
    release.set()
    assert took < 5
    outcomes = [(result.component, result.passed) for result in results]
    assert outcomes == [("c", True), ("c", False), ("c", None), ("d", True)]
    assert results[1].text == "no answer within 200ms"
    assert results[1].level == Level.CRITICAL


def test_a_cached_call_runs_once_and_keeps_its_result_or_error():
    calls = []

    def function():
        calls.append(1)
        return len(calls)

    cached = CachedCall(function)
    results = []
    threads = [threading.Thread(target=lambda: results.append(cached())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [1] * 8
    failing = CachedCall(lambda: calls.append(2) or _raise(CheckSkippedError("unavailable")))
    for _ in range(2):
        try:
            failing()
        except CheckSkippedError as exc:
            assert str(exc) == "unavailable"  # noqa: PT017  # Of each call.
    assert calls == [1, 2]


def _raise(exc):
    raise exc
