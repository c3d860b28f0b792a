"""The users as which an app may run follow from the owners of its files."""

import os

import pytest

from lessee.config import NameTarget, Notify
from lessee.notification.app_users import AppUsers, users_of

AGENT, GROUP = os.geteuid(), os.getegid()


@pytest.mark.parametrize(
    ("uid", "owners", "uids", "gids"),
    [
        (None, (), {AGENT}, {GROUP}),
        (None, (None,), {AGENT}, {GROUP}),
        (None, ((64101, 64102),), {64101}, set()),
        (None, ((64101, None), (0, 64103)), {64101, 0}, {64103}),
        (None, ((0, 64103), None), {0, AGENT}, {64103, GROUP}),
        (7, ((64101, 64102),), {7}, set()),
    ],
)
def test_the_owner_or_the_group_of_its_files_is_the_app(uid, owners, uids, gids):
    settings = Notify(
        target=NameTarget("app"),
        action="SIGHUP",
        stop_grace_period=1.0,
        stop_signal="SIGTERM",
        start_period=1.0,
        on_unhandled_signal="report",
        timeout=1.0,
        uid=uid,
        owners=owners,
    )
    assert users_of(settings) == AppUsers(frozenset(uids), frozenset(gids))


def test_a_process_of_another_user_is_named_with_what_to_do():
    users = AppUsers(frozenset({AGENT + 1}), frozenset({GROUP + 1}))
    assert users.objection(os.getpid()) == (
        f"process {os.getpid()} runs as uid {AGENT}, and the app as uid {AGENT + 1} or with gid {GROUP + 1}; "
        f"if it is the app, write `uid: {AGENT}` in `notify`"
    )
    assert not AppUsers(frozenset({AGENT})).objection(os.getpid())
    assert not AppUsers(frozenset(), frozenset({GROUP})).objection(os.getpid())


def test_nothing_is_said_of_a_process_that_has_ended():
    assert not AppUsers(frozenset({AGENT})).objection(4194305)
