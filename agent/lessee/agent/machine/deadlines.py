"""When the state machine has something to do although no event arrives."""

from itertools import chain

from lessee.agent.machine.apps.lifecycle import app_deadlines
from lessee.agent.machine.apps.version_reports import report_deadlines
from lessee.agent.machine.kv.polling import read_deadlines
from lessee.agent.machine.leases.issuance import issuance_deadlines
from lessee.agent.machine.leases.release import release_deadlines
from lessee.agent.machine.leases.renewal import renewal_deadlines
from lessee.agent.machine.pending_requests import request_deadlines
from lessee.agent.machine.session.login import session_deadlines
from lessee.agent.machine.session.state import NEVER
from lessee.agent.machine.state import State

_DEADLINES = (
    request_deadlines,
    session_deadlines,
    renewal_deadlines,
    issuance_deadlines,
    release_deadlines,
    read_deadlines,
    app_deadlines,
    report_deadlines,
)
"""Each is defined next to the planner that it wakes, and uses the same conditions."""


def wake_at(state: State) -> float:
    """The moment on the boot clock at which `step` does something; NEVER if it only waits for responses."""
    return min(chain.from_iterable(deadlines(state) for deadlines in _DEADLINES), default=NEVER)
