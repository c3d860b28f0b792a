"""Which targets the command line selects, and what is due for them."""

import pytest

from lessee.config.parsing import parse
from lessee.core.errors import ConfigError, UsageError
from lessee.ops.rotate.policy.journal import Journal, Step
from lessee.ops.rotate.policy.selection import (
    DueOperation,
    check_enterable,
    check_period,
    check_restorable,
    due_operation,
    next_rotation_at,
    select,
)

TEXT = """
environment: production
rotation:
  db: {kind: postgres, secret: database/app, admin_secret: database/admin, roles: [a, b], rotation_period: 1d}
  redis: {kind: vault, secret: cache/redis, keys: {password: {}}}
  queue: {kind: redis, secret: cache/queue, admin_secret: cache/admin, user: queue}
  nightly: {kind: vault, secret: night/ly, keys: {key: {}}, rotation_period: 1d, rotation_windows: ["02:00-04:00"]}
  brave: {kind: manual, secret: keys/brave, keys: [api_key]}
  single: {kind: vault, secret: alone, keys: {key: {}}}
"""
ROTATION = parse(TEXT, source="lessee.yaml", environ={}, blocks=("rotation",)).rotation
DAY = 86400.0


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["db"], ("db",)),
        (["cache"], ("redis", "queue")),
        (["redis"], ("redis",)),  # not the queue, whose kind has this name
        (["vault"], ("redis", "nightly", "single")),
        (["alone"], ("single",)),
        (["queue", "db", "cache", "db"], ("db", "redis", "queue")),
    ],
)
def test_a_name_precedes_a_group_and_a_group_a_kind(words, names):
    assert select(words, ROTATION) == names


def test_all_unknown_words_are_reported_with_the_known_ones():
    with pytest.raises(UsageError) as caught:
        select(["db", "no", "none"], ROTATION)
    assert str(caught.value) == (
        "no rotation target, group or kind is called 'no', 'none'; targets: db, redis, queue, nightly, brave, "
        "single; groups: database, cache, night, keys, alone; kinds: postgres, vault, redis, manual"
    )
    with pytest.raises(UsageError, match="targets: none; groups: none"):
        select(["db"], {})


@pytest.mark.parametrize(
    ("name", "journal", "now", "operation"),
    [
        ("db", Journal(), 5.0, DueOperation.ROTATE),
        ("db", Journal(rotated_at=10.0), 10.0 + DAY, DueOperation.ROTATE),
        ("db", Journal(rotated_at=10.0), 9.0 + DAY, DueOperation.NOTHING),
        ("db", Journal(rotated_at=10.0, step=Step.PUBLISHED), 10.0 + DAY, DueOperation.ROTATE),
        ("db", Journal(rotated_at=10.0, step=Step.PUBLISHED), 20.0, DueOperation.FINISH),
        ("db", Journal(rotated_at=10.0, step=Step.RETAINING, delete_at=30.0), 20.0, DueOperation.NOTHING),
        ("db", Journal(rotated_at=10.0, step=Step.RETAINING, delete_at=30.0), 30.0, DueOperation.FINISH),
        ("single", Journal(), 5.0, DueOperation.NOTHING),
        ("single", Journal(step=Step.CREATED), 5.0, DueOperation.FINISH),
    ],
)
def test_due_targets_are_rotated_and_open_ones_finished(name, journal, now, operation):
    assert due_operation(ROTATION[name], journal, now) is operation


def test_the_next_rotation_is_computed_from_the_last():
    assert next_rotation_at(ROTATION["db"], Journal(rotated_at=5.0), 7.0) == 5.0 + DAY
    assert next_rotation_at(ROTATION["db"], Journal(rotated_at=5.0), 3 * DAY) == 3 * DAY
    assert next_rotation_at(ROTATION["db"], Journal(), 7.0) == 7.0
    assert next_rotation_at(ROTATION["single"], Journal(), 7.0) is None


def test_overdue_and_new_targets_wait_for_their_window():
    for journal in (Journal(), Journal(rotated_at=5.0)):
        assert next_rotation_at(ROTATION["nightly"], journal, 10 * DAY + 60) == 10 * DAY + 2 * 3600
        assert due_operation(ROTATION["nightly"], journal, 10 * DAY + 60) is DueOperation.NOTHING
        assert due_operation(ROTATION["nightly"], journal, 10 * DAY + 3 * 3600) is DueOperation.ROTATE


def test_a_period_shorter_than_the_last_rotations_is_rejected():
    check_period("db", ROTATION["db"], Journal(propagation_times=(1.0, *(DAY,) * 3)))
    check_period("db", ROTATION["db"], Journal(propagation_times=(DAY + 1, DAY + 2)))
    check_period("single", ROTATION["single"], Journal(propagation_times=(DAY,) * 3))
    with pytest.raises(ConfigError, match=r"rotation\.db: .* took at least 86401\.0 s .* with --force"):
        check_period("db", ROTATION["db"], Journal(propagation_times=(1.0, *(DAY + 1,) * 3)))


def test_only_values_of_manual_targets_can_be_entered():
    check_enterable(["brave"], ROTATION)
    with pytest.raises(UsageError, match="--enter is for targets of the kind manual, and lessee creates the credentia"):
        check_enterable(["brave", "db", "redis"], ROTATION)


def test_an_earlier_credential_can_be_set_again_where_lessee_makes_the_values():
    for name in ("db", "redis", "queue"):
        check_restorable([name], ROTATION)
    with pytest.raises(UsageError, match="--to-version is for one target; lessee rotate NAME"):
        check_restorable(["db", "queue"], ROTATION)
    with pytest.raises(UsageError, match="the earlier credential of brave cannot be set again"):
        check_restorable(["brave"], ROTATION)
    keys = "t: {kind: vault, secret: a, keys: {jwt: {previous_key: old}}}, u: {kind: vault, secret: b, approle: r}"
    others = parse(
        f"environment: e\nrotation: {{{keys}}}", source="lessee.yaml", environ={}, blocks=("rotation",)
    ).rotation
    for name in others:
        with pytest.raises(UsageError, match="cannot be set again; rotate it to a new one"):
            check_restorable([name], others)
