"""What an app noticed, from the reports of its stand-in."""

import pytest

from lessee.ops.drill.policy.observations import Change, Report, felt


def alive(at, uses):
    return Report(at, "alive", changed=False, uses=uses)


def loaded(at, uses, *, changed=True):
    return Report(at, "loaded", changed=changed, uses=uses)


def notified(at, uses):
    return Report(at, "notified", changed=False, uses=uses)


APP = frozenset({"web"})


def test_uses_between_a_publication_and_the_load_are_stale():
    reports = [loaded(0, 0), alive(10, 500), notified(12, 600), loaded(12, 600), alive(20, 1000)]
    found = felt("web", reports, [Change("a", APP, 10.0)], 5.0, 20.0)
    assert (found.notifications, found.loads, found.uses, found.missing) == (1, 1, 750, 0)
    assert (found.stale_for, found.stale_uses, found.without_credential) == (2.0, 100, 0.0)


def test_a_revocation_before_the_load_leaves_the_app_without_a_credential():
    reports = [loaded(0, 0), loaded(15, 10), alive(20, 10)]
    found = felt("web", reports, [Change("a", APP, 10.0, revoked_at=12.0)], 5.0, 20.0)
    assert (found.stale_for, found.without_credential) == (5.0, 3.0)


def test_a_revocation_after_the_load_is_not_noticed():
    reports = [loaded(0, 0), loaded(11, 10), alive(20, 10)]
    assert felt("web", reports, [Change("a", APP, 10.0, revoked_at=12.0)], 5.0, 20.0).without_credential == 0.0


def test_what_overlaps_counts_once_and_what_does_not_counts_twice():
    reports = [loaded(0, 0), loaded(14, 10), loaded(18, 10), alive(20, 10)]
    changes = [Change("a", APP, 10.0, 12.0), Change("b", APP, 11.0, 11.0), Change("c", APP, 16.0, 16.0)]
    found = felt("web", reports, changes, 5.0, 20.0)
    assert found.stale_for == pytest.approx(4.0 + 2.0)
    assert found.without_credential == pytest.approx(3.0 + 2.0)


def test_an_app_that_never_loads_the_last_change_is_stale_until_the_end():
    reports = [loaded(0, 0), loaded(11, 10), alive(20, 20)]
    changes = [Change("a", APP, 10.0), Change("b", APP, 15.0, revoked_at=16.0)]
    found = felt("web", reports, changes, 5.0, 20.0)
    assert (found.stale_for, found.without_credential) == (1.0 + 5.0, 4.0)


@pytest.mark.parametrize("apps", [frozenset({"other"}), APP])
def test_an_app_that_does_not_read_or_use_what_changed_notices_nothing(apps):
    reports = [loaded(0, 0), loaded(11, 10, changed=False), alive(20, 20)]
    found = felt("web", reports, [Change("a", apps, 10.0, 10.0)], 5.0, 20.0)
    assert (found.loads, found.stale_for, found.stale_uses, found.without_credential) == (0, 0, 0, 0)


def test_files_that_cannot_be_read_are_counted():
    reports = [loaded(0, 0), Report(7, "missing", changed=False, uses=3)]
    assert felt("web", reports, [], 5.0, 20.0).missing == 1
    assert felt("web", [], [], 5.0, 20.0).uses == 0
