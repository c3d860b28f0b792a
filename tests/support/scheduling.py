"""Which tests go to which worker, where several run at a time."""

import re
from functools import cache

from xdist.scheduler import LoadScopeScheduling

from support.paths import ROOT

_ENGINE, _SYSTEM = "Engine: ", "rotation: "
# The longest files start first, so that no worker is left alone with one at the end; pure tests fill the gaps.
_PURE = re.compile(r"tests/(core|config|rendering|agent/machine|mcp/session|ops/\w+/policy)/")
_ORDER = ((_ENGINE, 0), (_SYSTEM, 1), ("tests/ops/rotate/", 2), ("tests/e2e/", 2), ("", 3))
_GROUP = re.compile(r'mark\.xdist_group\("(\w+)"\)')
# These try all kinds of systems, each with a server of its own.
_OF_A_SYSTEM = re.compile(r"tests/ops/rotate/test_(contract|locking)\.py::\w+\[([a-z][a-z3, -]+?)(-before|-after)?\]")


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
        place = 4 if _PURE.match(scope) else next(number for start, number in _ORDER if scope.startswith(start))
        return place, -len(self.workqueue[scope])


@cache
def _engine_of(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    if "mark.docker" not in text:
        return None
    group = _GROUP.search(text)
    return f"{_ENGINE}{group[1] if group else 'all'}"
