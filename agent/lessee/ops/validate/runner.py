"""Runs checks side by side, each with a bound on its time, whatever becomes of it."""

import threading
import time
from collections.abc import Iterable, Iterator

from lessee.config.durations import spell
from lessee.core.errors import LesseeError
from lessee.ops.validate.checks import Check, NotLookedError
from lessee.ops.validate.policy.results import Result, Teller


def run(checks: Iterable[Check], timeout: float) -> list[Result]:
    """The results, in the order of the checks. It takes no longer than `timeout` seconds, even where a check hangs."""
    started = [_Running(check) for check in checks]
    deadline = time.monotonic() + timeout
    return [result for running in started for result in running.results(deadline, timeout)]


class _Running:
    """A check in a thread of its own, which the end of the program does not wait for."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._found: list[Result] = []
        self._end: _End | None = None
        self._thread = threading.Thread(target=self._run, name=f"lessee-validate-{check.component}", daemon=True)
        self._thread.start()

    def results(self, deadline: float, timeout: float) -> Iterator[Result]:
        """What was found until the deadline, and what is to be said of the rest."""
        self._thread.join(max(deadline - time.monotonic(), 0))
        end = self._end or _End(f"no answer within {spell(timeout)}", "see whether it hangs, or raise validate.timeout")
        found = list(self._found)
        yield from found
        told = {result.check for result in found}
        tell = Teller(self._check.component)
        for name in (name for name in self._check.names if name not in told):
            if end.failed:
                yield tell.critical(name, end.text, end.todo)
                end = _End(f"{name} failed", failed=False)
            else:
                yield tell.unlooked(name, end.text)

    def _run(self) -> None:
        try:
            for result in self._check.run():
                self._found.append(result)
        except NotLookedError as exc:
            self._end = _End(str(exc), failed=False)
        except LesseeError as exc:
            where = f"{exc.where}: " if exc.where else ""
            self._end = _End(f"{where}{exc.what}", exc.todo or "see what it says")
        except Exception as exc:  # noqa: BLE001  # Its text may hold a value: a driver's may quote what it was given.
            self._end = _End(f"the check itself failed ({type(exc).__name__})", "please report it")
        else:
            failed = next((result.check for result in self._found if result.passed is False), "")
            self._end = _End(f"{failed} failed" if failed else "there was nothing to look at", failed=False)


class _End:
    """Why there is no more of a check. `failed`: the next of its names failed by it."""

    def __init__(self, text: str, todo: str = "", *, failed: bool = True) -> None:
        self.text = text
        self.todo = todo
        self.failed = failed
