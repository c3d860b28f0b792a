"""What all formats have in common, and text, which has nothing else."""

import math
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Hole
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
    "properties": ("a = ", ""),
    "xml": ("<a>", "</a>"),
    "nginx": ("a ", ";"),
    "pgpass": ("a:1:b:c:", ""),
    "text": ("a ", ""),
}


def document(*parts):
    return Document(
        "a.j2", tuple(part if isinstance(part, str) else Hole(part[0], "db/main: password") for part in parts)
    )


def inside(name, value):
    before, after = PLACES[name]
    begin = "[section]\n\n" if name == "ini" else "\n\n"
    return document(begin, before, [value], after)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_writes_a_value_as_it_is(value):
    assert write(document("{", [value], "}\n", [value]), "text") == f"{{{value}}}\n{value}"


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (False, "false"), (-12, "-12"), (1.5, "1.5"), (1e300, "1e+300")]
)
def test_text_writes_scalars_as_json_spells_them(value, text):
    assert write(document([value]), "text") == text


def test_text_has_no_outline():
    assert outline("a: 1", "text") == ()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("value", "what"),
    [
        (None, "is null"),
        (["canary"], "is a structure where text is wanted"),
        (MappingProxyType({"a": "canary"}), "is a structure where text is wanted"),
        (math.nan, "is NaN or infinite"),
        (-math.inf, "is NaN or infinite"),
        ("canary\ud800", "holds half a surrogate pair, which UTF-8 cannot"),
        pytest.param(10**5000, "is too long a number", id="long"),
    ],
)
def test_what_has_no_text_is_refused_by_line_and_origin(name, value, what):
    with pytest.raises(FormatError) as caught:
        write(inside(name, value), name)
    assert str(caught.value).startswith(f"a.j2:3: db/main: password {what}; ")
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_structure_in_a_text_tells_the_way_out():
    with pytest.raises(FormatError, match=r"add `\| json`"):
        write(inside("text", {}), "text")


@pytest.mark.parametrize("name", ["json", "yaml"])
def test_half_a_surrogate_pair_is_refused_as_a_typed_value_too(name):
    for value in ("\ud800", ["\udfff"], Hole('"\\ud800"', "db/main: password", structure=True)):
        hole = value if isinstance(value, Hole) else Hole(value, "db/main: password")
        with pytest.raises(FormatError, match=r"^a\.j2:1: db/main: password holds half a surrogate pair"):
            write(Document("a.j2", ("[", hole, "]")), name)


@pytest.mark.parametrize("name", FORMATS)
def test_half_a_surrogate_pair_in_the_authors_text_is_refused(name):
    with pytest.raises(FormatError, match=r"^a\.j2: the text holds half a surrogate pair"):
        write(document("\ud800"), name)


@pytest.mark.parametrize("name", FORMATS)
def test_a_value_that_looks_like_a_token_is_only_a_value(name):
    before, after = PLACES[name]
    before = "[section]\n" + before if name == "ini" else before
    plain = write(document(before, "[", ["x"], "|", ["y"], "]", after), name)
    for token in ("lessee0x", "lessee", "0x", "x1x"):
        assert write(document(before, "[", [token], "|", ["y"], "]", after), name) == plain.replace("x", token)


def test_an_unknown_format_is_refused_by_name():
    with pytest.raises(FormatError, match="there is no format 'ods'; use one of dotenv, dotenv-node, "):
        write(document("a"), "ods")
    with pytest.raises(FormatError, match="there is no format 'ods'"):
        outline("a", "ods")
