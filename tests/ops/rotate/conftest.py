"""What all tests of rotation share."""

import pytest

from support.environments.rotation_targets import AHEAD, Rotated
from support.systems import SYSTEMS, quickly


@pytest.fixture(autouse=True)
def warnings_are_heard(caplog):
    """Whatever an earlier test of the same run has set."""
    caplog.set_level("WARNING", logger="lessee")


@pytest.fixture(scope="module", params=SYSTEMS)
def new_system(request, tmp_path_factory):
    """Makes a target's system, of each kind in turn."""
    with quickly(SYSTEMS[request.param], tmp_path_factory.mktemp(request.param)) as new:
        yield new


@pytest.fixture
def rotated(bao, tmp_path, new_system):
    """A target of each kind in turn, whose consumer confirms whatever comes."""
    new = Rotated(bao, tmp_path, new_system())
    new.confirm(version=AHEAD)
    return new
