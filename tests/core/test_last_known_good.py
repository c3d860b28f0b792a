"""A snapshot serves its own app in its own environment, while its secrets are valid."""

import pytest

from lessee.core.errors import LesseeError
from lessee.core.last_known_good import MAX_CLOCK_STEP, SnapshotHeader, check_header, decode_snapshot, encode_snapshot
from lessee.core.paths import DynamicSecret, Folder, Ref
from lessee.core.secrets import Secret, VersionMetadata

DAY = 86400.0
NOW = 1_800_000_000.0
DB, FOLDER = Ref("secret", "p/db"), Folder("secret", "p/keys/")
LEASE = DynamicSecret("database/creds/web")
CERTIFICATE = DynamicSecret("pki/issue/web", (("alt", True), ("common_name", "x"), ("n", 3)), "POST", certificate=True)
HEADER = SnapshotHeader("web", "production", NOW)
DATA = {"password": "canary", "number": 1, "big": 2**63, "yes": True, "none": None, "list": [1.5, {"a": "ü"}]}


def snapshot():
    return encode_snapshot(
        {DB: Secret(DATA, VersionMetadata(3, "then"))},
        {FOLDER: {"a": Secret({"key": "k"}), "b": Secret({})}},
        {LEASE: Secret({"username": "u"}), CERTIFICATE: Secret({"private_key": "k"})},
        {LEASE: NOW + 60.0},
    )


def test_a_snapshot_is_decoded_as_it_was_encoded():
    needs = frozenset({DB, FOLDER, LEASE, CERTIFICATE})
    served = decode_snapshot(snapshot(), needs, NOW)
    assert repr(served.secrets[DB].data) == repr(DATA)
    assert {name: secret.data for name, secret in served.folders[FOLDER].items()} == {"a": {"key": "k"}, "b": {}}
    assert served.dynamic[LEASE].data == {"username": "u"}
    assert served.dynamic[CERTIFICATE].data == {"private_key": "k"}
    assert "canary" not in repr(served)


def test_only_needed_secrets_are_decoded():
    served = decode_snapshot(snapshot(), frozenset({DB}), NOW + DAY)
    assert (set(served.secrets), served.folders, served.dynamic) == ({DB}, {}, {})


def test_an_expired_secret_is_an_error():
    with pytest.raises(LesseeError, match="have expired: database/creds/web"):
        decode_snapshot(snapshot(), frozenset({LEASE, DB}), NOW + 60.0)
    decode_snapshot(snapshot(), frozenset({LEASE}), NOW + 59.0)


def test_missing_secrets_are_named():
    needs = frozenset({DB, Ref("secret", "p/other"), Folder("secret", "p/f/")})
    with pytest.raises(LesseeError, match="read secrets that are not in the snapshot: secret/p/f/, secret/p/other"):
        decode_snapshot(snapshot(), needs, NOW)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"secrets":[["a"]],"folders":[],"issued":[]}'])
def test_other_content_is_an_error(content):
    with pytest.raises(LesseeError, match="the file does not contain a snapshot of lessee"):
        decode_snapshot(content, frozenset(), NOW)


@pytest.mark.parametrize(
    ("app", "environment", "max_age", "now", "why"),
    [
        ("other", "production", None, NOW, "the snapshot is of app web in production"),
        ("web", "testing", None, NOW, "the snapshot is of app web in production"),
        ("web", "production", DAY, NOW + DAY + 1, "the snapshot is 24 hours old"),
        ("web", "production", DAY, NOW + 10 * DAY, "the snapshot is 10 days old"),
        ("web", "production", DAY, NOW - MAX_CLOCK_STEP - 1, "later than this machine's clock says"),
    ],
)
def test_a_snapshot_of_another_app_or_too_old_is_rejected(app, environment, max_age, now, why):
    with pytest.raises(LesseeError, match=why):
        check_header(HEADER, app, environment, max_age, now)


@pytest.mark.parametrize(
    ("max_age", "now"), [(None, NOW + 99 * DAY), (None, 0.0), (DAY, NOW + DAY), (DAY, NOW - MAX_CLOCK_STEP)]
)
def test_a_snapshot_of_this_app_is_accepted(max_age, now):
    check_header(HEADER, "web", "production", max_age, now)


def test_the_error_says_that_the_snapshot_has_no_environment():
    with pytest.raises(LesseeError, match="of app web in no environment"):
        check_header(SnapshotHeader("web", "", NOW), "web", "production", None, NOW)
