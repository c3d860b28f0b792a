"""What a new server is asked for, and what its answer becomes."""

import pytest

from lessee.core.errors import UsageError
from lessee.ops.setup.policy.initialization import Seal, Wish, check, contents, names, request, seal_of, unseal_keys

SHAMIR = Seal(initialised=False, sealed=True, automatic=False, threshold=0)
AUTOMATIC = Seal(initialised=False, sealed=True, automatic=True, threshold=0)
ANSWER = {"keys_base64": ["a", "b", "c"], "root_token": "root", "keys": ["1", "2", "3"]}
RECOVERY = {"recovery_keys_base64": ["a", "b", "c"], "root_token": "root", "keys_base64": []}


def test_a_seal_is_what_the_server_says_and_closed_in_doubt():
    said = {"initialized": True, "sealed": False, "recovery_seal": True, "t": 3, "progress": 2}
    assert seal_of(said) == Seal(initialised=True, sealed=False, automatic=True, threshold=3, progress=2)
    assert seal_of({}) == SHAMIR


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (Wish(3, 4), "4 of 3 keys cannot be"),
        (Wish(0, 0), "0 of 0"),
        (Wish(256, 3), "3 of 256"),
        (Wish(2, 1), "each of several keys opens it alone"),
        (Wish(3, 2, ("x",)), "there are 1 for 3 shares"),
    ],
)
def test_what_a_server_would_refuse_is_refused_before(wish, words):
    with pytest.raises(UsageError, match=words):
        check(wish)


@pytest.mark.parametrize("wish", [Wish(1, 1), Wish(5, 3), Wish(255, 255), Wish(2, 2, ("x", "y"))])
def test_what_can_be_is_not_refused(wish):
    check(wish)


def test_a_sealed_server_gives_keys_and_one_that_unseals_itself_recovery_keys():
    wish = Wish(3, 2)
    assert request(wish, SHAMIR) == {"secret_shares": 3, "secret_threshold": 2}
    assert request(wish, AUTOMATIC) == {"recovery_shares": 3, "recovery_threshold": 2}
    files = {"unseal-key-1": "a", "unseal-key-2": "b", "unseal-key-3": "c", "root-token": "root"}
    assert contents(wish, SHAMIR, ANSWER) == files
    assert names(wish, SHAMIR) == tuple(files)
    files = {"recovery-key-1": "a", "recovery-key-2": "b", "recovery-key-3": "c", "root-token": "root"}
    assert contents(wish, AUTOMATIC, RECOVERY) == files
    assert names(wish, AUTOMATIC) == tuple(files)


def test_only_keys_that_can_be_read_here_open_it():
    assert unseal_keys(Wish(3, 2), SHAMIR, ANSWER) == ("a", "b")
    assert unseal_keys(Wish(3, 2), AUTOMATIC, RECOVERY) == ()
    assert unseal_keys(Wish(3, 2, ("x", "y", "z")), SHAMIR, ANSWER) == ()


def test_what_is_encrypted_is_called_so():
    wish = Wish(3, 2, ("x", "y", "z"), "w")
    asked = {"secret_shares": 3, "secret_threshold": 2, "pgp_keys": ["x", "y", "z"], "root_token_pgp_key": "w"}
    assert request(wish, SHAMIR) == asked
    assert request(wish, AUTOMATIC)["recovery_pgp_keys"] == ["x", "y", "z"]
    assert set(contents(wish, SHAMIR, ANSWER)) == set(names(wish, SHAMIR))
    assert names(wish, AUTOMATIC)[2:] == ("recovery-key-3.pgp", "root-token.pgp")


def test_whatever_of_the_only_answer_is_there_is_kept():
    assert contents(Wish(3, 2), SHAMIR, {"keys_base64": ["a"]}) == {"unseal-key-1": "a", "root-token": ""}
    assert contents(Wish(1, 1), SHAMIR, {"root_token": "root"}) == {"root-token": "root"}
