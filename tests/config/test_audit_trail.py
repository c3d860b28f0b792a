"""The block `audit_trail`."""

import pytest

from lessee.config.parsing import parse
from lessee.core.errors import ConfigError


def read(text):
    return parse(text, source="lessee.yaml", environ={}).audit_trail


def test_without_the_block_there_is_no_audit_trail():
    assert read("environment: testing") is None
    block = read("audit_trail: {directory: /var/log/lessee, key_file: /etc/lessee/trail.key}")
    assert (block.directory, block.key_file, block.required) == ("/var/log/lessee", "/etc/lessee/trail.key", False)


def test_the_key_must_be_outside_of_the_audit_trail():
    with pytest.raises(
        ConfigError, match=r"audit_trail.key_file: the key is in the directory of the audit trail; move it"
    ):
        read("audit_trail: {directory: /var/log/lessee, key_file: /var/log/lessee/key}")
