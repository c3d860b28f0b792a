"""Users of a rotation are known by their names, whatever characters these have."""

import pytest

from lessee.ops.rotate.policy.broker_users import is_name_of, name_of


@pytest.mark.parametrize("user", ["shop", "a.b", "shop-6f1d2c3b", "?\n"])
def test_a_user_and_those_of_its_rotations_are_its_own(user):
    assert is_name_of(user, user)
    assert is_name_of(name_of(user, "6f1d2c3b4a5e6f70"), user)


@pytest.mark.parametrize("name", ["", "shop-", "shop-6f1d2c3", "shop-6f1d2c3bb", "shop-workers", "shop\n", "axb", None])
def test_another_user_is_not(name):
    assert not is_name_of(name, "shop")
    assert not is_name_of(name, "a.b")
