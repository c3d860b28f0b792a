"""An agent that runs here, by what its status socket says."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from lessee.core.errors import AgentUnavailableError
from lessee.ops.validate.checks import Check, NotLookedError
from lessee.ops.validate.context import Subject
from lessee.ops.validate.policy.agent import NAMES, judge
from lessee.ops.validate.policy.results import Result, Teller
from lessee.status.server import ask


def check(subject: Subject, tell: Teller) -> Check:
    """Nothing is looked at where no agent runs."""
    return Check(tell.component, NAMES, partial(_look, subject, tell))


def _look(subject: Subject, tell: Teller) -> Iterator[Result]:
    socket = Path(subject.config.status.socket)
    try:
        status = ask(socket, "GET", "/status.json", timeout=subject.timeout)
    except AgentUnavailableError:
        raise NotLookedError(f"no agent answers at {socket}") from None
    yield from judge(tell, status, subject.now)
