"""A notification that takes time is not made by the agent's loop."""

import pytest

from lessee.config import Child, CmdlineTarget, NameTarget, Notify, PidFileTarget
from lessee.notification.notifier import is_immediate


@pytest.mark.parametrize(
    ("target", "immediate"),
    [
        (NameTarget("app"), False),
        (CmdlineTarget("celery .*worker"), False),
        (PidFileTarget("/run/app.pid"), True),
        (Child(), True),
    ],
)
def test_a_search_through_other_users_processes_is_not_made_by_the_agents_loop(target, immediate):
    settings = Notify(
        target=target,
        action="SIGHUP",
        stop_grace_period=1.0,
        stop_signal="SIGTERM",
        start_period=1.0,
        on_unhandled_signal="report",
        timeout=1.0,
    )
    assert is_immediate(settings) is immediate
