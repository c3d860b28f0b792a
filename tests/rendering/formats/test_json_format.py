"""The format json, tested with json.loads."""

import json
import math
from types import MappingProxyType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.formats import json_, outline, write

PIECES = (
    "'",
    '"',
    '",',
    "\\",
    "\n",
    "\r",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "$",
    "é",
    "😀",
    "\0",
    "\x7f",
    "\u2028",
    "//",
)
hostile = st.lists(st.sampled_from(PIECES) | st.characters(exclude_categories=["Cs"]), max_size=12).map("".join)
scalar = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | hostile
value = st.recursive(scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile, inner, max_size=3))


def document(*parts):
    """Marked text of strings, of values in lists, and of placeholders."""
    placeholders = (
        part if isinstance(part, str | Placeholder) else Placeholder(part[0], "api/openai: key") for part in parts
    )
    return Document("mcp.json.j2", tuple(placeholders))


def embedded(text):
    return Placeholder(text, "api/openai: key", structure=True)


@pytest.mark.no_cover
@given(value)
def test_a_value_outside_strings_keeps_its_type_and_its_structure(data):
    loaded = json.loads(write(document('{"a": ', [data], ', "b": [', [data], "]}"), "json"))
    assert repr(loaded) == repr({"a": data, "b": [data]})


@pytest.mark.no_cover
@given(hostile)
@example('x", "admin": "1')
def test_a_value_inside_a_string_stays_inside_it(text):
    loaded = json.loads(write(document('{"a": "\\u00e9 ', [text], "-", [text], '", "', [text], '_": 1}'), "json"))
    assert loaded == {"a": f"é {text}-{text}", f"{text}_": 1}


@pytest.mark.parametrize(("data", "text"), [(True, "true"), (False, "false"), (12, "12"), (1.5, "1.5"), ("a", "a")])
def test_inside_a_string_a_scalar_is_its_text(data, text):
    assert json.loads(write(document('["<', [data], '>"]'), "json")) == [f"<{text}>"]


def test_a_string_that_is_one_value_stays_a_string():
    assert write(document('["', [5432], '"]'), "json") == '["5432"]'


def test_a_mapping_of_any_kind_is_an_object():
    assert write(document("[", [MappingProxyType({"b": (1, MappingProxyType({}))})], "]"), "json") == '[{"b":[1,{}]}]'


@pytest.mark.no_cover
@given(value)
def test_embedded_json_is_a_structure_outside_strings_and_text_inside(data):
    text = json.dumps(data, indent=1)
    written = write(document('{"a": ', embedded(text), ', "b": "', embedded(text), '"}'), "json")
    assert text in written
    assert repr(json.loads(written)) == repr({"a": data, "b": text})


@pytest.mark.parametrize("text", ["", "{", '1, "b": 2', '{"canary": 1, "canary": 2}', "NaN", "1e999", "canary"])
def test_embedded_json_that_is_invalid_is_rejected(text):
    with pytest.raises(FormatError, match=r"^mcp\.json\.j2:2: api/openai: key is not a JSON value") as caught:
        write(document('{"a":\n', embedded(text), "}"), "json")
    assert "canary" not in str(caught.value)


def test_a_value_that_is_marked_as_a_structure_is_written_as_json():
    assert write(document(embedded({"a": None})), "json") == '{"a":null}'


@pytest.mark.parametrize("data", [math.nan, math.inf, [math.nan], {1, 2}, {"a": object()}])
def test_a_value_that_json_cannot_represent_is_rejected(data):
    with pytest.raises(FormatError, match=r"^mcp\.json\.j2:1: api/openai: key is not a JSON value"):
        write(document([data]), "json")


@pytest.mark.parametrize("parts", [("12", ["x"]), (["x"], "12"), (["x"], ["y"]), ("[", ["x"], "/* c */]")])
def test_a_value_next_to_other_text_is_rejected(parts):
    with pytest.raises(FormatError, match=r"^mcp\.json\.j2:1: api/openai: key is next to"):
        write(document(*parts), "json")


