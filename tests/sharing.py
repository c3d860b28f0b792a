"""Which tests go to which worker, where several run at a time."""

import re
from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

_ROOT = Path(__file__).parents[1]
_ENGINE = "docker"
_SYSTEMS = "rotation of "
# What takes longest comes first, lest one worker be left alone with it at the end; core fills what is free then.
_ORDER = ((_ENGINE, 0), (_SYSTEMS, 1), ("tests/rotation/", 2), ("tests/e2e/", 2), ("tests/core/", 4), ("", 3))
# These try all kinds of systems, each with a server of its own.
_OF_A_SYSTEM = re.compile(r"tests/rotation/test_(contract|locking)\.py::\w+\[([a-z][a-z3, -]+?)(-before|-after)?\]")


class Sharing(LoadScopeScheduling):
    """A file is one worker's, for its tests share what they start; and all are one's that want a Docker Engine."""

    def _split_scope(self, nodeid):
        if system := _OF_A_SYSTEM.fullmatch(nodeid):
            return f"{_SYSTEMS}{system[2]}: {system[1]}"
        file = nodeid.partition("::")[0]
        return _ENGINE if _wants_engine(file) else file

    def _assign_work_unit(self, node):
        self.workqueue.move_to_end(min(self.workqueue, key=self._place), last=False)
        super()._assign_work_unit(node)

    def _place(self, scope):
        place = next(number for start, number in _ORDER if scope.startswith(start))
        return place, -len(self.workqueue[scope])


@cache
def _wants_engine(file):
    return "mark.docker" in (_ROOT / file).read_text(encoding="utf-8")
