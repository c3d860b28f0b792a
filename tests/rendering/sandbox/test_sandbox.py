"""The results of expressions: values stay values, functions cannot be written, and Jinja's helpers work."""

import pytest

from lessee.core.errors import TemplateError
from support.models.sandbox import error_of, parts, value


def rendered(text, **data):
    """The values and texts of a template's output."""
    return [part if isinstance(part, str) else part[0] for part in parts(text, data)]


def test_a_function_is_not_a_value():
    assert error_of("{{ s.items }}", {"x": "y"}) == (
        'app.j2:1: the expression is a function, not a value; use secret("…")["name"] for a key of that name'
    )


@pytest.mark.parametrize("expression", ["namespace()", "joiner", "s.x.split", "cycler('a')", "s.keys", "range", "loop"])
def test_objects_that_are_not_data_cannot_be_written(expression):
    text = "{% for x in [1] %}{{ " + expression + " }}{% endfor %}"
    assert error_of(text, {"x": "y"}).startswith(("app.j2:1: the expression is a function", "app.j2:1: a "))


def test_a_secret_is_not_text():
    for expression in ("s ~ ''", "s|string", "s|upper", "'%s'|format(s)", "[s]|join", "s.x ~ s.deep", "'%s' % s"):
        error = error_of("{{ " + expression + " }}", {"x": "y", "deep": {"z": 1}})
        assert error.endswith(" is a mapping, not text; name one of its keys, or add `| json`")


def test_a_missing_macro_argument_is_named():
    error = error_of("{% macro m(host) %}{{ host }}{% endmacro %}{{ m() }}")
    assert error == "app.j2:1: undefined variable: 'host'"


def test_errors_never_contain_pythons_message():
    for expression in (
        "s.x()",
        "1 / 0",
        "'a' - 1",
        "'a' < 1",
        "['a', 1]|sort",
        "'a'|int + 'b'",
        "dict('ab')",
        "[1][:'a']",
    ):
        assert error_of("{{ " + expression + " }}", {"x": "y"}).startswith("app.j2:1: an expression failed (")


# Jinja's own helpers.


def test_cycler_joiner_and_namespace_work():
    assert rendered("{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}") == [
        "a", "b", "a", None,
    ]  # fmt: skip
    assert rendered("{% set j = joiner(',') %}{{ j() }}{{ j() }}") == ["", ","]
    text = (
        "{% set ns = namespace(n=0) %}{% for x in [1, 2] %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.n }}{{ ns['n'] }}"
    )
    assert rendered(text) == [3, 3]
    assert "a Namespace has no such key: 'nope'" in error_of("{{ namespace().nope }}")


def test_loop_variables_work():
    text = (
        "{% for x in 'abc' %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.length }}{{ loop.first }}"
        "{{ loop.last }}{{ loop.cycle('p', 'q') }}{{ loop.changed(1) }}{{ loop.depth }}"
        "{{ loop.previtem|default('none') }}{{ loop.nextitem|default('none') }};{% endfor %}"
    )
    assert rendered(text) == [
        1, 0, 3, 3, True, False, "p", True, 1, "none", "b", ";",
        2, 1, 2, 3, False, False, "q", False, 1, "a", "c", ";",
        3, 2, 1, 3, False, True, "p", False, 1, "b", "none", ";",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{% for x in [1, 2, 3] if x != 2 %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% endfor %}", "1/2:1 2/2:3 "),
        ("{% for x in [] %}{% else %}none{% endfor %}", "none"),
        ("{% for x in [1] if x > 1 %}{% else %}none{% endfor %}", "none"),
        ("{% for x in [1, [2, [3]]] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}", "123"),
        ("{% for x in [[1], [2]] recursive %}{{ loop.depth }}{{ loop(x) if x is iterable }}{% endfor %}", "1212"),
        ("{% for a, b in {'k': 'v'}.items() %}{{ a }}{{ b }}{% endfor %}", "kv"),
        ("{% set a, b = 1, 2 %}{{ a }}{{ b }}", "12"),
        ("{% macro m(a, b='x', c=[1]) %}{{ a }}{{ b }}{{ c|join }}{% endmacro %}{{ m(1) }}{{ m(1, c=[]) }}", "1x11x"),
        ("{% macro m() %}{{ varargs|join }}{{ kwargs|dictsort|first|first }}{% endmacro %}{{ m(1, 2, k=3) }}", "12k"),
        ("{% macro m() %}<{{ caller(1) }}>{% endmacro %}{% call(x) m() %}{{ x }}{% endcall %}", "<1>"),
        ("{% block a %}1{% endblock %}{{ self.a() }}", "11"),
        ("{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}", "3"),
        ("{% if s.x == 'y' and s.x != 'z' %}a{% elif false %}b{% else %}c{% endif %}", "a"),
        ("{% if 1 < 2 < 3 and 'y' in s.x and 2 not in [1] %}a{% endif %}", "a"),
        ("{{ s.x[0] }}{{ 'abc'[1:] }}{{ [1, 2, 3][::2]|join }}{{ (1, 2)[0] }}", "ybc131"),
        ("{{ {'a': {'b': 1}}.a.b }}{{ {'a': 1}['a'] }}{{ [[1]][0][0] }}", "111"),
        ("{% set x %}a{{ s.x }}{% endset %}{{ x }}", "ay"),
        ("{% from 'in.j2' import m, v as w %}{{ m() }}{{ w }}{% import 'in.j2' as i %}{{ i.m() }}{{ i['v'] }}", "m1m1"),
        ("{% include 'in.j2' %}{% include 'in.j2' without context %}", ""),
    ],
)  # fmt: skip
def test_statements_work_as_in_jinja(text, expected):
    found = parts(text, {"x": "y"}, **{"in": "{% macro m() %}m{% endmacro %}{% set v = 1 %}"})
    assert "".join(str(part[0]) if isinstance(part, list) else part for part in found) == expected


