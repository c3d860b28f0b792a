"""Adopt's own files: those that a person changed stay, or are named, and nothing of theirs is lost."""

import pytest

from lessee.ops.adopt.files import OwnFiles, digest, own_files, remove_generated
from lessee.ops.adopt.record import Record

NAME = "lessee/lessee.yaml"
MODEL = "lessee/compose.json"


def record(written="one\n", **settings):
    known = {} if written is None else {NAME: digest(written.encode()), MODEL: digest(b"{}")}
    return Record("0" * 8, "shop", "testing", "https://vault", "lessee", generated=known, **settings)


def own(folder, text, of, name=NAME):
    return own_files(folder, {name: text}, of)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "lessee").mkdir()
    (tmp_path / NAME).write_text("one\n")
    return tmp_path


def test_a_file_that_is_not_there_is_written(tmp_path):
    assert own(tmp_path, "one\n", record(None)) == OwnFiles({NAME: "one\n"}, {}, {})
    assert own(tmp_path, "one\n", record()) == OwnFiles({NAME: "one\n"}, {}, {})


def test_what_adopt_wrote_before_is_replaced_and_the_record_has_it(folder):
    assert own(folder, "one\n", record()) == OwnFiles({NAME: "one\n"}, {}, {})
    assert own(folder, "two\n", record()) == OwnFiles({NAME: "two\n"}, {NAME: ("one\n",)}, {})


def test_changes_of_a_person_stay_where_adopt_writes_what_it_wrote(folder):
    (folder / NAME).write_text("one\nmine\n")
    assert own(folder, "one\n", record()) == OwnFiles({}, {}, {})


def test_changes_of_a_person_are_named_with_their_line_where_adopt_would_write_something_else(folder):
    (folder / NAME).write_text("one\nmine\n")
    found = own(folder, "one\ntwo\n", record())
    assert (found.replaced, found.others) == ({}, {NAME: 2})
    assert own(folder, "one\nmine", record()).others == {NAME: 1}  # Only its newline differs.


def test_a_file_that_adopt_never_wrote_is_named(folder):
    assert own(folder, "two\n", record(None)).others == {NAME: 1}
    (folder / MODEL).write_text("[]")
    assert own(folder, "{}", record(None), MODEL).others == {MODEL: 1}
    # Compose, or adopt itself, writes this one again.
    assert own(folder, "{}", record(), MODEL).replaced == {MODEL: ("[]",)}


def test_an_unfinished_run_may_have_written_each_of_its_texts_or_none(folder):
    earlier = {NAME: ("zero\n", "half\n")}
    of = record("two\n", replaced=earlier)
    for text in ("zero\n", "half\n", "two\n"):
        (folder / NAME).write_text(text)
        found = own(folder, "three\n", of)
        assert found.others == {}
        assert found.replaced == {NAME: tuple(dict.fromkeys((*earlier[NAME], text)))}
    # What a person has changed meanwhile may lack what that run was for.
    (folder / NAME).write_text("mine\n")
    assert own(folder, "two\n", of).others == {NAME: 1}


def test_an_undo_removes_what_an_unfinished_run_has_not_replaced(folder):
    assert remove_generated(folder, record("two\n", replaced={NAME: ("one\n",)})) == ()
    assert not (folder / "lessee").exists()


def test_an_undo_leaves_what_a_person_changed(folder):
    assert remove_generated(folder, record("two\n")) == (NAME,)
    assert (folder / NAME).read_text() == "one\n"
