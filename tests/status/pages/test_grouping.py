"""A page of any number of rows is short: long tables are grouped, and a filter or a link selects rows of them."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.status.pages.components import cell, table
from lessee.status.pages.grouping import (
    MAX_GROUPS,
    MAX_LISTED,
    MAX_LISTED_ALONE,
    MAX_UNGROUPED,
    SHORT_PAGE,
    Selection,
    layouts,
)
from lessee.status.pages.page import render_page
from lessee.status.pages.views import whole_view
from support.models.statuses import NOW, PAST, agent, app, monitor, rotator, target

EVERYTHING = Selection()


def rows(number, tone="", state="up"):
    return [(cell(f"one {index}", tone), cell(state)) for index in range(number)]


def made(key, found, **settings):
    return table(key, key.title(), ("Name", "State"), found, "No thing is known.", **settings)


def layout(found, selection=EVERYTHING, **settings):
    [one] = layouts([made("things", found, **settings)], selection)
    return one


def alerts(number, rule="denials", *, firing=True):
    return [
        {
            "rule": rule, "subject": f"client {index} of {rule}", "text": f"denied <{index}>", "severity": "critical",
            "started_at": PAST, "firing": firing, "notified": None,
        }
        for index in range(number)
    ]  # fmt: skip


def page(status, text="", group=""):
    return render_page(whole_view(status, NOW), style="", script="", selection=Selection.of(text, group))


class Reader(HTMLParser):
    """The ids, the links, and the texts of the summaries, with the number of table rows in each `details`."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.summaries, self.rows, self.open = [], [], [], 0, []
        self._in_summary = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes["href"]] if tag == "a" else []
        self.rows += tag == "tr"
        if tag == "summary":
            self.summaries.append("")
            self._in_summary = True
        if tag == "details" and "open" in attributes:
            self.open.append(attributes["id"])

    def handle_endtag(self, tag):
        if tag == "summary":
            self._in_summary = False

    def handle_data(self, data):
        if self._in_summary:
            self.summaries[-1] += data


def test_a_table_of_few_rows_is_not_grouped():
    few = layout(rows(MAX_UNGROUPED))
    assert (few.is_grouped, few.groups, few.count) == (False, (), MAX_UNGROUPED)
    assert layout(rows(MAX_UNGROUPED + 1)).is_grouped


def test_on_a_long_page_tables_of_some_rows_are_grouped_too():
    found = list(layouts([made(f"t{size}", rows(size)) for size in (9, 8, 4)], EVERYTHING))
    assert [one.is_grouped for one in found] == [True, True, False]
    assert sum(one.count for one in found) > SHORT_PAGE
    found = list(layouts([made(f"t{size}", rows(size)) for size in (9, 7, 4)], EVERYTHING))
    assert [one.is_grouped for one in found] == [False] * 3
    found = list(layouts([made(f"t{size}", rows(size)) for size in (100, 2, 1)], EVERYTHING))
    assert [one.is_grouped for one in found] == [True, True, False]


def test_groups_are_named_by_a_column_and_the_worst_is_first():
    found = [*rows(5, state="up"), *rows(4, "bad", "down"), *rows(3, "warn", "late")]
    groups = layout(found, group_by=1, tally=1).groups
    assert [(one.key, one.label, one.tone, one.tallies) for one in groups] == [
        ("things-down", "down", "bad", "4 down"),
        ("things-late", "late", "warn", "3 late"),
        ("things-up", "up", "", "5 up"),
    ]


def test_without_such_a_column_rows_with_a_problem_are_a_group():
    groups = layout([*rows(20), *rows(2, "bad")]).groups
    assert [(one.label, one.tallies, len(one.rows), one.omitted) for one in groups] == [
        ("With problems", "2", 2, 0),
        ("Without problems", "20", MAX_LISTED, 20 - MAX_LISTED),
    ]


def test_a_group_counts_the_most_common_texts_of_a_column():
    found = [row for index in range(5) for row in rows(5 - index, state=f"s{index}")]
    [group] = layout([(row[1], cell("g"), row[0]) for row in found], group_by=1, tally=0).groups
    assert group.tallies == "5 s0, 4 s1, 3 s2, 3 others"


def test_a_group_lists_its_worst_rows_first():
    [group] = layout(
        [(cell(str(index), "bad" if index > 95 else ""), cell("x")) for index in range(100)], group_by=1
    ).groups
    assert [one[0].text for one in group.rows[:5]] == ["96", "97", "98", "99", "0"]


def test_labels_with_the_same_letters_have_keys_of_their_own():
    found = [(cell(f"{index}"), cell(label)) for index, label in enumerate(["a b", "a-b", "A?b", "–"] * 4)]  # noqa: RUF001
    keys = [one.key for one in layout(found, group_by=1).groups]
    assert sorted(keys) == ["things-a-b", "things-a-b-2", "things-a-b-3", "things-other"]


@pytest.mark.no_cover
@pytest.mark.parametrize("rules", [["title"], ["x", "x title", "x-title-title"], ["title", "title-2", "2"]])
def test_no_id_is_there_twice_whatever_a_group_is_called(rules):
    """HTML: an id is unique in its document. A link, a label and a heading would mean another element."""
    status = monitor(alerts=[alert for rule in rules for alert in alerts(30, rule)])
    ids = Reader(page(status)).ids
    assert [one for one in ids if ids.count(one) > 1] == []
    assert len([one for one in ids if one.startswith("group-alerts-")]) == len(rules)


