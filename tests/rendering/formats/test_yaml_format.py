"""The format yaml, tested with both of PyYAML's loaders."""

import datetime as dt
import math
import subprocess
import sys

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.formats import outline, write, yaml_

PIECES = (
    "'",
    '"',
    "\\",
    "\n",
    "\r",
    "\n\n",
    "\n  ",
    ": ",
    " #",
    "- ",
    "*",
    "&",
    "!",
    "%",
    "|",
    ">",
    "{",
    "}",
    "[",
    "]",
    ",",
)
MORE = (
    "\nLD_PRELOAD: 1\n",
    "---\n",
    "...\n",
    "\t",
    " ",
    "é",
    "😀",
    "\0",
    "\x7f",
    "\x85",
    "\u2028",
    "\ufeff",
    "\ufffe",
    "<<",
)
WORDS = ("true", "no", "null", "~", "12", "1.5", "0x1", "1e3", "2024-01-01", "=", "1:30", ".nan", "")
any_text = st.characters(exclude_categories=["Cs"])
hostile = st.sampled_from(WORDS) | st.lists(st.sampled_from(PIECES + MORE) | any_text, max_size=12).map("".join)
scalar = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | hostile
value = st.recursive(scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile, inner, max_size=3))
AUTHOR = (
    "a",
    "b: ",
    "\n",
    "\n  ",
    "- ",
    "? ",
    ": ",
    "'",
    '"',
    "|\n",
    ">-\n",
    "# ",
    " ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "&x ",
    "*x",
    "!!str ",
    "---\n",
    "...\n",
    "\\",
    "é",
    "\ufeff",
    "\u2028",
    "%A b\n",
)
author = st.lists(st.sampled_from(AUTHOR), max_size=12).map("".join)


def document(*parts):
    """Marked text of strings, of values in lists, and of placeholders."""
    placeholders = (
        part if isinstance(part, str | Placeholder) else Placeholder(part[0], "database/postgres: password")
        for part in parts
    )
    return Document("app.yaml.j2", tuple(placeholders))


def embedded(text):
    return Placeholder(text, "database/postgres: password", structure=True)


def load(text):
    pure = list(yaml.load_all(text, Loader=yaml.SafeLoader))
    fast = list(yaml.load_all(text, Loader=yaml.CSafeLoader))
    assert repr(pure) == repr(fast)
    return pure[0] if len(pure) == 1 else pure


@pytest.fixture(params=["libyaml", "python"])
def _loader(request, monkeypatch):
    monkeypatch.setattr(yaml_, "_LOADER", yaml.CSafeLoader if request.param == "libyaml" else yaml.SafeLoader)


@given(value)
@example(1e-07)
@example(-0.0)
@example(5e-324)
@example(1e20)
def test_a_single_value_keeps_its_type_and_structure(data):
    text = write(document("a: ", [data], "\nb:\n- ", [data], " # c\n- {x: ", [data], "}\n--- ", [data], "\n"), "yaml")
    assert repr(load(text)) == repr([{"a": data, "b": [data, {"x": data}]}, data])


@pytest.mark.no_cover
@given(hostile)
@example('x"\nadmin: true')
def test_a_value_inside_a_scalar_stays_inside_it(text):
    written = write(
        document("a: x", [text], "y\nb: 'it''s ", [text], "'\nc: \"\\t", [text], "\"\nd: '", [text], "'\ne: 1\n"),
        "yaml",
    )
    assert load(written) == {"a": f"x{text}y", "b": f"it's {text}", "c": f"\t{text}", "d": text, "e": 1}


@pytest.mark.long
@pytest.mark.parametrize("head", ["|", "|-", "|+", ">", ">-", ">+", "|2", "| # why"])
@given(text=hostile)
def test_a_value_in_a_block_stays_in_it(head, text):
    before, after = f"a:\n  b: {head}\n    first ", " last\n    again\n\n  c: 1\nd: 2\n"
    harmless = load(f"{before}harmless{after}")
    harmless["a"]["b"] = harmless["a"]["b"].replace("harmless", text)
    assert load(write(document(before, [text], after), "yaml")) == harmless


