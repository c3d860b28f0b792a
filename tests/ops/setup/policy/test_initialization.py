"""The request that initializes a server, and the files from its answer."""

import pytest

from lessee.core.errors import UsageError
from lessee.ops.setup.policy.initialization import (
    InitOptions,
    Seal,
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


def test_the_seal_status_is_parsed_and_an_unknown_status_means_sealed():
    status = {"initialized": True, "sealed": False, "recovery_seal": True, "t": 3, "progress": 2}
    assert seal_of(status) == Seal(initialized=True, sealed=False, automatic=True, threshold=3, progress=2)
    assert seal_of({}) == SHAMIR


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (InitOptions(3, 4), "a threshold of 4 with 3 key shares"),
        (InitOptions(0, 0), "threshold of 0 with 0"),
        (InitOptions(256, 3), "threshold of 3 with 256"),
        (InitOptions(2, 1), "each of several keys unseals the server alone"),
        (InitOptions(3, 2, ("x",)), "1 PGP keys for 3 key shares"),
    ],
)
def test_options_that_vault_would_reject_are_rejected_first(options, words):
    with pytest.raises(UsageError, match=words):
        check(options)


@pytest.mark.parametrize(
    "options", [InitOptions(1, 1), InitOptions(5, 3), InitOptions(255, 255), InitOptions(2, 2, ("x", "y"))]
)
def test_valid_options_are_accepted(options):
    check(options)


def test_a_shamir_seal_gives_unseal_keys_and_auto_unseal_gives_recovery_keys():
    options = InitOptions(3, 2)
    assert request(options, SHAMIR) == {"secret_shares": 3, "secret_threshold": 2}
    assert request(options, AUTOMATIC) == {"recovery_shares": 3, "recovery_threshold": 2}
    files = {"unseal-key-1": "a", "unseal-key-2": "b", "unseal-key-3": "c", "root-token": "root"}
    assert contents(options, SHAMIR, ANSWER) == files
    assert names(options, SHAMIR) == tuple(files)
    files = {"recovery-key-1": "a", "recovery-key-2": "b", "recovery-key-3": "c", "root-token": "root"}
    assert contents(options, AUTOMATIC, RECOVERY) == files
    assert names(options, AUTOMATIC) == tuple(files)


def test_only_readable_unseal_keys_are_used():
    assert unseal_keys(InitOptions(3, 2), SHAMIR, ANSWER) == ("a", "b")
    assert unseal_keys(InitOptions(3, 2), AUTOMATIC, RECOVERY) == ()
    assert unseal_keys(InitOptions(3, 2, ("x", "y", "z")), SHAMIR, ANSWER) == ()


def test_encrypted_files_end_with_pgp():
    options = InitOptions(3, 2, ("x", "y", "z"), "w")
    body = {"secret_shares": 3, "secret_threshold": 2, "pgp_keys": ["x", "y", "z"], "root_token_pgp_key": "w"}
    assert request(options, SHAMIR) == body
    assert request(options, AUTOMATIC)["recovery_pgp_keys"] == ["x", "y", "z"]
    assert set(contents(options, SHAMIR, ANSWER)) == set(names(options, SHAMIR))
    assert names(options, AUTOMATIC)[2:] == ("recovery-key-3.pgp", "root-token.pgp")


def test_an_incomplete_answer_is_saved_as_far_as_it_goes():
    assert contents(InitOptions(3, 2), SHAMIR, {"keys_base64": ["a"]}) == {"unseal-key-1": "a", "root-token": ""}
    assert contents(InitOptions(1, 1), SHAMIR, {"root_token": "root"}) == {"root-token": "root"}
