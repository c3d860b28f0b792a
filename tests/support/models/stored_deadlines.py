"""The deadlines in a state, calculated again from the items themselves."""

from functools import partial

from lessee.agent.machine.apps.lifecycle import app_due_at
from lessee.agent.machine.apps.version_reports import report_due_at
from lessee.agent.machine.kv.state import FOLDERS, MOUNTS, SECRETS, has_failed, is_retried
from lessee.agent.machine.leases.issuance import issue_due_at
from lessee.agent.machine.leases.release import lease_due_at, revocation_due_at
from lessee.agent.machine.leases.renewal import renewal_due_at
from lessee.agent.machine.step import NOTES
from lessee.agent.machine.transaction import Transaction


def check_deadlines(state):
    """A step notes the deadlines of what it concerns; here they must be right for all items."""
    stored = state.deadlines
    for deadlines, items, due_at in (
        (stored.apps, state.apps, partial(app_due_at, state)),
        (stored.issuances, state.issuances, partial(issue_due_at, state)),
        (stored.leases, state.leases, partial(lease_due_at, state)),
        (stored.renewals, state.leases, partial(renewal_due_at, state)),
        (stored.revocations, state.leases, partial(revocation_due_at, state)),
    ):
        assert dict(deadlines) == {key: due_at(item) for key, item in items.items()}
    assert dict(stored.version_reports) == {name: report_due_at(state, app, name) for name, app in state.apps.items()}
    for table, kind in ((state.mounts, MOUNTS), (state.folders, FOLDERS), (state.secrets, SECRETS)):
        assert table.first_due_at == min(map(kind.due_at, table.values()), default=float("inf"))
        assert table.count(has_failed) == sum(map(has_failed, table.values()))
    assert state.secrets.count(is_retried) == sum(map(is_retried, state.secrets.values()))
    for item in (*state.folders.items(), *state.secrets.items()):
        assert item[1].blocked == (not state.mounts[item[0].mount].version)


def altered(state, now, **parts):
    """The state with another session, or with other contents of its tables."""
    tx = Transaction(state, now)
    for name, part in parts.items():
        if name == "session":
            tx.session = part
        else:
            getattr(tx, name).replace_all(part)
    for note in NOTES:
        note(tx)
    return tx.commit()[0]
