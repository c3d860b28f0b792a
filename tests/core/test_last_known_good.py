"""What was kept serves its own app, in its own environment, for as long as it is good."""

import pytest

from lessee.core.errors import LesseeError
from lessee.core.last_known_good import AHEAD, Label, pack, refuse_label, unpack
from lessee.core.paths import Dynamic, Folder, Ref
from lessee.core.secrets import Secret, VersionMetadata

DAY = 86400.0
NOW = 1_800_000_000.0
DB, FOLDER = Ref("secret", "p/db"), Folder("secret", "p/keys/")
LEASE = Dynamic("database/creds/web")
CERTIFICATE = Dynamic("pki/issue/web", (("alt", True), ("common_name", "x"), ("n", 3)), "POST", certificate=True)
LABEL = Label("web", "production", NOW)
DATA = {"password": "canary", "number": 1, "big": 2**63, "yes": True, "none": None, "list": [1.5, {"a": "ü"}]}


def kept():
    return pack(
        {DB: Secret(DATA, VersionMetadata(3, "then"))},
        {FOLDER: {"a": Secret({"key": "k"}), "b": Secret({})}},
        {LEASE: Secret({"username": "u"}), CERTIFICATE: Secret({"private_key": "k"})},
        {LEASE: NOW + 60.0},
    )


def test_what_is_kept_comes_back_as_it_was():
    needs = frozenset({DB, FOLDER, LEASE, CERTIFICATE})
    served = unpack(kept(), needs, NOW)
    assert repr(served.secrets[DB].data) == repr(DATA)
    assert {name: one.data for name, one in served.folders[FOLDER].items()} == {"a": {"key": "k"}, "b": {}}
    assert served.dynamic[LEASE].data == {"username": "u"}
    assert served.dynamic[CERTIFICATE].data == {"private_key": "k"}
    assert "canary" not in repr(served)


def test_only_what_is_needed_counts():
    served = unpack(kept(), frozenset({DB}), NOW + DAY)
    assert (set(served.secrets), served.folders, served.dynamic) == ({DB}, {}, {})


def test_what_has_ended_does_not_serve():
    with pytest.raises(LesseeError, match="has ended: database/creds/web"):
        unpack(kept(), frozenset({LEASE, DB}), NOW + 60.0)
    unpack(kept(), frozenset({LEASE}), NOW + 59.0)


def test_what_was_not_kept_is_told_by_name():
    needs = frozenset({DB, Ref("secret", "p/other"), Folder("secret", "p/f/")})
    with pytest.raises(LesseeError, match="read what was not kept: secret/p/f/, secret/p/other"):
        unpack(kept(), needs, NOW)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"secrets":[["a"]],"folders":[],"issued":[]}'])
def test_what_is_no_such_thing_is_told(content):
    with pytest.raises(LesseeError, match="what is kept in it is not lessee's"):
        unpack(content, frozenset(), NOW)


@pytest.mark.parametrize(
    ("app", "environment", "max_age", "now", "why"),
    [
        ("other", "production", None, NOW, "it is of app web in production"),
        ("web", "testing", None, NOW, "it is of app web in production"),
        ("web", "production", DAY, NOW + DAY + 1, "it is 24 hours old"),
        ("web", "production", DAY, NOW + 10 * DAY, "it is 10 days old"),
        ("web", "production", DAY, NOW - AHEAD - 1, "later than this machine's clock says"),
    ],
)
def test_anothers_and_what_is_too_old_are_refused(app, environment, max_age, now, why):
    with pytest.raises(LesseeError, match=why):
        refuse_label(LABEL, app, environment, max_age, now)


@pytest.mark.parametrize(
    ("max_age", "now"), [(None, NOW + 99 * DAY), (None, 0.0), (DAY, NOW + DAY), (DAY, NOW - AHEAD)]
)
def test_its_own_is_taken(max_age, now):
    refuse_label(LABEL, "web", "production", max_age, now)


def test_of_what_another_version_kept_nothing_is_believed():
    with pytest.raises(LesseeError, match="another version"):
        refuse_label(Label("web", "production", NOW, format=2), "web", "production", None, NOW)


def test_of_no_environment_it_says_so():
    with pytest.raises(LesseeError, match="of app web in no environment"):
        refuse_label(Label("web", "", NOW), "web", "production", None, NOW)
