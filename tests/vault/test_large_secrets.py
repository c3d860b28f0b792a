"""The large secrets of one folder have a limit together, and small ones are always read."""

import pytest

from lessee.core.paths import Ref
from lessee.core.secrets import Secret
from lessee.vault.large_secrets import MAX_SIZE, SMALL, LargeSecrets
from lessee.vault.transport import RequestFailedError

QUARTER = Secret({"x": "v" * (MAX_SIZE // 4)})


def ref(name, folder="a"):
    return Ref("secret", f"{folder}/{name}")


@pytest.fixture
def full():
    large = LargeSecrets()
    for number in range(4):
        large.hold(ref(number), QUARTER)
    return large


def test_one_more_large_secret_is_rejected(full):
    with pytest.raises(RequestFailedError, match="the large secrets of its folder have more than 64 MiB; distribute"):
        full.hold(ref("more"), Secret({"x": {"y": ["v" * SMALL, "w"]}}))


def test_small_secrets_and_other_folders_are_read_all_the_same(full):
    full.hold(ref("small"), Secret({"x": "v" * SMALL}))
    full.hold(ref("small", "empty"), Secret({"x": "v" * SMALL}))
    full.hold(ref("large", "other"), QUARTER)


def test_a_new_version_counts_in_place_of_the_last_one(full):
    full.hold(ref(1), QUARTER)
    full.hold(ref(1), Secret({"x": "small"}))
    full.hold(ref("more"), QUARTER)
    with pytest.raises(RequestFailedError):
        full.hold(ref(1), QUARTER)
