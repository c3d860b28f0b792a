"""Written YAML reads back as the values it was written from."""

import yaml
from hypothesis import given
from hypothesis import strategies as st

from lessee.config.expansion import expand
from lessee.config.yaml_writer import Commented, Expandable, Keys, write

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    [
        "yes",
        "null",
        "~",
        "1e3",
        "0640",
        "1:2",
        "a: b",
        "#",
        "- a",
        "${A}",
        "$${A}",
        "$$",
        "{a}",
        "[",
        "5m",
        "@a",
        "a #b",
        "on",
    ]
)


@given(TEXTS)
def test_any_string_is_read_back_unchanged(text):
    read = yaml.safe_load(write(Keys(((text, text), ("list", [text]), ("flow", Keys(((text, text),), flow=True))))))
    inner = {key: expand(value, {}) for key, value in read["flow"].items()}
    assert (expand(read[text] if text not in {"list", "flow"} else text, {}), inner) == (text, {text: text})
    if text != "list":
        assert [expand(item, {}) for item in read["list"]] == [text]


def test_every_kind_of_node_is_written():
    keys = Keys(
        (
            "a comment\nof two lines",
            "",
            ("plain", Expandable("${A}")),
            ("noted", Commented("x", "why")),
            ("number", 3),
            ("block", Keys((("inner", True),))),
            (
                "items",
                [Keys(("before", ("a", 1), "between", ("b", Keys((("c", False),), flow=True)))), Keys((("a", 2),))],
            ),
        )
    )
    assert write(keys) == (
        "# a comment of two lines\n#\n"
        'plain: "${A}"\n'
        "noted: x  # why\n"
        "number: 3\n"
        "block:\n  inner: true\n"
        "items:\n"
        "  # before\n"
        "  - a: 1\n"
        "    # between\n"
        "    b: {c: false}\n"
        "  - a: 2\n"
    )


def test_a_long_comment_is_wrapped_at_blanks_alone():
    words = "word-with-hyphens " * 12
    lines = write(Keys((words, "x" * 300))).splitlines()
    assert lines == [
        "# " + " ".join(["word-with-hyphens"] * 6),
        "#   " + " ".join(["word-with-hyphens"] * 6),
        f"# {'x' * 300}",
    ]
    assert [len(line) for line in write(Keys(("w " * 54 + "ab",))).splitlines()] == [112]
    assert [len(line) for line in write(Keys(("w " * 54 + "abc",))).splitlines()] == [109, 7]


def test_a_long_comment_is_wrapped():
    text = write(Keys(("word " * 60,)))
    assert len(text.splitlines()) > 1
    assert all(line.startswith("#") and len(line) < 120 for line in text.splitlines())
