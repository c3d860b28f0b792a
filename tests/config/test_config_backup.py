"""What `backup:` comes to."""

import pytest

from lessee.config.parsing import parse
from lessee.core.errors import ConfigError

PUBLIC = "age14wuye0vldldhs0sdarxmjs0cnhkw2z02tdp6slhgq6pflhp385qs24vel7"


def read(text, *blocks, **environ):
    return parse(text, source="lessee.yaml", environ=environ, blocks=blocks).backup


def test_seven_days_and_four_weeks_are_the_default():
    found = read("backup: {directory: /b, s3: {bucket: archives}}", "backup")
    assert (found.directory, found.recipients, found.keep.daily, found.keep.weekly) == ("/b", None, 7, 4)
    assert (found.s3.bucket, found.s3.endpoint, found.s3.prefix, found.s3.region) == ("archives", None, "", "us-east-1")
    assert read("environment: e") is None


def test_its_variables_are_looked_up_by_its_command_alone():
    text = 'backup: {directory: "${DIR}"}\nmonitor: {audit: {file: "${LOG:?}"}}'
    assert read(text, "backup", DIR="/b").directory == "/b"
    assert read(text).directory is None
    with pytest.raises(ConfigError, match="DIR"):
        read('backup: {directory: "${DIR:?}"}', "backup")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("backup: {directory: relative}", "backup.directory: expected an absolute path"),
        ("backup: {s3: {}}", "backup.s3.bucket: missing"),
        ("backup: {s3: {bucket: A}}", "backup.s3.bucket: expected the name of a bucket"),
        ("backup: {s3: {bucket: abc, prefix: 'a b'}}", "backup.s3.prefix: expected the beginning of a key"),
        ("backup: {recipients: [age1nonsense]}", "backup.recipients[0]: expected a public key of age"),
        ("backup: {recipients: []}", "backup.recipients: the list is empty"),
        ("backup: {keep: {daily: 0}}", "backup.keep.daily: expected a whole number above 0"),
    ],
)
def test_what_is_wrong_is_told(text, told):
    with pytest.raises(ConfigError) as caught:
        read(text, "backup")
    assert told in str(caught.value)


def test_a_public_key_is_one_of_age():
    assert read(f"backup: {{recipients: [{PUBLIC}]}}", "backup").recipients == (PUBLIC,)
