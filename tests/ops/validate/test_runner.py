"""Checks run side by side, each to its own bound; what goes wrong in one is told without its words."""

import threading
import time

from lessee.core.errors import LesseeError, RefusedError
from lessee.core.severity import Level
from lessee.ops.validate.checks import Check, NotLookedError
from lessee.ops.validate.once import Once
from lessee.ops.validate.policy.results import Teller
from lessee.ops.validate.runner import run

TELL = Teller("c")


def outcome(body, names=("a", "b", "c"), timeout=5.0):
    """What became of each name, and of the first that failed."""
    results = run([Check("c", names, body)], timeout)
    assert [result.check for result in results] == list(names)
    failed = [result for result in results if result.passed is False]
    return [result.passed for result in results], (failed[0] if failed else None)


def test_what_comes_after_a_failure_could_not_be_looked_at():
    passed, failed = outcome(lambda: [TELL.passed("a", "well"), TELL.warning("b", "not well", "mend it")])
    assert passed == [True, False, None]
    assert failed.level == Level.WARNING


def test_an_exception_is_a_failure_without_its_text():
    def body():
        yield TELL.passed("a", "well")
        raise ValueError("canary")

    passed, failed = outcome(body)
    assert passed == [True, False, None]
    assert failed.text == "the check itself failed (ValueError)"
    assert failed.level == Level.CRITICAL


def test_an_error_of_ours_says_what_and_what_to_do():
    def body():
        raise RefusedError("it is refused", where="secret/x", todo="grant it")
        yield

    passed, failed = outcome(body)
    assert passed == [False, None, None]
    assert (failed.text, failed.todo) == ("secret/x: it is refused", "grant it")
    assert outcome(lambda: _raise(LesseeError("odd")))[1].todo


def test_what_cannot_look_says_why_and_nothing_failed():
    def body():
        yield TELL.passed("a", "well")
        raise NotLookedError("it is away")

    assert outcome(body) == ([True, None, None], None)


def test_who_hangs_keeps_what_it_found_and_nobody_else():
    release = threading.Event()

    def hanging():
        yield TELL.passed("a", "well")
        release.wait(30)
        yield TELL.passed("b", "too late")

    checks = [Check("c", ("a", "b", "c"), hanging), Check("d", ("a",), lambda: [Teller("d").passed("a", "well")])]
    began = time.monotonic()
    results = run(checks, 0.2)
    took = time.monotonic() - began
    release.set()
    assert took < 5
    assert [(one.component, one.passed) for one in results] == [("c", True), ("c", False), ("c", None), ("d", True)]
    assert results[1].text == "no answer within 200ms"
    assert results[1].level == Level.CRITICAL


def test_a_look_is_taken_once_whoever_asks_and_its_failure_is_kept():
    looks = []

    def look():
        looks.append(1)
        return len(looks)

    once = Once(look)
    results = []
    threads = [threading.Thread(target=lambda: results.append(once())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [1] * 8
    failing = Once(lambda: looks.append(2) or _raise(NotLookedError("away")))
    for _ in range(2):
        try:
            failing()
        except NotLookedError as exc:
            assert str(exc) == "away"  # noqa: PT017  # Of each call.
    assert looks == [1, 2]


def _raise(exc):
    raise exc
