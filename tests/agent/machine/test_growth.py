"""What a step costs grows with what it changes, not with what is there: counted in calls, not in seconds."""

import sys

import pytest

from lessee.agent.machine.deadlines import wake_at
from lessee.agent.machine.step import steps
from lessee.core.immutable import replace
from support.models.world import World, app_spec, creds, ref

pytestmark = pytest.mark.long
FEW, MANY = 120, 480
FOLDER_SIZE = 60


class CountingWorld(World):
    """Counts the calls of functions, Python's own included, that the steps of the machine take."""

    def __init__(self, *arguments, **settings):
        self.calls = 0
        super().__init__(*arguments, **settings)

    def take(self, *events):
        sys.setprofile(self._count)
        try:
            self.state, commands = steps(self.state, events, self.now)
            wake_at(self.state)
        finally:
            sys.setprofile(None)
        self.steps += 1
        for command in commands:
            self.obey(command)

    def counted(self, seconds):
        self.calls = 0
        self.run(seconds)
        return self.calls

    def _count(self, _frame, event, _argument):
        self.calls += event in {"call", "c_call"}


def refs(count, folder="f"):
    return [ref(f"p/{folder}{number // FOLDER_SIZE}/s{number}") for number in range(count)]


def started(count, *, apps, leases=False, folder="f"):
    """A world whose machine has published all apps, and the calls that this took."""
    each = refs(count, folder)
    specs = {
        f"app{number}": app_spec(*each[number::apps], *([creds(f"x{number}")] if leases else []), compiled_app=number)
        for number in range(apps)
    }
    world = CountingWorld(specs)
    for one in each:
        world.write(one)
    calls = world.counted(30.0)
    assert set(world.live) == set(specs)
    return world, calls


def calls_of_starts(count, *, apps):
    """The calls of three starts: how names are hashed, which no two processes do alike, changes one by 2 %."""
    return sum(started(count, apps=apps, folder=folder)[1] for folder in "fgh")


@pytest.mark.parametrize("secrets_of_an_app", [FEW, 12, 1])
def test_a_start_costs_as_much_more_as_there_is_to_read(secrets_of_an_app):
    few = calls_of_starts(FEW, apps=FEW // secrets_of_an_app)
    many = calls_of_starts(MANY, apps=MANY // secrets_of_an_app)
    assert many / few < 1.1 * MANY / FEW


def test_a_start_in_one_app_costs_as_much_more_as_there_is_to_read():
    few, many = calls_of_starts(FEW, apps=1), calls_of_starts(MANY, apps=1)
    assert many / few < 1.1 * MANY / FEW


def test_what_a_machine_supplies_costs_no_more_than_what_it_publishes():
    def polled(**settings):
        spec = replace(app_spec(*refs(FEW), compiled_app=None), **settings)
        world = CountingWorld({"web": spec}, lists_metadata=False)
        for one in refs(FEW):
            world.write(one)
        return world.counted(5.0), world.counted(2.0)

    for published, supplied in zip(polled(), polled(supplies="b"), strict=True):
        assert supplied < 1.05 * published


def test_a_start_with_leases_costs_as_much_more_as_there_is_to_issue():
    _, few = started(40, apps=40, leases=True)
    _, many = started(160, apps=160, leases=True)
    assert many / few < 1.3 * 160 / 40


def test_an_idle_round_costs_the_same_however_many_secrets_a_folder_has():
    few, many = (started(count, apps=5)[0] for count in (FEW, MANY))
    rounds = {world: world.counted(60.0) / len(world.listings) for world in (few, many)}
    assert rounds[many] < 1.3 * rounds[few]


def test_one_changed_secret_costs_the_same_among_many_apps():
    costs = []
    for count in (FEW, MANY):
        world, _ = started(count, apps=count)
        idle = world.counted(30.0)
        world.write(refs(1)[0])
        costs.append(world.counted(30.0) - idle)
    # The LIST of its folder has the same number of names in both.
    assert costs[1] < 1.5 * costs[0]
