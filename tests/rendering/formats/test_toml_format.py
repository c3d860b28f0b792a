"""The format toml, tested with tomllib."""

import math
import subprocess
import sys
import tomllib
from types import MappingProxyType

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.formats import outline, toml_, write

PIECES = (
    "'",
    '"',
    "'''",
    '"""',
    "\\",
    "\n",
    "\r\n",
    "\t",
    " ",
    "=",
    ".",
    ",",
    "#",
    "[",
    "]",
    "{",
    "}",
    "\n[x]\ny = 1\n",
)
MORE = ("é", "😀", "\0", "\x7f", "\x85", "\u2028", "\ufeff", "\ufffe", "true", "1", "1979-05-27")
any_text = st.characters(exclude_categories=["Cs"])
hostile = st.lists(st.sampled_from(PIECES + MORE) | any_text, max_size=12).map("".join)
integers = st.integers(-(2**63), 2**63 - 1)
scalar = st.booleans() | integers | st.floats(allow_nan=False, allow_infinity=False) | hostile
value = st.recursive(scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile, inner, max_size=3))
AUTHOR = (
    *(
        "a",
        "b = ",
        "c.d = ",
        "\n",
        "\r\n",
        " ",
        "'",
        '"',
        "'''",
        '"""',
        "# ",
        "[",
        "]",
        "{",
        "}",
        "[[",
        "]]",
        ", ",
        "=",
    ),
    *("\\", "\\n", "\\u00e9", "\\\n  ", "1", ".5", "true", "1979-05-27", "é", "\t", "[t]\n", "e = '''", 'f = """'),
)
author = st.lists(st.sampled_from(AUTHOR), max_size=12).map("".join)


def document(*parts):
    """Marked text of strings, of values in lists, and of placeholders."""
    origin = "database/postgres: password"
    placeholders = (
        part if isinstance(part, str | Placeholder) else Placeholder(part[0], origin, *part[1:]) for part in parts
    )
    return Document("app.toml.j2", tuple(placeholders))


def named(text):
    """A placeholder with another origin."""
    return Placeholder(text, "database/names: name")


def embedded(text):
    return Placeholder(text, "database/postgres: password", structure=True)


@pytest.mark.no_cover
@given(value)
@example(1e-07)
@example(-0.0)
@example(5e-324)
@example(1e22)
@example(-(2**63))
def test_a_single_value_keeps_its_type_and_structure(data):
    text = write(
        document("a = ", [data], " # c\nb = [", [data], ", ", [data], "]\n[t]\nc = {d = ", [data], "}"), "toml"
    )
    assert repr(tomllib.loads(text)) == repr({"a": data, "b": [data, data], "t": {"c": {"d": data}}})


@pytest.mark.no_cover
@given(hostile)
@example('x"\nadmin = true')
@example(" x")
@example("\nx")
def test_a_value_inside_a_string_stays_inside_it(text):
    template = (
        *("a = \"\\t'", [text], "\\u00e9\"\nb = '\\", [text], '\'\nc = """\n"x" \\\n  ', [text], '\n"\\""""\n'),
        *("d = '''\n", [text], "\n''''\ne = \"\"\"", [text], '\n"""\nf = \'', [text], '\'\n"g" = 1'),
    )
    assert tomllib.loads(write(document(*template), "toml")) == {
        "a": f"\t'{text}é",
        "b": f"\\{text}",
        "c": f'"x" {text}\n""',
        "d": f"{text}\n'",
        "e": f"{text}\n",
        "f": text,
        "g": 1,
    }


@given(hostile, hostile)
def test_a_value_is_one_key_wherever_a_key_may_be(name, text):
    template = (
        *(
            [name],
            " = 1\n[servers.",
            [name],
            "]\n",
            [name],
            ".x = ",
            [text],
            "\n'k-",
            [name],
            "' = {",
            [name],
            " = 2}\n",
        ),
        *("[[list.", [name], '."', [name], '"]]\n[[list . ', [name], " . '", [name], "']]\n"),
    )
    assume(name not in {"servers", "list"})
    assert tomllib.loads(write(document(*template), "toml")) == {
        name: 1,
        "servers": {name: {name: {"x": text}, f"k-{name}": {name: 2}}},
        "list": {name: {name: [{}, {}]}},
    }


@pytest.mark.no_cover
@given(author, hostile, author)
@example('""', "x", '""')
@example('a = ""', "x", '""')
@example("a = ", "x", '"""b"""')
def test_no_value_changes_the_structure_with_any_text_of_the_author(before, text, after):
    try:
        written = write(document(before, [text], after), "toml")
    except FormatError:
        return
    bare = [f'{before}"harmless"{after}', f"{before}harmless{after}"]
    assert shape(tomllib.loads(written)) in [shape(loaded, text) for loaded in map(loads, bare)]


