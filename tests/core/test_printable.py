"""What acts on a terminal, or on the order in which a text is read, is spelled out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.printable import counted, spelled_out


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("renewed ttl=3600 für 100 € 🎉", "renewed ttl=3600 für 100 € 🎉"),
        ("\x1b[2J\x1b]0;title\x07", r"\u001b[2J\u001b]0;title\u0007"),
        ("\x9b2J\x7f", r"\u009b2J\u007f"),
        ("\u202eterces\u2066\u2069\u200b\u061c", r"\u202eterces\u2066\u2069\u200b\u061c"),
        ("a\r\nb\tc\u2028", r"a\r\nb\tc\u2028"),
        ("\U000e0041", r"\udb40\udc41"),
    ],
    ids=["printable", "C0", "C1", "direction", "lines", "tag"],
)
def test_only_what_is_not_printable_is_spelled_out(text, spelled):
    assert spelled_out(text) == spelled


def test_what_is_to_be_kept_is_kept():
    assert spelled_out("a\n\tb\r", keep="\n\t") == "a\n\tb\\r"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_json_text_says_the_same_as_before(text):
    spelled = spelled_out(json.dumps(text, ensure_ascii=False))
    assert spelled.isprintable()
    assert json.loads(spelled) == text


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (1, "variable", "1 variable"),
        (0, "variable", "0 variables"),
        (2, "policy", "2 policies"),
        (1, "policy", "1 policy"),
        (3, "key", "3 keys"),
    ],
)
def test_a_noun_has_the_form_of_its_number(number, noun, text):
    assert counted(number, noun) == text
