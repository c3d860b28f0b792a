"""How much a run tries: each promise, and of what repeats it at length a fixed sample; with `THOROUGH=yes` all of it.

A test with the mark `thorough` proves again what another one proves in each run: with one more system or stack, at one
more moment, for longer. With `thorough(each=N)` every N-th of its cases is in each run. A command that names a file or
a test runs all of it.
"""

import os
from collections import defaultdict
from zlib import crc32

import pytest

THOROUGH = bool(os.environ.get("THOROUGH"))
_LEFT = "lessee_thorough"


def sampled(sequence, *, of, key):
    """Each N-th of these, N being `of`, or all with `THOROUGH=yes`; of an endless sequence too.

    Where it starts depends on the key, such as the name of a kind: several kinds together cover all places.
    """
    offset = 0 if THOROUGH else crc32(key.encode()) % of
    return (one for number, one in enumerate(sequence) if THOROUGH or number % of == offset)


def examples(number):
    """How many examples Hypothesis tries: a third, or all with `THOROUGH=yes`."""
    return number if THOROUGH else number // 3


def divide(items, named=frozenset()):
    """The tests of a run, in their order, and those that only `THOROUGH=yes` runs. `named`: files that run whole."""
    cases = defaultdict(list)
    for item in items:
        cases[item.nodeid.partition("[")[0]].append(item)
    left = set()
    for name, alike in cases.items():
        for number, item in enumerate(alike):
            mark = item.get_closest_marker("thorough")
            if mark is None or item.path in named:
                continue
            each = mark.kwargs.get("each")
            if each is None or number % each != crc32(name.encode()) % min(each, len(alike)):
                left.add(item)
    return [item for item in items if item not in left], [item for item in items if item in left]


class Selection:
    """Leaves out what only `THOROUGH=yes` runs, and says how many tests that were."""

    def __init__(self):
        self._left = 0

    def pytest_collection_modifyitems(self, config, items):
        named = {config.invocation_params.dir / argument.partition("::")[0] for argument in config.args}
        kept, left = divide(items, {path.resolve() for path in named if path.is_file()})
        self._left = len(left)
        if hasattr(config, "workeroutput"):
            config.workeroutput[_LEFT] = self._left
        if left:
            config.hook.pytest_deselected(items=left)
            items[:] = kept

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node):
        self._left = max(self._left, getattr(node, "workeroutput", {}).get(_LEFT, 0))

    def pytest_terminal_summary(self, terminalreporter):
        if self._left:
            terminalreporter.write_line(f"{self._left} tests are for THOROUGH=yes alone")
