"""What a test cannot do without."""

import os

import pytest


def need(there, what):
    """Skip for want of something that `what` says how to get; in CI that is a failure, for there all is to be had."""
    if not there:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(what)
