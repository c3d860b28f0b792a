"""What the alert rules say about a request."""

import pytest

from lessee.ops.monitor.policy.classification import component
from support.models.alert_rules import access


@pytest.mark.parametrize(("length", "expected"), [(200, "x" * 200), (201, "x" * 199 + "…")])
def test_a_name_has_at_most_200_characters(length, expected):
    assert component(access(role="x" * length)) == expected