def test_a_block_that_ends_the_file_needs_no_line_end():
    assert load(write(document("a: |\n  x ", ["\n"]), "yaml")) == {"a": "x \n"}


@pytest.mark.usefixtures("_loader")
def test_positions_are_found_after_characters_of_any_width():
    text = write(document("\ufeffключ: 😀\r\nb: ", ["x"], "\x85c: ", [1], "\u2028d: 'é", [True], "'\r\n"), "yaml")
    assert load(text) == {"ключ": "😀", "b": "x", "c": 1, "d": "étrue"}


@pytest.mark.no_cover
@given(author, hostile, author)
@example("a: &x ", "z", "\nb: *x\n")
def test_no_value_changes_the_structure_with_any_text_of_the_author(before, text, after):
    try:
        written = write(document(before, [text], after), "yaml")
    except FormatError:
        return
    for loader in (yaml.SafeLoader, yaml.CSafeLoader):
        harmless = yaml.compose_all(f"{before}harmless{after}".removeprefix("\ufeff"), Loader=loader)
        nodes = yaml.compose_all(written, Loader=loader)
        assert [shape(node, text) for node in harmless] == [shape(node, None) for node in nodes]


def shape(node, text):
    if isinstance(node, yaml.ScalarNode):
        return node.tag, node.value if text is None else node.value.replace("harmless", text)
    if isinstance(node, yaml.SequenceNode):
        return node.tag, [shape(item, text) for item in node.value]
    return node.tag, [(shape(key, text), shape(value, text)) for key, value in node.value]


@pytest.mark.no_cover
@given(value)
def test_embedded_json_is_a_structure_as_a_single_value_and_text_elsewhere(data):
    text = yaml_.dumps(data)
    written = write(document("a: ", embedded(text), "\nb: '", embedded(text), "'\n"), "yaml")
    assert repr(load(written)) == repr({"a": data, "b": text})


def test_embedded_json_that_is_invalid_is_rejected():
    with pytest.raises(
        FormatError, match=r"^app\.yaml\.j2:2: database/postgres: password is not a JSON value"
    ) as caught:
        write(document("a:\n  ", embedded("canary: 1"), "\n"), "yaml")
    assert "canary" not in str(caught.value)


def test_a_tagged_value_is_text_of_the_authors_type():
    text = write(
        document("a: !!str ", [12], "\nb: !!int &x ", ["12"], "\nc: &y !!float ", [2], "\nd: &z ", [3]),
        "yaml",
    )
    assert repr(load(text)) == repr({"a": "12", "b": 12, "c": 2.0, "d": 3})


def test_aliases_share_the_content_of_their_anchor():
    text = write(document("a: &x {k: ", ["v"], "}\nb: *x\nc: &s ", ["w"], "\nd: *s\ne: &r [*r]\n"), "yaml")
    loaded = load(text.partition("e:")[0])
    assert loaded == {"a": {"k": "v"}, "b": {"k": "v"}, "c": "w", "d": "w"}


@pytest.mark.parametrize(
    "parts", [("a: !", ["x"], " 1"), ("a: &", ["x"], " 1"), ("a: *", ["x"]), ("%TAG !e! ", ["x"], "\n--- 1")]
)
def test_a_value_in_a_tag_an_anchor_an_alias_or_a_directive_is_rejected(parts):
    with pytest.raises(FormatError, match=r"^app\.yaml\.j2:1: database/postgres: password is in a tag"):
        write(document(*parts), "yaml")


def test_a_value_in_a_comment_is_written_unchanged():
    assert write(document("a: 1 # ", ["it's\t'x' # é"], "\n# ", [2], "\n"), "yaml") == "a: 1 # it's\t'x' # é\n# 2\n"


