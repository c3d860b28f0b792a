"""Fixtures of the tests of rotation."""

import pytest

from support.environments.rotation_targets import FUTURE_VERSION, RotationTarget
from support.systems import SYSTEMS, started_fast


@pytest.fixture(autouse=True)
def capture_warnings(caplog):
    """Capture warnings, whatever an earlier test of the same run has set."""
    caplog.set_level("WARNING", logger="lessee")


@pytest.fixture(scope="module", params=SYSTEMS)
def new_system(request, tmp_path_factory):
    """Creates a target's system, for each kind."""
    with started_fast(SYSTEMS[request.param], tmp_path_factory.mktemp(request.param)) as new:
        yield new


@pytest.fixture
def target(bao, tmp_path, new_system):
    """A target of each kind, whose consumer has confirmed all versions."""
    new = RotationTarget(bao, tmp_path, new_system())
    new.confirm(version=FUTURE_VERSION)
    return new
