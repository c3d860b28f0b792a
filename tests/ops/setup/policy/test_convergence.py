"""After any configurations, kills and manual changes, setup reaches the desired state and knows its own objects."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.setup.policy.objects import Group, Kind, Object
from lessee.ops.setup.policy.plan import (
    Add,
    Change,
    Conflict,
    Remove,
    Selection,
    actions,
    plan,
    record_after,
    record_before,
)
from lessee.ops.setup.policy.server_state import ServerState

NAMES = ("a", "b", "c")
CONFIGS = st.dictionaries(
    st.sampled_from(NAMES), st.fixed_dictionaries({"x": st.integers(0, 2), "y": st.integers(0, 2)})
)
MANUAL = 9
"""A value that no configuration has."""
ALL = Selection()


def desired(config):
    return [
        Object(Kind.ROLE, Group.ROLES, "testing", f"auth/approle/role/testing-{name}", fields)
        for name, fields in sorted(config.items())
    ]


class Server:
    """A server in memory; steps run in the order of the real executor."""

    def __init__(self):
        self.objects, self.recorded = {}, {}

    def plan(self, config, *, force=False):
        there = ServerState(self.objects, {}, {"testing": self.recorded})
        return there, plan(desired(config), there, ALL, force=force)

    def run(self, config, *, force=False, kill=None):
        """A run, killed after `kill` writes."""
        there, steps = self.plan(config, force=force)
        before, there = self.recorded, ServerState(dict(there.objects), {}, there.recorded)
        intent = record_before(before, actions(steps))
        writes = [lambda: setattr(self, "recorded", intent)]
        writes += [lambda step=step: self._take(step) for step in steps]
        writes += [lambda: setattr(self, "recorded", record_after(intent, desired(config), there, steps))]
        for write in writes[:kill]:
            write()
        return steps

    def _take(self, step):
        match step:
            case Add(made) | Change(made):
                self.objects[made.path] = dict(made.fields)
            case Remove():
                del self.objects[step.path]


@pytest.mark.no_cover
@given(st.lists(st.tuples(CONFIGS, st.one_of(st.none(), st.integers(0, 6))), max_size=6), CONFIGS)
def test_after_kills_at_any_step_the_next_run_reaches_the_desired_state_without_conflicts(runs, last):
    server = Server()
    for config, kill in runs:
        server.run(config, kill=kill)
    # The run completes what kills left open, and takes nothing for a manual change.
    server.run(last)
    assert server.objects == {one.path: one.fields for one in desired(last)}
    assert server.plan(last)[1] == ()


@given(CONFIGS, CONFIGS, st.sets(st.tuples(st.sampled_from(NAMES), st.sampled_from("xy"))))
def test_manual_changes_stay_and_everything_else_follows_the_configuration(before, after, edits):
    server = Server()
    server.run(before)
    changed = set()
    for name, key in edits:
        path = f"auth/approle/role/testing-{name}"
        if path in server.objects:
            server.objects[path][key] = MANUAL
            changed.add(path)
    manual = {path: dict(server.objects[path]) for path in changed}
    steps = server.run(after)
    assert sum(isinstance(step, Conflict) for step in steps) == len(changed)
    assert {path: server.objects[path] for path in changed} == manual
    as_desired = {one.path: one.fields for one in desired(after)}
    assert {path: it for path, it in server.objects.items() if path not in changed} == {
        path: it for path, it in as_desired.items() if path not in changed
    }
    server.run(after, force=True)
    assert server.objects == as_desired
    assert server.plan(after)[1] == ()