@pytest.mark.parametrize(
    "text",
    ["canary\nb: 1", "canary\r", "canary\x85", "canary\u2028", "canary\0", "canary\ufeff", "canary\x7f"],
)
def test_a_value_that_a_comment_cannot_represent_is_rejected(text):
    with pytest.raises(FormatError, match=r"^app\.yaml\.j2:2: database/postgres: password (has|contains)") as caught:
        write(document("a: 1\n# ", [text], "\n"), "yaml")
    assert "canary" not in str(caught.value)


def test_a_value_in_the_comment_of_a_blocks_head_is_rejected():
    with pytest.raises(FormatError, match="is in a comment after"):
        write(document("a: | # ", ["x"], "\n  y\n"), "yaml")


def test_a_value_may_be_a_key():
    text = write(
        document(["<<"], ": 1\n'k", ["\n"], "': 2\n&a ", ["true"], " : 3\n? ", ["e"], "\n: {", ["f"], ": 4}\n"),
        "yaml",
    )
    assert load(text) == {"<<": 1, "k\n": 2, "true": 3, "e": {"f": 4}}


@pytest.mark.parametrize("data", [1, None, True, {"a": 1}, [1]])
@pytest.mark.parametrize("before", ["", "? ", "&a ", "- x\n- "])
def test_a_key_that_is_not_a_string_is_rejected(before, data):
    with pytest.raises(FormatError, match="is not a string but is used as a key"):
        write(document(before, [data], ": 1\n"), "yaml")


@pytest.mark.parametrize(
    "parts", [("a: 1\n", ["a"], ": 2\n"), ("'", ["a"], "': 1\n? a\n: 2\n"), (["a"], ": 1\n", ["a"], ": 2\n")]
)
def test_a_duplicate_key_is_rejected(parts):
    with pytest.raises(FormatError, match="database/postgres: password duplicates a key of its mapping"):
        write(document(*parts), "yaml")


def test_a_duplicate_key_of_the_author_is_rejected():
    with pytest.raises(FormatError, match=r"^app\.yaml\.j2:3: the key 'a' is duplicated"):
        write(document("[a]: 0\na: 1\n'a': ", ["x"], "\n"), "yaml")


def test_a_key_too_long_for_its_readers_is_rejected():
    with pytest.raises(
        FormatError, match=r"^app\.yaml\.j2: the file would parse back to different content.* 1000 characters"
    ):
        write(document(["k" * 1100], ": 1\n"), "yaml")


@pytest.mark.usefixtures("_loader")
@pytest.mark.parametrize(
    ("parts", "place"),
    [
        (("a: ", ["canary"], "\nb: [1\n"), r":3: the text is not YAML: "),
        (("a: ", ["canary"], "\nb: *c\n"), r":2: the text is not YAML: found undefined alias"),
        (("a: '", ["canary"], "' ", ["canary"]), r":1: the text is not YAML: "),
        (("a: ", ["canary"], "\n\ufeffb: 1"), r":2: the text contains a byte order mark"),
        (("a: ", ["canary"], "\nb: \x07"), r": the text contains a character that YAML does not allow"),
    ],
)
def test_a_template_that_is_not_yaml_is_rejected_by_line(parts, place):
    with pytest.raises(FormatError, match=rf"^app\.yaml\.j2{place}") as caught:
        write(document(*parts), "yaml")
    assert "canary" not in str(caught.value)


def test_a_value_that_yaml_and_json_cannot_represent_is_rejected():
    for data in (math.nan, [math.inf], {1}):
        with pytest.raises(FormatError, match="is not a JSON value"):
            write(document("a: ", [data]), "yaml")


def test_too_deep_nesting_is_rejected_before_the_stack_overflows():
    for text in ("[" * 100_000, "- " * 100_000, "[" * 201 + "]" * 201):
        with pytest.raises(FormatError, match=r"^app\.yaml\.j2.*(nested too deeply|nesting depth)"):
            write(document(text), "yaml")
        with pytest.raises(FormatError, match=r"^the text is (nested too deeply|not YAML)"):
            outline(text, "yaml")
    with pytest.raises(FormatError, match=r"^app\.yaml\.j2:1: database/postgres: password is nested too deeply"):
        write(document("a: ", embedded("[" * 101 + "]" * 101)), "yaml")


