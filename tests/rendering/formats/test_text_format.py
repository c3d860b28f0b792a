"""The common behavior of all formats, and the format text."""

import math
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.formats import FORMATS, outline, write

PLACES = {
    "dotenv": ("A='", "'"),
    "dotenv-node": ("A='", "'"),
    "dotenv-vite": ("A='", "'"),
    "dotenv-compose": ("A='", "'"),
    "dotenv-docker": ("A=", ""),
    "sh": ("A='", "'"),
    "systemd": ("A='", "'"),
    "json": ('["', '"]'),
    "yaml": ("a: '", "'"),
    "toml": ("a = '", "'"),
    "ini": ("a = ", ""),
    "ini-interpolation": ("a = ", ""),
    "properties": ("a = ", ""),
    "xml": ("<a>", "</a>"),
    "nginx": ("a ", ";"),
    "pgpass": ("a:1:b:c:", ""),
    "text": ("a ", ""),
}


def document(*parts):
    return Document(
        "a.j2", tuple(part if isinstance(part, str) else Placeholder(part[0], "db/main: password") for part in parts)
    )


def inside(name, value):
    before, after = PLACES[name]
    begin = "[section]\n\n" if name.startswith("ini") else "\n\n"
    return document(begin, before, [value], after)


@pytest.mark.no_cover
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_format_text_writes_a_value_unchanged(value):
    assert write(document("{", [value], "}\n", [value]), "text") == f"{{{value}}}\n{value}"


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (False, "false"), (-12, "-12"), (1.5, "1.5"), (1e300, "1e+300")]
)
def test_the_format_text_writes_scalars_as_in_json(value, text):
    assert write(document([value]), "text") == text


def test_text_has_no_outline():
    assert outline("a: 1", "text") == ()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("value", "what"),
    [
        (None, "is null"),
        (["canary"], "is a structure where a string is expected"),
        (MappingProxyType({"a": "canary"}), "is a structure where a string is expected"),
        (math.nan, "is NaN or infinite"),
        (-math.inf, "is NaN or infinite"),
        ("canary\ud800", "contains half a surrogate pair, which is invalid UTF-8"),
        pytest.param(10**5000, "is a number that is too long", id="long"),
    ],
)
def test_a_value_without_a_text_form_is_rejected_with_line_and_origin(name, value, what):
    with pytest.raises(FormatError) as caught:
        write(inside(name, value), name)
    assert str(caught.value).startswith(f"a.j2:3: db/main: password {what}; ")
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_structure_in_text_is_an_error_with_a_remedy():
    with pytest.raises(FormatError, match=r"add `\| json`"):
        write(inside("text", {}), "text")


@pytest.mark.parametrize("name", ["json", "yaml"])
def test_an_unpaired_surrogate_is_rejected_as_a_typed_value_too(name):
    for value in ("\ud800", ["\udfff"], Placeholder('"\\ud800"', "db/main: password", structure=True)):
        placeholder = value if isinstance(value, Placeholder) else Placeholder(value, "db/main: password")
        with pytest.raises(FormatError, match=r"^a\.j2:1: db/main: password contains half a surrogate pair"):
            write(Document("a.j2", ("[", placeholder, "]")), name)


@pytest.mark.parametrize("name", FORMATS)
def test_an_unpaired_surrogate_in_the_authors_text_is_rejected(name):
    with pytest.raises(FormatError, match=r"^a\.j2: the text contains half a surrogate pair"):
        write(document("\ud800"), name)


@pytest.mark.no_cover
@pytest.mark.parametrize("name", FORMATS)
def test_a_value_that_looks_like_a_marker_is_only_a_value(name):
    before, after = PLACES[name]
    before = "[section]\n" + before if name.startswith("ini") else before
    plain = write(document(before, "[", ["x"], "|", ["y"], "]", after), name)
    for token in ("lessee0x", "lessee", "0x", "x1x"):
        assert write(document(before, "[", [token], "|", ["y"], "]", after), name) == plain.replace("x", token)


def test_an_unknown_format_is_rejected_by_name():
    with pytest.raises(FormatError, match="unknown format 'ods'; use one of dotenv, dotenv-node, "):
        write(document("a"), "ods")
    with pytest.raises(FormatError, match="unknown format 'ods'"):
        outline("a", "ods")
