"""The block `backup` is read, and each mistake in it is reported."""

import pytest

from lessee.config.parsing import parse
from lessee.core.errors import ConfigError

PUBLIC = "age14wuye0vldldhs0sdarxmjs0cnhkw2z02tdp6slhgq6pflhp385qs24vel7"


def read(text, *blocks, **environ):
    return parse(text, source="lessee.yaml", environ=environ, blocks=blocks).backup


def test_seven_days_and_four_weeks_are_the_default():
    backup = read("backup: {directory: /b, s3: {bucket: archives}}", "backup")
    assert (backup.directory, backup.recipients, backup.keep.daily, backup.keep.weekly) == ("/b", None, 7, 4)
    assert (backup.s3.bucket, backup.s3.endpoint, backup.s3.prefix, backup.s3.region) == (
        "archives",
        None,
        "",
        "us-east-1",
    )
    assert read("environment: e") is None


def test_nothing_younger_than_a_day_is_removed_by_default():
    keep = read("backup: {directory: /b}", "backup").keep
    assert (keep.within, keep.last, keep.hourly) == (86400, 2, 0)
    keep = read("backup: {keep: {within: 0s, last: 5, hourly: 24}}", "backup").keep
    assert (keep.within, keep.last, keep.hourly) == (0, 5, 24)


def test_only_its_command_reads_its_variables():
    text = 'backup: {directory: "${DIR}"}\nmonitor: {audit: {file: "${LOG:?}"}}'
    assert read(text, "backup", DIR="/b").directory == "/b"
    assert read(text).directory is None
    with pytest.raises(ConfigError, match="DIR"):
        read('backup: {directory: "${DIR:?}"}', "backup")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("backup: {directory: relative}", "backup.directory: expected an absolute path"),
        ("backup: {metrics_directory: relative}", "backup.metrics_directory: expected an absolute path"),
        ("backup: {s3: {}}", "backup.s3.bucket: missing"),
        ("backup: {s3: {bucket: A}}", "backup.s3.bucket: expected a bucket name"),
        ("backup: {s3: {bucket: abc, prefix: 'a b'}}", "backup.s3.prefix: expected a key prefix"),
        ("backup: {recipients: [age1nonsense]}", "backup.recipients[0]: expected an age recipient"),
        ("backup: {recipients: []}", "backup.recipients: the list is empty"),
        ("backup: {keep: {daily: 0}}", "backup.keep.daily: expected an integer above 0"),
        ("backup: {keep: {last: 0}}", "backup.keep.last: expected an integer above 0"),
        ("backup: {keep: {hourly: -1}}", "backup.keep.hourly: expected an integer"),
        ("backup: {keep: {within: soon}}", "backup.keep.within: expected a duration"),
    ],
)
def test_each_mistake_is_reported(text, expected):
    with pytest.raises(ConfigError) as caught:
        read(text, "backup")
    assert expected in str(caught.value)


def test_a_recipient_is_an_age_public_key():
    assert read(f"backup: {{recipients: [{PUBLIC}]}}", "backup").recipients == (PUBLIC,)
