"""Whatever the configurations, the kills and the hands: setup ends where it should, and knows its own."""

from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.setup.policy.objects import Group, Kind, Object
from lessee.ops.setup.policy.plan import (
    Add,
    Change,
    Conflict,
    Selection,
    Remove,
    actions,
    record_before,
    plan,
    record_after,
)
from lessee.ops.setup.policy.server_state import ServerState

NAMES = ("a", "b", "c")
CONFIGS = st.dictionaries(
    st.sampled_from(NAMES), st.fixed_dictionaries({"x": st.integers(0, 2), "y": st.integers(0, 2)})
)
HAND = 9
"""A value that no configuration has."""
ALL = Selection()


def wanted(config):
    return [
        Object(Kind.ROLE, Group.ROLES, "testing", f"auth/approle/role/testing-{name}", fields)
        for name, fields in sorted(config.items())
    ]


class Server:
    """What is there; it is obeyed in the order in which the real one is."""

    def __init__(self):
        self.objects, self.recorded = {}, {}

    def plan(self, config, *, force=False):
        there = ServerState(self.objects, {}, {"testing": self.recorded})
        return there, plan(wanted(config), there, ALL, force=force)

    def run(self, config, *, force=False, kill=None):
        """A run; killed after so many writes, if that comes before its end."""
        there, steps = self.plan(config, force=force)
        before, there = self.recorded, ServerState(dict(there.objects), {}, there.recorded)
        intent = record_before(before, actions(steps))
        writes = [lambda: setattr(self, "recorded", intent)]
        writes += [lambda step=step: self._take(step) for step in steps]
        writes += [lambda: setattr(self, "recorded", record_after(intent, wanted(config), there, steps))]
        for write in writes[:kill]:
            write()
        return steps

    def _take(self, step):
        match step:
            case Add(made) | Change(made):
                self.objects[made.path] = dict(made.fields)
            case Remove():
                del self.objects[step.path]


@given(st.lists(st.tuples(CONFIGS, st.one_of(st.none(), st.integers(0, 6))), max_size=6), CONFIGS)
def test_killed_wherever_it_may_be_it_ends_as_wanted_and_holds_nothing_of_its_own(runs, last):
    server = Server()
    for config, kill in runs:
        server.run(config, kill=kill)
    # What kills left open is done, and nothing is taken for somebody's hand.
    server.run(last)
    assert server.objects == {one.path: one.fields for one in wanted(last)}
    assert server.plan(last)[1] == ()


@given(CONFIGS, CONFIGS, st.sets(st.tuples(st.sampled_from(NAMES), st.sampled_from("xy"))))
def test_what_a_hand_changed_stays_and_all_else_follows(before, after, hands):
    server = Server()
    server.run(before)
    changed = set()
    for name, key in hands:
        path = f"auth/approle/role/testing-{name}"
        if path in server.objects:
            server.objects[path][key] = HAND
            changed.add(path)
    by_hand = {path: dict(server.objects[path]) for path in changed}
    steps = server.run(after)
    assert sum(isinstance(step, Conflict) for step in steps) == len(changed)
    assert {path: server.objects[path] for path in changed} == by_hand
    as_wanted = {one.path: one.fields for one in wanted(after)}
    assert {path: it for path, it in server.objects.items() if path not in changed} == {
        path: it for path, it in as_wanted.items() if path not in changed
    }
    server.run(after, force=True)
    assert server.objects == as_wanted
    assert server.plan(after)[1] == ()