def test_blocks_can_use_their_parent_blocks():
    base = "{% block a %}base{% endblock %}"
    middle = '{% extends "base.j2" %}{% block a %}middle-{{ super() }}{% endblock %}'
    top = '{% extends "middle.j2" %}{% block a %}top-{{ super.super() }}-{{ super() }}{% endblock %}'
    assert parts(top, base=base, middle=middle) == ["top-base-middle-base"]


def test_iterators_become_lists_immediately():
    assert value("'ab'|map('upper')") == ["A", "B"]
    assert value("{'a': 1}.items()") == [["a", 1]]
    assert value("range(3)") == [0, 1, 2]


def test_a_mapping_s_key_is_found_before_python_s_word():
    text = "{% set d = {'copy': 1, 'update': 2} %}{{ d.copy }}{{ d.update }}{{ s.pop }}{{ s.popitem }}"
    assert rendered(text, pop="p", popitem="q") == [1, 2, "p", "q"]


@pytest.mark.parametrize(
    "expression", ["{}.nope", "{}['nope']", "{}[[1]]", "[1][1]", "[1]['x']", "'a'[1]", "(1).x", "none.x"]
)
def test_a_missing_name_can_be_tested_but_not_written(expression):
    assert value(f"({expression}) is undefined") is True
    assert value(f"({expression})|default('d')") == "d"
    assert " has no such key: " in error_of("{{ " + expression + " }}")


def test_an_undefined_condition_without_else_is_empty():
    assert parts("a{{ 'x' if false }}b") == ["ab"]
    for expression in ("('x' if false).y", "('x' if false)['y']", "('x' if false)[0]"):
        assert " has no such key: " in error_of("{{ " + expression + " }}")


def test_a_private_use_character_is_a_value():
    odd = "\ue000\ue00a\ue001\ufdd0\0\x7f\u2028"
    assert rendered("{{ s.x }}{{ s.x|replace('q', '') }}{% set b %}{{ s.x }}{% endset %}{{ b }}", x=odd) == [odd] * 3


def test_a_macro_s_text_with_values_has_no_part_and_no_attribute():
    text = "{% set b %}a{{ s.x }}{% endset %}"
    for expression in ("b[0]", "b.upper()", "b['x']", "-b", "b[1:]"):
        with pytest.raises(TemplateError, match=r"^app\.j2:1: "):
            parts(text + "{{ " + expression + " }}", {"x": "y"})


def test_an_empty_macro_is_an_empty_text():
    assert parts("{% macro m() %}{% endmacro %}{{ m() }}|") == ["|"]


def test_fractions_have_powers():
    assert value("1.5 ** 2") == 2.25
