"""Which tests go to which worker, where several run at a time."""

import re
from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

_ROOT = Path(__file__).parents[1]
_ENGINE, _SYSTEM = "Engine: ", "rotation: "
# What takes longest comes first, lest one worker be left alone with it at the end; core fills what is free then.
_ORDER = ((_ENGINE, 0), (_SYSTEM, 1), ("tests/rotation/", 2), ("tests/e2e/", 2), ("tests/core/", 4), ("", 3))
_GROUP = re.compile(r'mark\.xdist_group\("(\w+)"\)')
# These try all kinds of systems, each with a server of its own.
_OF_A_SYSTEM = re.compile(r"tests/rotation/test_(contract|locking)\.py::\w+\[([a-z][a-z3, -]+?)(-before|-after)?\]")


class Sharing(LoadScopeScheduling):
    """A file is one worker's, for its tests share what they start.

    All files that want a Docker Engine are one's, and share it; but those that name an `xdist_group` are another's.
    """

    def _split_scope(self, nodeid):
        if system := _OF_A_SYSTEM.fullmatch(nodeid):
            return f"{_SYSTEM}{system[2]}, {system[1]}"
        file = nodeid.partition("::")[0]
        return _engine_of(file) or file

    def _assign_work_unit(self, node):
        self.workqueue.move_to_end(min(self.workqueue, key=self._place), last=False)
        super()._assign_work_unit(node)

    def _place(self, scope):
        place = next(number for start, number in _ORDER if scope.startswith(start))
        return place, -len(self.workqueue[scope])


@cache
def _engine_of(file):
    text = (_ROOT / file).read_text(encoding="utf-8")
    if "mark.docker" not in text:
        return None
    group = _GROUP.search(text)
    return f"{_ENGINE}{group[1] if group else 'all'}"
