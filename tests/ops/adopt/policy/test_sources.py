"""Each place that Compose takes a value from is found, with its bytes."""

import pytest
import yaml

from lessee.ops.adopt.policy.model import Origin, Source, Span
from lessee.ops.adopt.policy.sources import (
    Piece,
    Scope,
    Text,
    env_lines,
    expand,
    has_part,
    is_converted,
    scalar,
    sources,
    sources_of_variable,
)

COMPOSE, DEFAULT, ENV, SHELL = Origin.COMPOSE, Origin.DEFAULT, Origin.PROJECT_ENV, Origin.SHELL


def scope(env="", **environ):
    return Scope(environ, ((ENV, Text(".env", env)),))


def found(value, where):
    """The origin, name and text of each source of a YAML value."""
    file = Text("compose.yaml", value)
    piece = scalar(yaml.compose(value), "X", file)
    return [(one.origin, one.name, one.span and bytes_of(one, value, where)) for one in sources(piece, COMPOSE, where)]


def bytes_of(source, value, where):
    content = {"compose.yaml": value, ".env": where.files[0][1].text}[source.span.file].encode()
    return content[source.span.start : source.span.end].decode()


@pytest.mark.parametrize(
    ("value", "env", "expected"),
    [
        ("literal", "", [(COMPOSE, "X", "literal")]),
        ("$$escaped", "", [(COMPOSE, "X", "$$escaped")]),
        ("${A}", "", []),
        ("${A}", "A=1", [(ENV, "A", "1")]),
        ("$A", "A=1\nA=2", [(ENV, "A", "1"), (ENV, "A", "2")]),
        ("x${A}", "A=1", [(COMPOSE, "X", "x${A}"), (ENV, "A", "1")]),
        ("${A:-d}", "", [(DEFAULT, "A", "d")]),
        ("${A-d}", "", [(DEFAULT, "A", "d")]),
        ("${A:-d}", "A=", [(DEFAULT, "A", "d")]),
        ("${A-d}", "A=", []),
        ("${A:-d}", "A=1", [(ENV, "A", "1")]),
        ("${A:-d}", "A=d", [(ENV, "A", "d"), (DEFAULT, "A", "d")]),
        ("${A:+alt}", "A=1", [(ENV, "A", "1"), (DEFAULT, "A", "alt")]),
        ("${A:+alt}", "", []),
        ("${A:?say so}", "A=1", [(ENV, "A", "1")]),
        ("${A:-${B:-d}}", "", [(DEFAULT, "B", "d")]),
        ("${A:-${B}}", "B=2", [(ENV, "B", "2")]),
        ("${A}", "A=x${B}\nB=y", [(ENV, "A", "x${B}"), (ENV, "B", "y")]),
        ("${A}", "A=${A}", []),
        ("${A}", "A=${B}\nB=${A}x", [(ENV, "B", "${A}x")]),
        ("${A:}", "", [(COMPOSE, "X", "${A:}")]),
        ("${A}", "not closed='", []),
        ('"${A:-a\\tb}"', "", [(DEFAULT, "A", "${A:-a\\tb}")]),
    ],
)
def test_sources_of_a_value(value, env, expected):
    assert found(value, scope(env)) == expected


def test_the_shell_comes_first_and_has_no_place():
    assert found("${A:-d}", scope("A=1", A="s")) == [(SHELL, "A", None), (ENV, "A", "1")]
    assert [one.origin for one in sources_of_variable("A", scope("A=1", A="s"))] == [SHELL, ENV]


def test_a_file_without_values_in_its_repr():
    text = Text("f", "A=canary")
    assert "canary" not in repr((text, env_lines(text), scope(A="canary"), sources_of_variable("A", scope("A=canary"))))


def test_lines_of_an_env_file():
    text = "export A='a b' # c\nB=\"x\"\nC=\nBARE\nD='\n"
    assert env_lines(Text("f", text)) == []
    lines = env_lines(Text("f", text.replace("D='\n", "")))
    assert [(one.name, one.raw, one.style) for one in lines] == [("A", "a b", "'"), ("B", "x", '"'), ("C", "", "")]
    assert [text[one.start : one.end] for one in lines] == ["a b", "x", ""]


@pytest.mark.parametrize(
    ("yaml_text", "skip", "expected"),
    [
        ("plain", 0, "plain"),
        ("'quo''ted'", 0, "quo''ted"),
        ("N=plain", 2, "plain"),
        ('"N=quoted"', 2, "quoted"),
        ("|\n  a\n  b\n", 0, "|\n  a\n  b"),
        ("|\n  N=a\n", 2, "a"),
        ("&a !!str 'x'", 0, "x"),
        ("&a |- # b=c\n  N=a\n  b\n", 2, "a\n  b"),
    ],
)
def test_the_place_of_a_scalar(yaml_text, skip, expected):
    piece = scalar(yaml.compose(yaml_text), "X", Text("f", yaml_text), skip=skip)
    assert yaml_text[piece.start : piece.end] == expected


def test_places_are_in_bytes_after_what_is_before_the_text():
    text = Text("f", "ü\nA=é", 3)
    [line] = [one for one in env_lines(Text("f", "X=ü\nA=é", 3)) if one.name == "A"]
    assert (line.span.line, line.span.start, line.span.end) == (2, 3 + 7, 3 + 9)
    assert text.span(0, 1).start == 3


def test_a_part_that_is_written_otherwise_has_the_place_of_the_whole():
    text = Text("f", "abc")
    piece = Piece("X", "abc", text, 0, 3)
    assert (piece.part("b").start, piece.part("z").start, piece.part("z").raw) == (1, 0, "z")


def test_a_text_is_expanded_as_far_as_it_is_literal():
    where = scope("A=1")
    assert expand("x-$A-${B}-${C:-d}", where) == "x-1--d"


@pytest.mark.parametrize(
    ("text", "value", "secrets", "has"),
    [
        ("secret", "secret", [(0, 6)], True),
        ("plain", "secret", [(0, 6)], False),
        ("", "secret", [(0, 6)], False),
        ("sec${X}", "secret", [(0, 6)], True),
        ("url://${P}@db", "url://secret@db", [(6, 12)], False),
        ("url://se${P}@db", "url://secret@db", [(6, 12)], True),
        ("url://${P}et@db", "url://secret@db", [(6, 12)], True),
        ("${A}${B}", "secret", [(0, 6)], False),
        ("${A}-${B}", "a-b", [(0, 3)], True),
        # Another file overrides it.
        ("secr-old${X}", "other", [(0, 5)], False),
        ("xx${X}oth", "other", [(0, 5)], True),
        ("xx${X}", "other", [(0, 5)], False),
    ],
)
def test_whether_a_source_has_a_part_of_a_secret(text, value, secrets, has):
    assert has_part(Source(COMPOSE, "X", Span("f", 1, 0, 9), text), value, secrets) is has


@pytest.mark.parametrize(
    ("text", "value", "style", "converted"),
    [
        ("0x1F", "31", "", True),
        ("2024-01-01", "2024-01-01T00:00:00Z", "", True),
        ("31", "31", "", False),
        ("0x1F", "31", "'", False),
        ("word", "other", "", False),
    ],
)
def test_a_number_may_have_another_form_in_compose(text, value, style, converted):
    assert is_converted(Source(COMPOSE, "X", Span("f", 1, 0, 9, style), text), value) is converted
    assert not is_converted(Source(SHELL, "X", None, text), value)
