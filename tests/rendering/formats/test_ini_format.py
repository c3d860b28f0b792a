"""The format ini, tested with configparser on real files."""

import configparser
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.formats import ini, outline, write

PIECES = (
    "=",
    ":",
    "#",
    ";",
    "[",
    "]",
    "[x]",
    "%(a)s",
    "${a}",
    "'",
    '"',
    "\\",
    " ",
    "\t",
    "\n",
    "\r",
    "\n ",
    "\n[x]\ny=1\n",
)
MORE = ("DEFAULT", "A", "é", "😀", "Σ", "İ", "\x85", "\u2028", "\xa0", "\x0b", "\x1c", "\x7f", "\ufeff")
any_text = st.characters(exclude_categories=["Cs"])
hostile = st.lists(st.sampled_from(PIECES + MORE) | any_text, max_size=12).map("".join)
AUTHOR = (
    "[s]\n",
    "[t]\r\n",
    "[DEFAULT]\n",
    "a = 1\n",
    "B: ",
    "c=",
    "\n",
    "\r",
    "\n  ",
    " ",
    "# ",
    "; ",
    "x",
    "[",
    "]",
    "=",
)
author = st.lists(st.sampled_from(AUTHOR), max_size=12).map("".join)


def document(*parts):
    """Marked text of strings and of values in lists."""
    return Document(
        "app.ini.j2",
        tuple(part if isinstance(part, str) else Placeholder(part[0], "database/postgres: password") for part in parts),
    )


def read(text, folder):
    path = folder / "app.ini"
    path.write_bytes(text.encode())
    parser = configparser.RawConfigParser()
    parser.read(path, encoding="utf-8")
    return {name: dict(section) for name, section in parser.items() if name != "DEFAULT" or section}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ini")


def fits(text):
    """Whether configparser can represent the value, without quotes and escapes."""
    return text == text.strip() and not re.search("[\n\r\0]", text)


@given(hostile)
@example("")
@example("# no comment")
@example("[section]")
@example("= x")
@example("a\x85b\u2028c\x1cd")
def test_a_value_reads_back_whole_or_is_rejected(folder, value):
    parts = ("[s]\na = ", [value], "\nb: x ", [value], " y\nc =\n  first\n  x", [value], "x\n[t]\na=1\n")
    if not fits(value):
        with pytest.raises(FormatError, match=r"^app\.ini\.j2:2: database/postgres: password (has|contains) "):
            write(document(*parts), "ini")
        return
    expected = {"s": {"a": value, "b": f"x {value} y", "c": f"\nfirst\nx{value}x"}, "t": {"a": "1"}}
    assert read(write(document(*parts), "ini"), folder) == expected


@given(hostile)
@example("default")
@example("DEFAULT")
@example("a b")
def test_a_value_is_one_key_or_rejected(folder, value):
    plain = value and fits(value) and not re.search("[=:]", value) and value[0] not in "#;["
    parts = ("[s]\nfirst = 1\n", [value], " = 2\nlast = 3\n")
    if not plain or value in {"first", "last"}:
        with pytest.raises(FormatError, match=r"^app\.ini\.j2:3: database/postgres: password "):
            write(document(*parts), "ini")
        return
    assert read(write(document(*parts), "ini"), folder) == {"s": {"first": "1", value.lower(): "2", "last": "3"}}


@given(hostile)
@example("x] [y")
def test_a_value_is_one_section_or_rejected(folder, value):
    parts = ("[a]\nx = 1\n[", [value], "]\nx = 2\n")
    if re.search(r"[\n\r\0\]]", value) or value in {"", "a", "DEFAULT"}:
        with pytest.raises(FormatError, match=r"^app\.ini\.j2:3: database/postgres: password "):
            write(document(*parts), "ini")
        return
    assert read(write(document(*parts), "ini"), folder) == {"a": {"x": "1"}, value: {"x": "2"}}


