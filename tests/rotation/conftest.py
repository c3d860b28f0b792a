"""What all tests of rotation share."""

import pytest


@pytest.fixture(autouse=True)
def warnings_are_heard(caplog):
    """Whatever an earlier test of the same run has set."""
    caplog.set_level("WARNING", logger="lessee")
