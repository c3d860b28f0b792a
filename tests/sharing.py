"""Which tests go to which worker, where several run at a time."""

from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

_ROOT = Path(__file__).parents[1]
_ENGINE = "docker"
# What takes longest comes first, lest one worker be left alone with it at the end; core fills what is free then.
_ORDER = {_ENGINE: 0, "tests/rotation": 1, "tests/e2e": 2, "tests/core": 4}
_ELSEWHERE = 3


class Sharing(LoadScopeScheduling):
    """A file is one worker's, for its tests share what they start; and all are one's that want a Docker Engine."""

    def _split_scope(self, nodeid):
        file = nodeid.partition("::")[0]
        return _ENGINE if _wants_engine(file) else file

    def _assign_work_unit(self, node):
        self.workqueue.move_to_end(min(self.workqueue, key=self._place), last=False)
        super()._assign_work_unit(node)

    def _place(self, scope):
        return _ORDER.get("/".join(scope.split("/")[:2]), _ELSEWHERE), -len(self.workqueue[scope])


@cache
def _wants_engine(file):
    return "mark.docker" in (_ROOT / file).read_text(encoding="utf-8")
