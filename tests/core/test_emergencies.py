"""The note of an emergency: which logins it has revoked."""

from lessee.core.emergencies import RevokedRole, note_path, revoked_roles, with_roles

FIRST, SECOND = "2026-11-01T10:00:00.000Z", "2026-11-02T10:00:00.000Z"


def test_a_note_has_each_role_with_its_last_emergency():
    note = with_roles({}, {"approle/a": 2, "approle/b": 0}, FIRST)
    note = with_roles(note, {"approle/a": 1}, SECOND)
    found = revoked_roles(note)
    assert found == (RevokedRole("approle/a", 1793613600.0, 1), RevokedRole("approle/b", 1793527200.0, 0))


def test_a_role_without_a_login_since_stays_as_the_emergency_before_left_it():
    note = with_roles(with_roles({}, {"approle/a": 2}, FIRST), {"approle/a": 0}, SECOND)
    assert revoked_roles(note) == (RevokedRole("approle/a", 1793527200.0, 2),)


def test_what_lessee_did_not_write_is_ignored():
    assert revoked_roles({}) == ()
    assert revoked_roles({"roles": ["approle/a"]}) == ()
    assert revoked_roles({"roles": {"approle/a": "x", "approle/b": {"at": "yesterday"}}}) == ()
    assert revoked_roles({"roles": {"approle/a": {"at": FIRST, "logins": True}}})[0].logins == 0
    assert revoked_roles(with_roles({"roles": "x"}, {"approle/a": 1}, FIRST))[0].logins == 1


def test_the_note_is_in_no_environment_s_folder():
    assert note_path("production") == "lessee/emergencies/production"
