"""Which targets are meant by a word, and which are due."""

import pytest

from lessee.config.parsing import parse
from lessee.core.errors import ConfigError, UsageError
from lessee.ops.rotate.policy.journal import Journal, Step
from lessee.ops.rotate.policy.selection import Wish, meant, next_at, refuse_too_often, wish

TEXT = """
environment: production
rotation:
  db: {kind: postgres, secret: database/app, admin: database/admin, roles: [a, b], every: 1d}
  redis: {kind: vault, secret: cache/redis, keys: {password: {}}}
  queue: {kind: redis, secret: cache/queue, admin: cache/admin}
  nightly: {kind: vault, secret: night/ly, keys: {key: {}}, every: 1d, windows: ["02:00-04:00"]}
  single: {kind: vault, secret: alone, keys: {key: {}}}
"""
ROTATION = parse(TEXT, source="lessee.yaml", environ={}, blocks=("rotation",)).rotation
DAY = 86400.0


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["db"], ("db",)),
        (["cache"], ("redis", "queue")),
        (["redis"], ("redis",)),  # and not the queue, whose kind is so called
        (["vault"], ("redis", "nightly", "single")),
        (["alone"], ("single",)),
        (["queue", "db", "cache", "db"], ("db", "redis", "queue")),
    ],
)
def test_a_name_goes_before_a_group_before_a_kind(words, names):
    assert meant(words, ROTATION) == names


def test_all_unknown_words_are_told_with_what_there_is():
    with pytest.raises(UsageError) as caught:
        meant(["db", "no", "none"], ROTATION)
    assert str(caught.value) == (
        "there is nothing to rotate called 'no', 'none'; targets: db, redis, queue, nightly, single; "
        "groups: database, cache, night, alone; kinds: postgres, vault, redis"
    )
    with pytest.raises(UsageError, match="targets: none; groups: none"):
        meant(["db"], {})


@pytest.mark.parametrize(
    ("name", "journal", "now", "wished"),
    [
        ("db", Journal(), 5.0, Wish.ROTATE),
        ("db", Journal(rotated_at=10.0), 10.0 + DAY, Wish.ROTATE),
        ("db", Journal(rotated_at=10.0), 9.0 + DAY, Wish.NOTHING),
        ("db", Journal(rotated_at=10.0, step=Step.PUBLISHED), 10.0 + DAY, Wish.ROTATE),
        ("db", Journal(rotated_at=10.0, step=Step.PUBLISHED), 20.0, Wish.FINISH),
        ("db", Journal(rotated_at=10.0, step=Step.KEEPING, keep_until=30.0), 20.0, Wish.NOTHING),
        ("db", Journal(rotated_at=10.0, step=Step.KEEPING, keep_until=30.0), 30.0, Wish.FINISH),
        ("single", Journal(), 5.0, Wish.NOTHING),
        ("single", Journal(step=Step.CREATED), 5.0, Wish.FINISH),
    ],
)
def test_what_is_due_is_rotated_and_what_is_open_finished(name, journal, now, wished):
    assert wish(ROTATION[name], journal, now) is wished


def test_when_it_is_due():
    assert next_at(ROTATION["db"], Journal(rotated_at=5.0), 7.0) == 5.0 + DAY
    assert next_at(ROTATION["db"], Journal(rotated_at=5.0), 3 * DAY) == 3 * DAY
    assert next_at(ROTATION["db"], Journal(), 7.0) == 7.0
    assert next_at(ROTATION["single"], Journal(), 7.0) is None


def test_what_is_overdue_or_new_waits_for_its_window():
    for journal in (Journal(), Journal(rotated_at=5.0)):
        assert next_at(ROTATION["nightly"], journal, 10 * DAY + 60) == 10 * DAY + 2 * 3600
        assert wish(ROTATION["nightly"], journal, 10 * DAY + 60) is Wish.NOTHING
        assert wish(ROTATION["nightly"], journal, 10 * DAY + 3 * 3600) is Wish.ROTATE


def test_a_period_shorter_than_the_slowest_rotation_is_refused():
    refuse_too_often("db", ROTATION["db"], Journal(propagations=(1.0, DAY)))
    refuse_too_often("single", ROTATION["single"], Journal(propagations=(DAY,)))
    with pytest.raises(ConfigError, match=r"rotation\.db: .* took 86401\.0 s, .* with --force"):
        refuse_too_often("db", ROTATION["db"], Journal(propagations=(DAY + 1, 1.0)))