@pytest.mark.parametrize(
    ("parts", "place"),
    [
        (("",), "1: the text is not JSON at column 1,"),
        (('{"a": ', ["canary"], ",\n", '"b": ', ["canary"], " x}"), "2: the text is not JSON at column 7,"),
        (('{"a": "', ["canary"], "\\u00", ["canary"], '"}'), "1: the text is not JSON at column 9,"),
        (('"a"', ["canary"]), "1: the text is not JSON at column 4,"),
        (('{"a": "', ["canary"], "}"), "1: the text is not JSON at column 7,"),
    ],
)
def test_a_template_that_is_not_json_is_rejected_by_line_and_column(parts, place):
    with pytest.raises(FormatError) as caught:
        write(document(*parts), "json")
    assert str(caught.value).startswith(f"mcp.json.j2:{place}")
    assert "canary" not in str(caught.value)
    assert "lessee" not in str(caught.value)


@pytest.mark.parametrize("text", ["[NaN]", "[-Infinity]", "[" + "1" * 5000 + "]"])
def test_a_number_that_is_invalid_is_rejected_in_the_template_too(text):
    with pytest.raises(FormatError, match=r"^mcp\.json\.j2: the text contains NaN"):
        write(document(text), "json")


def test_a_value_may_be_a_name():
    assert write(document("{", ["a"], ' : 1, "b', ["c"], '": 2}'), "json") == '{"a" : 1, "bc": 2}'


def test_a_name_that_is_not_a_string_is_rejected():
    with pytest.raises(FormatError, match="is not a string but is used as a name"):
        write(document("{", [1], ": 1}"), "json")


@pytest.mark.parametrize(
    "parts",
    [('{"a": 1, ', ["a"], ": 2}"), ('{"', ["a"], '": 1, "a": 2}'), ("{", ["a"], ": 1, ", ["a"], ": 2}")],
)
def test_a_duplicate_name_is_rejected(parts):
    with pytest.raises(FormatError, match="api/openai: key duplicates a name of its object"):
        write(document(*parts), "json")


def test_a_duplicate_name_of_the_author_is_rejected():
    with pytest.raises(FormatError, match=r"^mcp\.json\.j2: the name 'a' is duplicated"):
        write(document('[{"a": 1, "\\u0061": ', ["x"], "}]"), "json")


def test_nesting_too_deeply_is_rejected():
    with pytest.raises(FormatError, match=r"^mcp\.json\.j2: the text is nested too deeply"):
        write(document("[" * 100_000), "json")
    with pytest.raises(FormatError, match=r"^mcp\.json\.j2:1: api/openai: key is nested too deeply"):
        write(document(embedded("[" * 101 + "]" * 101)), "json")
    with pytest.raises(FormatError, match="key is nested too deeply"):
        write(document(embedded("[" * 100_000)), "json")


def test_verification_rejects_a_value_that_reads_back_as_another_type():
    marked = json_.mark_values(document("[1]"))
    for text in ("[true]", "[1.0]", '["1"]', "[1, 1]"):
        with pytest.raises(FormatError, match="would parse back to different"):
            json_._verify(text, [1], marked)


def test_the_outline_of_json_has_paths_and_types_alone():
    text = '{"a b": {"c": [1, 1.5, {"d": "x"}]}, "e": null, "f": true, "g": [], "h": {}}'
    assert outline(text, "json") == (
        '"a b".c[0]: integer',
        '"a b".c[1]: number',
        '"a b".c[2].d: string',
        "e: null",
        "f: boolean",
        "g: array",
        "h: object",
    )
    assert outline("1", "json") == ("integer",)


@pytest.mark.parametrize("text", ["", "canary", "[" * 100_000])
def test_the_outline_of_text_that_is_not_json_is_rejected_without_a_snippet(text):
    with pytest.raises(FormatError, match=r"^the text is (not JSON|nested too deeply)") as caught:
        outline(text, "json")
    assert "canary" not in str(caught.value)