def loads(text):
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def shape(node, text=None):
    match node:
        case str():
            return node if text is None else node.replace("harmless", text)
        case dict():
            return {shape(name, text): shape(inner, text) for name, inner in node.items()}
        case list():
            return [shape(item, text) for item in node]
        case _:
            return repr(node)


@pytest.mark.no_cover
@given(author)
def test_a_file_without_values_stays_byte_for_byte(text):
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        with pytest.raises(FormatError, match="the text is not TOML"):
            write(document(text), "toml")
    else:
        assert write(document(text), "toml") == text


@pytest.mark.parametrize(("data", "text"), [(True, "true"), (False, "false"), (12, "12"), (1.5, "1.5"), ("a", "a")])
def test_inside_a_string_a_scalar_is_its_text(data, text):
    assert tomllib.loads(write(document("a = '<", [data], ">'"), "toml")) == {"a": f"<{text}>"}


def test_a_mapping_of_any_kind_is_an_inline_table():
    data = MappingProxyType({"b c": (1, MappingProxyType({}))})
    assert write(document("a = ", [data]), "toml") == 'a = {"b c" = [1, {}]}'


@pytest.mark.no_cover
@given(value)
def test_embedded_json_is_a_structure_as_a_single_value_and_text_elsewhere(data):
    text = toml_.dumps(data)
    written = write(document("a = ", embedded(text), "\nb = '", embedded(text), "'\n"), "toml")
    assert repr(tomllib.loads(written)) == repr({"a": data, "b": text})


def test_embedded_json_that_is_invalid_is_rejected():
    with pytest.raises(
        FormatError, match=r"^app\.toml\.j2:2: database/postgres: password is not a JSON value"
    ) as caught:
        write(document("\na = ", embedded("canary: 1"), "\n"), "toml")
    assert "canary" not in str(caught.value)


def test_embedded_json_may_be_a_key():
    assert write(document(embedded('"k"'), " = ", embedded('"k"')), "toml") == '"k" = "k"'


@pytest.mark.parametrize("data", [None, [None], {"a": [{"b": None}]}])
def test_null_is_rejected(data):
    with pytest.raises(FormatError, match=r"^app\.toml\.j2:2: database/postgres: password is or contains null"):
        write(document("\na = ", [data]), "toml")


@pytest.mark.parametrize("data", [2**63, -(2**63) - 1, [2**64], {"a": 10**30}])
def test_an_integer_of_more_than_64_bits_is_rejected(data):
    with pytest.raises(FormatError, match=r"^app\.toml\.j2:1: database/postgres: password is or contains an integer"):
        write(document("a = ", [data]), "toml")


@pytest.mark.parametrize("data", [math.nan, math.inf, {1, 2}])
def test_a_value_that_json_cannot_represent_is_rejected(data):
    with pytest.raises(FormatError, match=r"^app\.toml\.j2:1: database/postgres: password is not a JSON value"):
        write(document("a = ", [data]), "toml")


@pytest.mark.parametrize(
    "parts",
    [("a = 12", ["x"]), ("a = ", ["x"], "12"), ("a = ", ["x"], ["y"]), ("a-", ["x"], " = 1"), ("a = é", ["x"])],
)
def test_a_value_next_to_other_text_is_rejected(parts):
    with pytest.raises(FormatError, match=r"^app\.toml\.j2:1: database/postgres: password is next to"):
        write(document(*parts), "toml")


def test_a_value_in_a_comment_is_written_unchanged():
    text = write(document("a = 1 # ", ["it's\t'x' # é"], '\n# "', [2], "\n"), "toml")
    assert text == "a = 1 # it's\t'x' # é\n# \"2\n"


@pytest.mark.parametrize("text", ["canary\nb = 1", "canary\r", "canary\x85", "canary\u2028", "canary\0", "canary\x7f"])
def test_a_value_that_a_comment_cannot_represent_is_rejected(text):
    with pytest.raises(FormatError, match=r"^app\.toml\.j2:2: database/postgres: password (has|contains)") as caught:
        write(document("a = 1\n# ", [text], "\n"), "toml")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("data", [1, True, {"a": 1}, [1]])
@pytest.mark.parametrize(("before", "after"), [("", " = 1"), ("[a.", "]"), ("a = {b.", " = 1}")])
def test_a_key_that_is_not_a_string_is_rejected(before, after, data):
    with pytest.raises(FormatError, match="is not a string but is used as a name"):
        write(document(before, [data], after), "toml")


