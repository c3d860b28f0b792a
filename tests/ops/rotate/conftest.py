"""Fixtures of the tests of rotation."""

from functools import partial

import pytest

from support.environments.rotation_targets import FUTURE_VERSION, RotationTarget
from support.systems import SYSTEMS, s3, started_fast


@pytest.fixture(autouse=True)
def capture_warnings(caplog):
    """Capture warnings, whatever an earlier test of the same run has set."""
    caplog.set_level("WARNING", logger="lessee")


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """An S3 store for the whole run: it takes seconds to start."""
    with s3.started(tmp_path_factory.mktemp("s3")) as store:
        yield store


@pytest.fixture(scope="session", params=SYSTEMS)
def new_system(request, tmp_path_factory):
    """Creates a target's system, for each kind. Each kind's tests are one worker's, see `support/scheduling.py`."""
    kind = SYSTEMS[request.param]
    if hasattr(kind, "server"):
        yield partial(kind, request.getfixturevalue(kind.server))
    else:
        with started_fast(kind, tmp_path_factory.mktemp(request.param)) as new:
            yield new


@pytest.fixture
def system_name(request):
    """The name of the target's kind in `SYSTEMS`."""
    return request.node.callspec.params["new_system"]


@pytest.fixture
def target(bao, tmp_path, new_system):
    """A target of each kind, whose consumer has confirmed all versions."""
    new = RotationTarget(bao, tmp_path, new_system())
    new.confirm(version=FUTURE_VERSION)
    yield new
    if hasattr(new.system, "remove"):
        new.system.remove()
