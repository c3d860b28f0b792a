"""When the state machine has something to do although no event arrives."""

from collections.abc import Iterator

from lessee.agent.machine.apps.lifecycle import next_app_at
from lessee.agent.machine.apps.version_reports import next_report_at
from lessee.agent.machine.kv.polling import read_deadlines
from lessee.agent.machine.leases.issuance import next_issuance_at
from lessee.agent.machine.leases.release import release_deadlines
from lessee.agent.machine.leases.renewal import next_renewal_at
from lessee.agent.machine.pending_requests import request_deadlines
from lessee.agent.machine.session.login import session_deadlines
from lessee.agent.machine.session.state import NEVER
from lessee.agent.machine.state import State


def wake_at(state: State) -> float:
    """The moment on the boot clock at which `step` does something; NEVER if it only waits for responses."""
    return min(_deadlines(state), default=NEVER)


def _deadlines(state: State) -> Iterator[float]:
    """Each is defined next to the planner that it wakes, and uses the same conditions."""
    yield from request_deadlines(state)
    yield from session_deadlines(state)
    yield next_renewal_at(state)
    yield next_issuance_at(state)
    yield from release_deadlines(state)
    yield from read_deadlines(state)
    yield next_app_at(state)
    yield next_report_at(state)
