"""What a new server is asked for, and what its answer becomes."""

import pytest

from lessee.core.errors import UsageError
from lessee.ops.setup.policy.initialization import (
    Seal,
    InitOptions,
    check,
    contents,
    names,
    request,
    seal_of,
    unseal_keys,
)

SHAMIR = Seal(initialized=False, sealed=True, automatic=False, threshold=0)
AUTOMATIC = Seal(initialized=False, sealed=True, automatic=True, threshold=0)
ANSWER = {"keys_base64": ["a", "b", "c"], "root_token": "root", "keys": ["1", "2", "3"]}
RECOVERY = {"recovery_keys_base64": ["a", "b", "c"], "root_token": "root", "keys_base64": []}


def test_a_seal_is_what_the_server_says_and_closed_in_doubt():
    said = {"initialized": True, "sealed": False, "recovery_seal": True, "t": 3, "progress": 2}
    assert seal_of(said) == Seal(initialized=True, sealed=False, automatic=True, threshold=3, progress=2)
    assert seal_of({}) == SHAMIR


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (InitOptions(3, 4), "4 of 3 keys cannot be"),
        (InitOptions(0, 0), "0 of 0"),
        (InitOptions(256, 3), "3 of 256"),
        (InitOptions(2, 1), "each of several keys opens it alone"),
        (InitOptions(3, 2, ("x",)), "there are 1 for 3 shares"),
    ],
)
def test_what_a_server_would_refuse_is_refused_before(options, words):
    with pytest.raises(UsageError, match=words):
        check(options)


@pytest.mark.parametrize(
    "options", [InitOptions(1, 1), InitOptions(5, 3), InitOptions(255, 255), InitOptions(2, 2, ("x", "y"))]
)
def test_what_can_be_is_not_refused(options):
    check(options)


def test_a_sealed_server_gives_keys_and_one_that_unseals_itself_recovery_keys():
    options = InitOptions(3, 2)
    assert request(options, SHAMIR) == {"secret_shares": 3, "secret_threshold": 2}
    assert request(options, AUTOMATIC) == {"recovery_shares": 3, "recovery_threshold": 2}
    files = {"unseal-key-1": "a", "unseal-key-2": "b", "unseal-key-3": "c", "root-token": "root"}
    assert contents(options, SHAMIR, ANSWER) == files
    assert names(options, SHAMIR) == tuple(files)
    files = {"recovery-key-1": "a", "recovery-key-2": "b", "recovery-key-3": "c", "root-token": "root"}
    assert contents(options, AUTOMATIC, RECOVERY) == files
    assert names(options, AUTOMATIC) == tuple(files)


def test_only_keys_that_can_be_read_here_open_it():
    assert unseal_keys(InitOptions(3, 2), SHAMIR, ANSWER) == ("a", "b")
    assert unseal_keys(InitOptions(3, 2), AUTOMATIC, RECOVERY) == ()
    assert unseal_keys(InitOptions(3, 2, ("x", "y", "z")), SHAMIR, ANSWER) == ()


def test_what_is_encrypted_is_called_so():
    options = InitOptions(3, 2, ("x", "y", "z"), "w")
    asked = {"secret_shares": 3, "secret_threshold": 2, "pgp_keys": ["x", "y", "z"], "root_token_pgp_key": "w"}
    assert request(options, SHAMIR) == asked
    assert request(options, AUTOMATIC)["recovery_pgp_keys"] == ["x", "y", "z"]
    assert set(contents(options, SHAMIR, ANSWER)) == set(names(options, SHAMIR))
    assert names(options, AUTOMATIC)[2:] == ("recovery-key-3.pgp", "root-token.pgp")


def test_whatever_of_the_only_answer_is_there_is_kept():
    assert contents(InitOptions(3, 2), SHAMIR, {"keys_base64": ["a"]}) == {"unseal-key-1": "a", "root-token": ""}
    assert contents(InitOptions(1, 1), SHAMIR, {"root_token": "root"}) == {"root-token": "root"}