@pytest.mark.parametrize(
    "parts",
    [
        ("a = 1\n", ["a"], " = 2\n"),
        ("'", ["a"], "' = 1\n[a]\n"),
        (["a"], " = 1\n", named("a"), " = 2\n"),
        ("[servers.", ["a"], "]\n[servers.", named("a"), ".tls]\n"),
        ("x = {", ["a"], ".b = 1, a.c = 2}"),
    ],
)
def test_a_duplicate_key_is_rejected(parts):
    with pytest.raises(FormatError, match=r": database/\w+: \w+ duplicates a key of its table") as caught:
        write(document(*parts), "toml")
    assert "'a'" not in str(caught.value)


def test_a_table_may_be_opened_again_by_the_same_value():
    text = write(document("[servers.", ["canary"], "]\na = 1\n[servers.", ["canary"], ".tls]\nb = 2\n"), "toml")
    assert tomllib.loads(text) == {"servers": {"canary": {"a": 1, "tls": {"b": 2}}}}
    for parts in ((["canary"], " = 1\n", ["canary"], " = 2\n"), ("[", ["canary"], "]\n[", ["canary"], "]\n")):
        with pytest.raises(FormatError, match=r"^app\.toml\.j2:2: the text is not TOML: Cannot") as caught:
            write(document(*parts), "toml")
        assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("parts", "place"),
    [
        (("a",), ": the text is not TOML: "),
        (("a = ", ["canary"], "\nb = [1, , 2]\n"), ":2: the text is not TOML: "),
        (("a = '", ["canary"], "\nb = 1"), ": the text is not TOML: "),
        (("a = '''", ["canary"], "\nb = 1"), ": the text is not TOML: "),
        (('a = """', ["canary"], "\nb = 1"), ": the text is not TOML: "),
        (('a = "', ["canary"], "\\u00", ["canary"], '"'), ":1: the text is not TOML: "),
        (("a = {", ["canary"], " = 1, ", ["canary"], " = 2}"), ":1: the text is not TOML: "),
        (("\ufeffa = ", ["canary"]), ":1: the text is not TOML: "),
        (("a = " + "9" * 5000,), ": the text is not TOML: "),
    ],
)
def test_a_template_that_is_not_toml_is_rejected_by_line(parts, place):
    with pytest.raises(FormatError) as caught:
        write(document(*parts), "toml")
    assert str(caught.value).startswith(f"app.toml.j2{place}")
    assert "canary" not in str(caught.value)
    assert "lessee" not in str(caught.value)


def test_nesting_too_deeply_is_rejected():
    with pytest.raises(FormatError, match=r"^app\.toml\.j2: the text is nested too deeply"):
        write(document("a = " + "[" * 100_000), "toml")
    with pytest.raises(FormatError, match=r"^app\.toml\.j2:1: database/postgres: password is nested too deeply"):
        write(document("a = ", embedded("[" * 101 + "]" * 101)), "toml")
    deep = "[" * 99 + "]" * 99
    assert write(document("a = ", embedded(deep)), "toml") == f"a = {deep}"


@pytest.mark.parametrize("text", ["a = true", "a = 1.0", "a = '1'", "a = 1\nb = 1", "", "a = "])
def test_verification_rejects_a_value_that_reads_back_differently(text):
    marked = toml_.mark_values(document("a = 1"))
    with pytest.raises(FormatError, match="would parse back to different"):
        toml_._verify(text, {"a": 1}, marked)


def test_the_outline_of_toml_has_paths_and_types_alone():
    text = '[[a]]\n"b c" = [1, 1.5, {d = "x"}]\n[[a]]\ne = true\n[f]\ng = []\nh = {}\ni = 1979-05-27T07:32:00Z\n'
    assert outline(text, "toml") == (
        'a[0]."b c"[0]: integer',
        'a[0]."b c"[1]: float',
        'a[0]."b c"[2].d: string',
        "a[1].e: boolean",
        "f.g: array",
        "f.h: table",
        "f.i: datetime",
    )
    assert outline("", "toml") == ()


@pytest.mark.parametrize("text", ["canary", "a = " + "[" * 100_000])
def test_the_outline_of_text_that_is_not_toml_is_rejected_without_a_snippet(text):
    with pytest.raises(FormatError, match=r"^the text is (not TOML|nested too deeply)") as caught:
        outline(text, "toml")
    assert "canary" not in str(caught.value)


def test_tomllib_is_not_loaded_before_it_is_used():
    code = "import sys, lessee.rendering.formats; sys.exit('tomllib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
