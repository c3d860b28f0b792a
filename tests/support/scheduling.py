"""Which tests go to which worker, where several run at a time."""

import re
from functools import cache

from xdist.scheduler import LoadScopeScheduling

from support.paths import ROOT

_ENGINE, _SYSTEM = "Engine: ", "rotation: "
# With more, the Engine's own work takes all processors, and workers wait for the images that one of them builds.
_AT_THE_ENGINE = 3
"""How many workers run files that need a Docker Engine, while there are others."""
# The second and third worker need no image of lessee, which the first one builds; the rest by duration.
_ENGINE_FILES = (
    "e2e/test_compose_reboots.py::keep",
    "notification/test_containers.py",
    "readers/test_docker_reader.py",
    "e2e/test_compose_simba.py",
    "e2e/test_compose_monitoring.py",
    "e2e/test_compose_rotation.py",
    "e2e/test_compose_restart.py",
    "e2e/test_swarm.py",
)
# The longest files start first, so that no worker is left alone with one at the end; pure tests fill the gaps.
_PURE = re.compile(r"tests/(core|config|rendering|agent/machine|mcp/session|(ops/)?\w+/policy)/")
_ORDER = ((_SYSTEM, 1), ("tests/ops/rotate/", 2), ("tests/e2e/", 2), ("", 3))
# Each of these stacks is started for itself.
_OF_A_STACK = re.compile(r"(tests/e2e/test_compose_reboots\.py)::\w+\[(keep|revoke-if-unused|disk)\b.*\]")
# All tests with one of these servers, which take seconds to start and a lot of memory, are one worker's.
_ENGINES = f"{_SYSTEM}MariaDB, RabbitMQ and OpenLDAP"
_WITH_ENGINES = re.compile(r"tests/(ops/rotate/test_(mysql|rabbitmq|ldap)|e2e/test_rotated_engines)\.py::.*")
_ENGINE_KINDS = ("mysql", "rabbitmq", "ldap")
_KINDS_OF_A_SERVER = {"database-root": "postgres", "postgres-admins": "postgres", "s3-admin": "s3"}
# These try all kinds of systems. One worker has all tests of a kind, and of kinds with the same server.
_OF_A_SYSTEM = re.compile(
    r"tests/ops/rotate/test_(contract|locking|restored)\.py::\w+\[([a-z][a-z3, -]+?)(-before|-after)?\]"
)


class Sharing(LoadScopeScheduling):
    """A file is one worker's, because its tests share what they start.

    The workers share a Docker Engine, and not more than a few of them use it at a time.
    """

    def _split_scope(self, nodeid):
        system = _OF_A_SYSTEM.fullmatch(nodeid)
        if _WITH_ENGINES.fullmatch(nodeid) or (system and system[2].startswith(_ENGINE_KINDS)):
            return _ENGINES
        if system:
            kind = system[2].partition(",")[0]
            return f"{_SYSTEM}{_KINDS_OF_A_SERVER.get(kind, kind)}"
        stack = _OF_A_STACK.fullmatch(nodeid)
        scope = f"{stack[1]}::{stack[2]}" if stack else nodeid.partition("::")[0]
        return f"{_ENGINE}{scope}" if _needs_engine(nodeid.partition("::")[0]) else scope

    def _assign_work_unit(self, node):
        others = [work for other, work in self.assigned_work.items() if other is not node]
        is_full = sum(map(_uses_engine, others)) >= _AT_THE_ENGINE
        self.workqueue.move_to_end(min(self.workqueue, key=lambda scope: self._place(scope, is_full)), last=False)
        super()._assign_work_unit(node)

    def _place(self, scope, is_full):
        if scope.startswith(_ENGINE):
            file = scope.removeprefix(f"{_ENGINE}tests/")
            return 5 if is_full else 0, _ENGINE_FILES.index(file) if file in _ENGINE_FILES else len(_ENGINE_FILES)
        place = 4 if _PURE.match(scope) else next(number for start, number in _ORDER if scope.startswith(start))
        return place, -len(self.workqueue[scope])


def _uses_engine(work):
    """Whether a worker has tests before it that need the Engine."""
    return any(scope.startswith(_ENGINE) and not all(tests.values()) for scope, tests in work.items())


@cache
def _needs_engine(file):
    return "mark.docker" in (ROOT / file).read_text(encoding="utf-8")