@given(author, hostile, author)
@example("[s]\nΣ", "", "=1")
def test_no_value_changes_the_structure_with_any_text_of_the_author(folder, before, value, after):
    try:
        text = write(document(before, [value], after), "ini")
    except FormatError:
        return
    harmless = read(f"{before}harmless{after}", folder)
    for folded in (value, value.lower()):
        filled = {
            name.replace("harmless", value): {
                key.replace("harmless", folded): inner.replace("harmless", value) for key, inner in section.items()
            }
            for name, section in harmless.items()
        }
        if read(text, folder) == filled:
            return
    pytest.fail("the value changed the structure")


@given(author)
def test_a_file_without_values_stays_byte_for_byte(folder, text):
    try:
        read(text, folder)
    except configparser.Error:
        with pytest.raises(FormatError, match=r"^app\.ini\.j2:\d+: (the text |a section is|a key is)"):
            write(document(text), "ini")
    else:
        assert write(document(text), "ini") == text


@pytest.mark.parametrize(("data", "text"), [(True, "true"), (12, "12"), (1.5, "1.5")])
def test_a_scalar_is_its_text(folder, data, text):
    assert read(write(document("[s]\na = ", [data], "\n"), "ini"), folder) == {"s": {"a": text}}


def test_a_structure_is_rejected():
    with pytest.raises(FormatError, match="is a structure where a string is expected"):
        write(document("[s]\na = ", [{"b": 1}]), "ini")


@pytest.mark.parametrize("value", ["", "# x", ";x", "\t"])
def test_a_value_on_a_continuation_line_must_not_vanish(value):
    with pytest.raises(FormatError, match=r"^app\.ini\.j2:3: database/postgres: password (is empty or|has white)"):
        write(document("[s]\na = x\n  ", [value], "\n  y\n"), "ini")


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        (("a = ", ["canary"]), 1),
        (("[s]\na\nb = ", ["canary"]), 2),
        (("[s]\na = ", ["canary"], "\n[s]\n"), 3),
        (("[s]\na = ", ["canary"], "\n", ["canary"], " = 1\nA = 2"), 4),
    ],
)
def test_a_template_that_is_not_ini_is_rejected_by_line(parts, line):
    with pytest.raises(FormatError) as caught:
        write(document(*parts), "ini")
    assert str(caught.value).startswith(f"app.ini.j2:{line}: ")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "parts",
    [
        ("[s]\na = 1\n", ["A"], " = 2\n"),
        ("[s]\n", ["a"], " = 1\nA = 2\n"),
        ("[DEFAULT]\na = 1\n[s]\n", ["a"], " = 2\n"),
        ("[DEFAULT]\na = 1\n[s]\nb = 1\n[t]\n", ["a"], " = 2\n"),
        ("[s]\na = 1\n[", ["s"], "]\na = 2\n"),
        ("[", ["s"], "]\n[s]\n"),
        ("[", ["DEFAULT"], "]\na = 1\n"),
    ],
)
def test_a_duplicate_name_is_rejected(parts):
    with pytest.raises(FormatError, match="database/postgres: password duplicates a section or a key"):
        write(document(*parts), "ini")


def test_the_error_names_a_byte_order_mark():
    with pytest.raises(FormatError, match=r"^app\.ini\.j2:1: the text begins with a byte order mark; save "):
        write(document("\ufeff[s]\na = 1\n"), "ini")


def test_a_value_names_a_key_that_only_another_section_has():
    text = write(document("[DEFAULT]\na = 1\n[s]\nb = 1\n[t]\n", ["b"], " = 2\n"), "ini")
    assert text == "[DEFAULT]\na = 1\n[s]\nb = 1\n[t]\nb = 2\n"


def test_a_value_after_a_section_is_rejected_since_readers_ignore_it():
    with pytest.raises(FormatError, match=r"^app\.ini\.j2:1: database/postgres: password is where"):
        write(document("[s] ", ["x"], "\na = 1\n"), "ini")


