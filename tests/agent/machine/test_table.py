"""A table is a mapping of which every version remains, and that knows what is due."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.agent.machine.session.state import NEVER
from lessee.agent.machine.table import CHUNK, Table, TableKind


def is_even(value):
    return value % 2 == 0


KIND = TableKind(lambda value: value if value < 1000 else NEVER, (is_even,))
KEYS = st.integers(0, 3 * CHUNK)
CHANGES = st.lists(st.tuples(st.sampled_from(["set", "delete", "replace"]), KEYS, st.integers(0, 1200)), max_size=40)


def changed(table, model, changes):
    """A new version of the table and of its model."""
    model, editor = dict(model), table.edit()
    before = dict(model)
    for what, key, value in changes:
        if what == "set":
            editor[key] = model[key] = value
        elif what == "replace":
            model = dict.fromkeys(range(key), value)
            editor.replace_all(model)
        elif key in model:
            del model[key]
            del editor[key]
    assert all(editor.changes[key] == before.get(key) for key in editor.changes)
    assert editor.changes.keys() >= {key for key in {*model, *before} if model.get(key) != before.get(key)}
    return editor.freeze(), model


def check(table, model):
    assert dict(table) == model == dict(table.items())
    assert len(table) == len(model)
    assert sorted(table.values()) == sorted(model.values())
    assert all(key in table and table[key] == table.get(key) == value for key, value in model.items())
    assert table.get(-1) is None
    assert 3 * CHUNK + 1 not in table
    assert table.first_due_at == min((KIND.due_at(value) for value in model.values()), default=NEVER)
    assert list(table.due(500)) == [key for key, value in table.items() if value <= 500]
    assert table.count(is_even) == sum(map(is_even, model.values()))
    assert table.in_order([*model, -1]) == list(table)


@pytest.mark.long
@given(st.lists(st.tuples(st.integers(0, 20), CHANGES), max_size=8))
def test_each_version_remains_as_it_was_whatever_becomes_of_the_others(steps):
    versions = [(Table(KIND), {})]
    for number, changes in steps:
        table, model = versions[number % len(versions)]
        versions.append(changed(table, model, changes))
    for table, model in versions:
        check(table, model)


def test_items_are_in_the_order_of_their_insertion():
    editor = Table(KIND).edit()
    for key in (5, 3, 9):
        editor[key] = key
    editor[3] = 0
    assert list(editor) == [5, 3, 9]
    assert editor.in_order({9, 5, 7}) == [5, 9]


def test_nothing_changed_is_the_same_table():
    editor = Table(KIND).edit()
    editor[1] = 1
    table = editor.freeze()
    assert table.edit().freeze() is table


def test_what_is_not_there_cannot_be_read_or_deleted():
    table = Table(KIND)
    with pytest.raises(KeyError):
        table[1]
    editor = table.edit()
    with pytest.raises(KeyError):
        del editor[1]


def test_items_that_come_and_go_leave_nothing_behind():
    table = Table(KIND)
    for key in range(20 * CHUNK):
        editor = table.edit()
        editor[key] = key
        editor.pop(key - 3, None)
        table = editor.freeze()
    assert table.parts.end <= 4 * CHUNK
    assert list(table) == [20 * CHUNK - 3, 20 * CHUNK - 2, 20 * CHUNK - 1]
    assert repr(table) == "Table({1277: 1277, 1278: 1278, 1279: 1279})"


def test_a_change_copies_one_chunk_and_no_other():
    editor = Table(KIND).edit()
    for key in range(10 * CHUNK):
        editor[key] = key
    table = editor.freeze()
    editor = table.edit()
    editor[5 * CHUNK] = 0
    shared = [one is other for one, other in zip(editor.freeze().parts.chunks, table.parts.chunks, strict=True)]
    assert shared == [number != 5 for number in range(10)]


def test_by_default_nothing_is_due():
    editor = Table(TableKind()).edit()
    editor["app"] = 1
    assert editor.first_due_at == NEVER
