"""What is too old is told, the worse the older."""

import pytest

from lessee.core.ages import moment, overdue
from lessee.core.severity import Level
from lessee.ops.validate.policy.thresholds import DAY


def test_vaults_times_are_read():
    assert moment("2026-01-02T03:04:05.123456789Z") == pytest.approx(1767323045.123, abs=0.01)
    assert moment("2026-01-02T04:04:05+01:00") == 1767323045
    assert moment("2026-01-02T03:04:05") is None
    assert moment("") is None


@pytest.mark.parametrize(
    ("age", "level"), [(DAY, None), (DAY + 1, Level.WARNING), (2 * DAY, Level.WARNING), (2 * DAY + 1, Level.CRITICAL)]
)
def test_what_was_not_changed_in_time_is_told(age, level):
    assert overdue(age, DAY) is level