def test_a_selected_group_is_open_alone_and_whole():
    found = [*rows(300, state="up"), *rows(50, "bad", "down")]
    [group] = layout(found, Selection(group="things-up"), group_by=1).groups
    assert (group.label, len(group.rows), group.omitted, group.is_open) == ("up", 300, 0, True)
    # Another table's groups are as without a selection.
    assert [one.is_open for one in layout(found, Selection(group="others-up"), group_by=1).groups] == [False, False]
    gone = layout(found, Selection(group="things-gone"), group_by=1)
    assert (gone.is_grouped, gone.groups) == (True, ())


def test_what_a_filter_leaves_is_open_if_it_is_little():
    [group] = layout(rows(15), Selection("one"), group_by=1).groups
    assert (group.is_open, len(group.rows)) == (True, 15)
    [group] = layout(rows(MAX_LISTED_ALONE + 1), Selection("one"), group_by=1).groups
    assert (group.is_open, group.omitted) == (False, 1)


def test_a_selection_is_bounded_and_printable():
    selection = Selection.of("A\n" + "b " * 1000, "x" * 1000)
    assert len(selection.words) == 10
    assert (selection.words[0], len(selection.text), len(selection.group)) == ("a", 200, 200)
    assert Selection.of("", "").words == ()


@pytest.mark.parametrize("number", [1, 100])
def test_a_filter_finds_each_row_by_any_of_its_words_in_any_case(number):
    status = monitor(alerts=alerts(number) + alerts(number, "reads"))
    found = page(status, "CLIENT denials 0")
    assert "client 0 of denials" in found
    assert "of reads" not in found
    assert "row match" in found
    whole = page(status, "denied nothing")
    assert "No row matches.</p>" in whole
    assert '0 rows match “denied nothing”. <a href="?">Remove the filter</a>' in whole


def test_one_match_is_announced():
    found = page(monitor(alerts=alerts(30)), "17 denials")
    assert 'role="status">30 alerts. No problems. 1 row matches.</p>' in found
    assert '<span class="count">1</span>' in found


def test_each_row_of_a_group_has_a_link_that_finds_it_alone():
    status = monitor(alerts=alerts(40) + alerts(40, "reads"))
    links = [link for link in Reader(page(status)).links if link.startswith("?q=")]
    assert len(links) == 2 * MAX_LISTED
    assert links[0] == "?q=denials+client+0+of+denials#alerts"
    assert 'href="?group=alerts-denials#alerts-denials">list all</a>' in page(status)


def test_a_group_on_its_own_page_has_all_rows_and_a_way_back():
    text = page(monitor(alerts=alerts(100) + alerts(40, "reads")), group="alerts-denials")
    read = Reader(text)
    assert read.open == ["group-alerts-denials"]
    assert read.rows == 101
    assert '<a href="?">List all groups</a>' in text
    assert "This group has no row now." in page(monitor(alerts=alerts(100)), group="alerts-gone")


@pytest.mark.no_cover
def test_more_groups_than_a_page_lists_are_in_a_group_of_groups():
    status = monitor(alerts=[one for index in range(40) for one in alerts(25, f"rule-{index}")])
    read = Reader(page(status))
    assert len([one for one in read.ids if one.startswith("group-")]) == 40
    assert f"{40 - MAX_GROUPS} more groups {(40 - MAX_GROUPS) * 25}" in read.summaries
    assert read.summaries[0] == "✕ rule-0 25 firing"
    assert len(read.ids) == len(set(read.ids))


def test_many_problems_are_collapsed_after_the_first_ones():
    text = page(monitor(problems=[f"problem {index}" for index in range(300)]))
    assert "295 more" in text
    assert text.count("<li>problem") == 205


def test_the_tables_of_an_agent_and_a_rotator_are_grouped_too():
    many = agent({f"app-{index}": app() for index in range(50)})
    assert "ready 50" in Reader(page(many)).summaries
    assert "group-apps-ready" in Reader(page(many)).ids
    assert "group-secrets-app-7" in Reader(page(many)).ids
    failing = target(consecutive_failures=2, last_failed_at=PAST, error="refused")
    text = page(rotator({f"t{index}": target() for index in range(30)} | {"bad": failing}))
    assert Reader(text).summaries == ["✕ With problems 1", "Without problems 30"]


@pytest.mark.no_cover
@given(st.lists(st.sampled_from(["bad", "warn", "", "good", "quiet"]), max_size=60), st.text(max_size=10), st.text())
def test_each_row_is_in_one_group_whatever_the_selection(tones, text, group):
    found = [(cell(str(index), tone), cell(f"g{index % 20}")) for index, tone in enumerate(tones)]
    one = layout(found, Selection.of(text, group), group_by=1)
    assert one.count == len(found)
    if one.is_grouped and not group.startswith("things-"):
        assert sum(len(part.rows) + part.omitted for part in one.groups) == len(found)
    assert len({part.key for part in one.groups}) == len(one.groups)
