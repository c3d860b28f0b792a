"""An overdue rotation is a warning, and later critical."""

import pytest

from lessee.core.severity import Level, overdue_level
from lessee.ops.validate.policy.thresholds import DAY


@pytest.mark.parametrize(
    ("age", "level"), [(DAY, None), (DAY + 1, Level.WARNING), (2 * DAY, Level.WARNING), (2 * DAY + 1, Level.CRITICAL)]
)
def test_a_secret_that_is_not_rotated_in_time_is_overdue(age, level):
    assert overdue_level(age, DAY) is level
