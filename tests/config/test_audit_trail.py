"""What `trail:` comes to."""

import pytest

from lessee.config.parsing import parse
from lessee.core.errors import ConfigError


def read(text):
    return parse(text, source="lessee.yaml", environ={}).trail


def test_there_is_no_trail_unless_it_is_said():
    assert read("environment: testing") is None
    found = read("trail: {directory: /var/log/lessee, key_file: /etc/lessee/trail.key}")
    assert (found.directory, found.key_file, found.required) == ("/var/log/lessee", "/etc/lessee/trail.key", False)


def test_the_key_does_not_lie_beside_what_it_signs():
    with pytest.raises(ConfigError, match=r"trail.key_file: it lies in the trail's folder; keep the key"):
        read("trail: {directory: /var/log/lessee, key_file: /var/log/lessee/key}")
