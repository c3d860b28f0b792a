"""docs/reference/logins.md names every auth method, its keys, and the servers on which tests here use it."""

import re
from typing import get_args

import pytest

from lessee.config.grammar.vault import Auth
from support.paths import ROOT

PAGE = (ROOT / "docs/reference/logins.md").read_text()
ROWS = {
    method: (keys, tested)
    for method, keys, tested in re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", PAGE, re.MULTILINE)
}
TESTS = {
    "OpenBao 2.7": ("test_login", "test_logins_by_file", "test_logins_by_certificate", "test_device_login"),
    "OpenBao 2.6": ("test_directory_logins",),
    "a stand-in": ("test_cloud_logins",),
}
NOT_IN_THE_TABLE = {"mount", "audience", "wrapped", "secret_id_response_wrapping_path"}
NOT_IN_THE_TABLE |= {"remove_secret_id_file_after_reading", "jwt_from", "jwt_variable"}


@pytest.mark.parametrize("block", get_args(Auth), ids=lambda block: block.__struct_config__.tag)
def test_the_page_names_each_method_with_its_keys(block):
    keys = ROWS[block.__struct_config__.tag][0]
    for name in set(block.__struct_fields__) - NOT_IN_THE_TABLE:
        assert f"`{name}`" in keys, name


def test_the_page_names_no_other_method():
    assert sorted(ROWS) == sorted(block.__struct_config__.tag for block in get_args(Auth))


@pytest.mark.parametrize("method", ROWS)
def test_a_test_logs_in_by_the_method_on_the_server_that_the_page_names(method):
    [files] = [files for server, files in TESTS.items() if ROWS[method][1].startswith(server)]
    assert any(re.search(rf"\b{method}\b", (ROOT / f"tests/vault/{file}.py").read_text()) for file in files)


def test_the_page_counts_the_methods_that_no_real_server_has_accepted():
    tested = [tested for _, tested in ROWS.values()]
    assert (len(tested) - tested.count("a stand-in"), tested.count("a stand-in")) == (10, 6)
    assert "OpenBao does not have the last six methods" in PAGE
