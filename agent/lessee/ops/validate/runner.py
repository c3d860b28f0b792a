"""Runs checks concurrently, each within a time limit."""

import threading
import time
from collections.abc import Iterable, Iterator

from lessee.config.durations import spell
from lessee.core.errors import LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.core.sensitive.names import SecretField
from lessee.host.progress import SILENT, Progress
from lessee.ops.validate.checks import Check, CheckSkippedError, UnusableSecretError
from lessee.ops.validate.policy.results import Reporter, Result, Skip


def run(checks: Iterable[Check], timeout: float, progress: Progress = SILENT) -> list[Result]:
    """The results, in the order of the checks. It takes at most `timeout` seconds, even where a check hangs."""
    all_checks = list(checks)
    progress.phase("checking", len(all_checks))
    started = [_CheckThread(check, progress) for check in all_checks]
    deadline = time.monotonic() + timeout
    return [result for thread in started for result in thread.results(deadline, timeout)]


class _CheckThread:
    """A check in its own thread, for which the end of the program does not wait."""

    def __init__(self, check: Check, progress: Progress) -> None:
        self._check = check
        self._results: list[Result] = []
        self._end: _End | None = None
        name = f"lessee-validate-{check.component}"
        self._thread = threading.Thread(target=self._run_counted, args=(progress,), name=name, daemon=True)
        self._thread.start()

    def results(self, deadline: float, timeout: float) -> Iterator[Result]:
        """The results until the deadline, and one for each other name of the check."""
        self._thread.join(max(deadline - time.monotonic(), 0))
        todo = "check whether the system hangs, or increase validate.timeout"
        end = self._end or _End(f"no answer within {spell(timeout)}", todo)
        results = list(self._results)
        yield from results
        reported = {result.check for result in results}
        reporter = Reporter(self._check.component)
        for name in (name for name in self._check.names if name not in reported):
            if end.failed:
                yield reporter.critical(name, end.text, end.todo, explains=end.explains)
                end = _End(f"{name} failed", failed=False)
            elif not (self._check.optional and end.is_empty):
                yield reporter.skipped(name, end.text, end.skip)

    def _run_counted(self, progress: Progress) -> None:
        self._run()
        progress.advance()

    def _run(self) -> None:
        try:
            for result in self._check.run():
                self._results.append(result)
        except CheckSkippedError as exc:
            self._end = _End(str(exc), failed=False, skip=exc.skip)
        except LesseeError as exc:
            where = f"{exc.where}: " if exc.where else ""
            explains = exc.explains if isinstance(exc, UnusableSecretError) else frozenset()
            self._end = _End(f"{where}{exc.what}", exc.todo or "correct what the text says", explains=explains)
        except Exception as exc:  # noqa: BLE001  # Its text may hold a value: a driver may quote what it was given.
            self._end = _End(f"internal error of the check ({type(exc).__name__})", "please report it")
        else:
            failed = next((result.check for result in self._results if result.passed is False), "")
            text = f"{failed} failed" if failed else "nothing to check"
            self._end = _End(text, failed=False, is_empty=not failed)


class _End(ImmutableStruct, frozen=True):
    """Why a check has no more results. `failed`: its next name fails for this reason. `is_empty`: it had no more."""

    text: str
    todo: str = ""
    failed: bool = True
    is_empty: bool = False
    skip: Skip = Skip.IMPOSSIBLE
    explains: frozenset[SecretField] = frozenset()
