"""What `lessee set` writes."""

import pytest

from lessee.core.errors import UsageError
from lessee.ops.edit.policy.edits import changes_of, check_note, edited, new_type, with_note

CANARY = "canary-7a"


def test_one_key_changes_and_the_others_stay():
    fields = {"password": "old", "username": "simba", "port": 5432}
    new = edited(fields, "password", CANARY, where="secret/db", exists=True, create=False)
    assert new == {"password": CANARY, "username": "simba", "port": 5432}
    assert fields["password"] == "old"


@pytest.mark.parametrize(
    ("fields", "exists", "words"),
    [
        ({"password": "x"}, True, "did you mean 'password'"),
        ({"a": "x", "b": "y"}, True, "its keys are a, b"),
        ({}, False, "no such secret"),
    ],
)
def test_what_does_not_exist_needs_create(fields, exists, words):
    with pytest.raises(UsageError, match=words) as caught:
        edited(fields, "pasword", CANARY, where="secret/db", exists=exists, create=False)
    assert CANARY not in str(caught.value)
    assert edited(fields, "pasword", 1, where="secret/db", exists=exists, create=True) == fields | {"pasword": 1}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (5432, "5432", "it was a number before, and is text now"),
        ("5432", 5432, "it was text before, and is a number now"),
        (True, 1, "it was a boolean before, and is a number now"),
        ([], {}, "it was a list before, and is an object now"),
        (1, 1.5, ""),
        ("a", "b", ""),
        (None, 1, ""),
    ],
)
def test_a_new_type_of_the_value_is_said(before, after, words):
    assert new_type(before, after) == words


@pytest.mark.parametrize("note", ["", "two\nlines", "ü" * 257, "\ud800"])
def test_a_note_that_vault_refuses_is_an_error(note):
    with pytest.raises(UsageError, match="the note is"):
        check_note(note)


@pytest.mark.parametrize("note", ["x" * 512, "ü" * 256, "why"])
def test_a_note_of_one_line_is_accepted(note):
    check_note(note)


def test_the_newest_notes_and_all_foreign_keys_are_kept():
    metadata = {"owner": "team-a", "lessee-note-x": "by a person"}
    for version in range(1, 31):
        metadata = with_note(metadata, version, f"note {version}")
    assert metadata == {
        "owner": "team-a",
        "lessee-note-x": "by a person",
        **{f"lessee-note-{number}": f"note {number}" for number in range(11, 31)},
    }


def test_the_changes_are_a_merge_patch():
    before = {"a": "1", "b": "2", "other": "3"}
    assert changes_of(before, {"a": "1", "c": "4", "other": "5"}) == {"b": None, "c": "4", "other": "5"}