def test_a_value_in_a_comment_stays_in_it():
    text = write(document("# ", ["x = #"], "\n[s]\n  ; ", [1], "\na = 1\n"), "ini")
    assert text == "# x = #\n[s]\n  ; 1\na = 1\n"
    for value in ("canary\n[x]", "canary\r", "canary\0", "canary\x85"):
        with pytest.raises(
            FormatError, match=r"^app\.ini\.j2:2: database/postgres: password (has|contains) "
        ) as caught:
            write(document("[s]\n# ", [value], "\n"), "ini")
        assert "canary" not in str(caught.value)


@pytest.mark.parametrize("text", ["[s]\na = 2\n", "[s]\na = 1\nb = 1\n", "[t]\na = 1\n", "a = 1\n"])
def test_verification_rejects_a_value_that_reads_back_differently(text):
    marked = ini.mark_values(document("[s]\na = 1\n"))
    with pytest.raises(FormatError, match="would parse back to different"):
        ini._verify(text, {"DEFAULT": {}, "s": {"a": "1"}}, marked)


def test_the_outline_of_ini_names_sections_and_keys_alone():
    text = "[s t]\na = x\n  y\nB:\n[u]\na = 1\n"
    assert outline(text, "ini") == ("s t.a", "s t.B", "u.a")
    assert outline(f"[DEFAULT]\nd=1\n{text}", "ini") == ("DEFAULT.d", "s t.a", "s t.B", "s t.d", "u.a", "u.d")


def test_the_outline_of_text_that_is_not_ini_is_rejected_without_a_snippet():
    with pytest.raises(FormatError, match=r"^the text is not INI") as caught:
        outline("canary", "ini")
    assert "canary" not in str(caught.value)


@pytest.mark.no_cover
@given(st.lists(hostile, min_size=1, max_size=4), st.booleans())
@example(["%(a)s", "%%", "%", "%s"], True)
def test_python_reads_each_value_unchanged_where_it_interpolates(values, is_default):
    head = "[DEFAULT]\n" if is_default else "[s]\n"
    parts = [part for n, value in enumerate(values) for part in (f"k{n} = ", [value], "\n")]
    try:
        text = write(document(head, *parts), "ini-interpolation")
    except FormatError:
        assert any(value != value.strip() or re.search("[\n\r\0]", value) for value in values)
        return
    parser = configparser.ConfigParser()
    parser.read_string(text)
    assert [parser["DEFAULT" if is_default else "s"][f"k{n}"] for n in range(len(values))] == values


def test_an_interpolation_of_the_author_stays_and_reads_values_with_percent_signs():
    text = write(document("[s]\nb = %(a)s/100%%\n# 5% ", ["5%"], "\na = ", ["5%"], "\n"), "ini-interpolation")
    assert text == "[s]\nb = %(a)s/100%%\n# 5% 5%\na = 5%%\n"
    parser = configparser.ConfigParser()
    parser.read_string(text)
    assert parser["s"]["b"] == "5%/100%"


def test_names_are_not_interpolated():
    text = write(document("[", ["5%"], "]\n", ["6%"], " = 1\n"), "ini-interpolation")
    parser = configparser.ConfigParser()
    parser.read_string(text)
    assert parser["5%"]["6%"] == "1"
    assert outline(text, "ini-interpolation") == ("5%.6%",)


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        (("[s]\na = 100%\nb = ", ["x"]), "the value of s.a has a % that begins no %(name)s; write %%"),
        (("[s]\na = %(x\nb = ", ["x"]), "the value of s.a has a % that begins no %(name)s; write %%"),
        (("[s]\n", ["k"], " = %", ["(x)s"]), "the value of s.… has a % that begins no %(name)s; write %%"),
        (("[s]\na = %(", ["x"], ")s"), "is inside %(…)s; move it out"),
    ],
)
def test_a_percent_sign_that_configparser_would_refuse_is_an_error(parts, error):
    with pytest.raises(FormatError, match=re.escape(error)):
        write(document(*parts), "ini-interpolation")
