"""What the tests of publications share."""

import pytest

from lessee.publishing import publication


@pytest.fixture(autouse=True)
def unhurried_sweep(monkeypatch):
    """Leftovers are gone when a call returns, however busy the machine is."""
    monkeypatch.setattr(publication, "_QUICK_SWEEP", float("inf"))
