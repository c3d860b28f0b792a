"""Timestamps of Vault are parsed, whatever their precision and offset."""

import pytest

from lessee.core.timestamps import parse_timestamp


def test_a_timestamp_of_vault_is_parsed():
    assert parse_timestamp("2026-01-02T03:04:05.123456789Z") == pytest.approx(1767323045.123, abs=0.01)
    assert parse_timestamp("2026-01-02T04:04:05+01:00") == 1767323045


def test_a_text_without_an_offset_is_not_a_timestamp():
    assert parse_timestamp("2026-01-02T03:04:05") is None
    assert parse_timestamp("") is None