@pytest.mark.usefixtures("_loader")
def test_nesting_as_deep_as_allowed_is_written():
    deep = "[" * 99 + "]" * 99
    assert write(document("[" * 99, embedded(deep), "]" * 99), "yaml") == "[" * 99 + deep + "]" * 99


@pytest.mark.parametrize(
    "text",
    ["a: '1'\n", "a: [1]\n", "a: 1\nb: 2\n", "b: 1\n", "a: 1\n---\n", "a: [", "a: 2", "[a, 1]", "a: 1_x"],
)
def test_verification_rejects_a_value_that_reads_back_differently(text):
    for parts in (("a: ", [1], "\n"), ("a: 1\n",)):
        marked = yaml_.mark_values(document(*parts))
        with pytest.raises(FormatError, match="would parse back to different"):
            yaml_._verify(text, marked, frozenset(marked.markers))


def test_the_outline_of_yaml_has_paths_and_types_alone():
    text = "a b: {c: [1, 1.5, {d: x}]}\n"
    text += "e: ~\nf: yes\ng: []\nh: &h {i: 2024-01-01}\nj: *h\nk: !own x\n? [l]\n: m\n"
    assert outline(text, "yaml") == (
        '"a b".c[0]: integer',
        '"a b".c[1]: number',
        '"a b".c[2].d: string',
        "e: null",
        "f: boolean",
        "g: array",
        "h.i: timestamp",
        "j: alias",
        "k: !own",
        '"?": string',
    )
    assert outline("x\n--- [1]\n", "yaml") == ("document[0]: string", "document[1][0]: integer")
    assert outline("", "yaml") == ()


def test_the_outline_of_an_alias_bomb_is_short():
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))]
    assert len(outline("\n".join(lines), "yaml")) == 2 + 29 * 9


def test_the_outline_of_text_that_is_not_yaml_is_rejected_without_a_snippet():
    with pytest.raises(FormatError, match=r"^the text is not YAML; ") as caught:
        outline("a: [canary", "yaml")
    assert "canary" not in str(caught.value)


def test_yaml_is_not_loaded_before_it_is_used():
    code = "import sys, lessee.rendering.formats as f; assert 'json' in f.FORMATS; sys.exit('yaml' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


TAGGED = [
    ("int", "5432", 5432),
    ("int", "-1", -1),
    ("float", "1.5", 1.5),
    ("float", "2e3", 2000.0),
    ("bool", "true", True),
    ("null", "~", None),
    ("binary", "YQ==", b"a"),
    ("timestamp", "2026-11-30", dt.date(2026, 11, 30)),
    ("str", "5432", "5432"),
]


@pytest.mark.usefixtures("_loader")
@pytest.mark.parametrize(("tag", "value", "read"), TAGGED)
def test_a_value_under_an_explicit_tag_has_its_type(tag, value, read):
    assert load(write(document(f'a: !!{tag} "', [value], '"\n'), "yaml")) == {"a": read}
    assert load(write(document(f"a: !!{tag} ", [value], "\n"), "yaml")) == {"a": read}


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("int", "x"),
        ("int", ""),
        ("int", "0o17"),
        ("int", "017"),
        ("int", "1:30"),
        ("int", "9" * 30),
        ("float", "x"),
        ("bool", "yes"),
        ("null", "x"),
        ("binary", "a"),
        ("timestamp", "now"),
    ],
)
def test_a_value_that_its_explicit_tag_does_not_allow_is_an_error(tag, value):
    """A reader would refuse the whole file, or read another value than others do."""
    with pytest.raises(FormatError, match=rf"database/postgres: password is not .*, which its tag !!{tag} requires"):
        write(document(f'a: !!{tag} "', [value], '"\n'), "yaml")


def test_a_tag_of_the_author_alone_says_nothing_about_values():
    assert write(document("a: !Ref ", ["x"], "\n"), "yaml") == 'a: !Ref "x"\n'
