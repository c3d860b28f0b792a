"""A template that would not end, or not fit, is refused by file and line, and always at the same step."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.errors import FormatError, TemplateError
from lessee.core.paths import Folder
from lessee.core.rendering.bounds import ITEMS, TEXT
from lessee.core.rendering.document import Document, Hole
from lessee.core.rendering.parsing import LONGEST, TOKENS
from lessee.core.rendering.templates import Compiler, Renderer
from lessee.core.rendering.written import content, text
from lessee.core.secrets import Secret
from sandboxed import SPACE, file, parts, refusal, value

STEPPED = "the template takes more than 2,000,000 steps; loop over less, or make several files of it"
LARGE = "the template makes more than 8 MiB; make less, or several files of it"
LISTED = "the template makes a list of more than 100,000 items; make less of them"
DIGITS = "the template makes a number of more than 4,300 digits; use a string"
WIDE = "an argument asks for more than 1,000 characters; ask for fewer"
NESTED = "lists or mappings lie in each other more than 100 levels deep; make them flatter"
UNREACHED = "no template may reach this"

NS = "{% set ns = namespace(a='x' * 1000, l=[1], t=(1,), d={}, n=1) %}"
LOOPS = "{% for i in range(100000) %}{% for j in range(100000) %}{% for k in range(100000) %}"
ENDS = "{% endfor %}{% endfor %}{% endfor %}"


def often(body, times=100_000):
    return f"{{% for i in range({times}) %}}{body}{{% endfor %}}"


ENDLESS = [
    LOOPS + ENDS,
    LOOPS + "{{ i }}" + ENDS,
    LOOPS + "{% if i is defined and i is odd %}{% endif %}" + ENDS,
    LOOPS + "{% set a = 'a' ~ i %}" + ENDS,
    LOOPS + "{% set a = s.x.upper() %}" + ENDS,
    LOOPS + "{% set a = [1, 2]|map('string') %}" + ENDS,
    "{% for i in range(100000) %}{% for j in range(100000) if j == 'a' %}{% endfor %}{% endfor %}",
    "{% set l = [0] * 100000 %}{% for i in l %}{% for j in l if false %}{% endfor %}{% endfor %}",
    "{% for i in range(100000) if i in [" + "1.5," * 9000 + "] %}{% endfor %}",
    "{% for c in 'x' * 8000000 %}{{ loop.length }}{% endfor %}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(100) }}",
    "{% for x in range(10) recursive %}{% if loop.depth < 50 %}{{ loop(range(10)) }}{% endif %}{% endfor %}",
    "{% macro m(a=[" + "1," * 9000 + "]) %}{% endmacro %}" + often("{{ m() }}"),
    "{% macro m() %}{{ varargs|length }}{% endmacro %}{% set l = range(10000) %}" + often("{{ m(*l) }}"),
    "{% macro m() %}{{ kwargs|length }}{% endmacro %}{% set d = {'a': 1, 'b': 2, 'c': 3} %}" + often("{{ m(**d) }}"),
    often("{{ cycler(*range(10000)).next() }}"),
    often("{% include 'in.j2' %}"),
    often("{% import 'in.j2' as i with context %}"),
    "".join(f"{{% set v{n} = 1 %}}" for n in range(2000)) + often("{% block b scoped %}{% endblock %}"),
    "{% set b = 'x' * 8000000 %}" + often("{% set a = b[1:] %}"),
    "{% set b = 'x' * 8000000 %}{% set c = 'x' * 7999999 ~ 'x' %}" + often("{% if b == c %}{% endif %}"),
    "{% set b = 'x' * 8000000 %}" + often("{% if 'xxy' in b %}{% endif %}"),
    "{% set b = 'x' * 8000000 %}" + often("{% set a = b.find('y') %}"),
    often("{% set a = s.big %}"),
    often("{% set a = s.many %}"),
    often("{% for k, v in s.items() %}{% endfor %}"),
    often("{% set a = ('a ' * 40000)|title %}"),
    often("{% set a = ('a\n' * 40000)|indent(1) %}"),
    often("{% set a = ('%(a)s' * 5000) % {'a': 1} %}"),
    often("{% set a = ('{0}' * 5000).format(1) %}"),
    often("{% set a = ('x' * 1000000)|sha256 %}"),
    often("{% set a = ('[' ~ '{\"a\": 1},' * 1000 ~ '1]')|fromjson %}"),
    often("{% set a = range(1000)|yaml %}"),
    often("{% set a = {'a': 1, 'b': 2}|dotenv %}"),
    often("{% set a = range(1000)|sort %}"),
    often("{% set a = [{'a': 1}]|groupby('a') %}"),
    often("{% set a = range(100)|select('odd') %}"),
]
HOARDING = [
    "{% set a = ['x' * 800000, 'x' * 799999 ~ 'x'] * 1000 %}{{ a|sort|length }}",
    "{% set a = ['x' * 800000] * 1000 %}{{ a|unique|length }}",
    "{% set a = ['x' * 8000000] * 1000 %}{{ ('x' * 7999999 ~ 'x') in a }}",
    "{% set a = ['x' * 8000000] * 1000 %}{{ a.count('y') }}",
    "{% set a = ['x' * 8000000] * 1000 %}{{ a|map('upper')|length }}",
    "{{ range(100000)|map(attribute='a.' * 4000, default=1) }}",
    "{{ ('[' ~ '[],' * 2000000 ~ '1]')|fromjson }}",
    NS + often("{% set ns.l = [ns.l, 'A' * 8000 ~ i] %}"),
    NS + often("{% set ns.l = [ns.l, '😀' * 2000 ~ i] %}"),
    NS + "{% set b = 'ab ' * 33000 %}" + often("{% set ns.l = [ns.l, b.split()] %}"),
    NS + often("{% set ns.l = [ns.l, range(1000, 101000)] %}"),
    NS + often("{% set ns.l = ns.l + [i] %}"),
    NS + often("{% set ns.l = [ns.l, ns.l] %}", 100) + "{{ ns.l }}",
    NS + often("{% set ns.l = [ns.l, ns.l] %}", 100) + "{{ ns.l|json }}",
    NS + often("{% set ns.l = [ns.l, ns.l] %}{% set ns.t = [ns.t, ns.t] %}", 100) + "{{ ns.l == ns.t }}",
    NS + often("{% set ns.d = {'a': ns.d, 'b': ns.d} %}", 100) + "{{ ns.d|yaml }}",
    NS + often("{% set ns.t = (ns.t, ns.t) %}", 100) + "{{ {}.get(ns.t) }}",
    NS + often("{% set ns.t = (ns.t, ns.t) %}", 100) + "{{ [ns.t]|unique }}",
    NS + often("{% set ns.t = (ns.t, ns.t) %}", 100) + "{{ dict([[ns.t, 1]]) }}",
    "{% macro m() %}" + LOOPS + "{{ s.x }}" + ENDS + "{% endmacro %}{{ m() }}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{% else %}"
    + often("{{ s.x }}", 20_000)
    + "{% endif %}{% endmacro %}{{ m(100) }}",
]
BOMBS = {
    STEPPED: [*ENDLESS, *HOARDING],
    LARGE: [
        "{{ 'A' * 400000000 }}",
        "{{ ('A' * 1000) * 1000000 }}",
        "{{ 3 * ('é' * 1000000) }}",
        NS + often("{% set ns.a = ns.a ~ ns.a %}"),
        NS + often("{% set ns.a = ns.a + ns.a %}"),
        "{% set a = 'x' * 3000000 %}{{ [a, a, a]|join }}",
        "{% set a = 'x' * 40000 %}{{ '%s' * 250 % a }}{{ ('%(a)s' * 250) % {'a': a} }}",
        "{% set a = 'x' * 4000000 %}{{ '{0}{0}{0}'.format(a) }}",
        NS + often("{% set ns.a = ns.a|replace('x', 'xx') %}"),
        NS + often("{% set b %}{{ ns.a }}{{ ns.a }}{% endset %}{% set ns.a = b %}"),
        "{% macro m(x) %}{{ x }}{{ x }}{% endmacro %}{% set ns = namespace(a=s.big) %}"
        + often("{% set ns.a = m(ns.a) %}"),
        "{{ ('x' * 8000000)|replace('x', 'xxxx') }}",
        "{{ ('x' * 8000000).replace('', 'x' * 80, 8000000) }}",
        "{{ ('x' * 8000000).join(['a', 'b', 'c']) }}",
        "{{ range(1000)|join('x' * 9000) }}",
        "{{ ('a\n' * 4000)|indent(' ' * 8000) }}",
        "{{ '%1000d' * 10000 % 1 }}",
        "{{ ('%(a)1000d' * 10000) % {'a': 1} }}",
        "{{ ('{0:1000}' * 10000).format(1) }}",
        "{{ ('ΐ' * 2000000)|upper }}",
        "{{ ('é' * 2000000)|urlencode }}",
        "{{ (\"'\" * 3000000)|sh }}",
        "{% set b = 'x' * 8000000 %}{{ b }}{{ b }}",
        "{% set b = 'x' * 80000 %}" + often("{{ b }}"),
        "{% set b = 'x' * 80000 %}{% macro m(b) %}{{ b }}{% endmacro %}" + often("{{ m(b) }}"),
        often("x" * 50_000),
        often("{{ s.big }}"),
        "{{ (s.binary|b64decode) * 1000000000 }}",
    ],
    LISTED: [
        "{{ range(100001) }}",
        "{{ range(10 ** 30) }}",
        "{{ [0] * 10 ** 9 }}",
        "{{ 10 ** 9 * (0,) }}",
        NS + often("{% set ns.l = ns.l + ns.l %}"),
        "{{ [1]|batch(1000000000, 0) }}",
        "{{ [1]|slice(1000000000) }}",
        "{{ ('x' * 8000000)|list }}",
        "{{ ('x' * 100001)|map('upper') }}",
        "{{ ('x' * 100001)|sort }}",
        "{{ ('a ' * 4000000).split() }}",
        "{{ ('a,' * 4000000).split(',') }}",
        "{{ ('a,' * 4000000).rsplit(',') }}",
        "{{ ('a\n' * 4000000).splitlines() }}",
        "{{ ('\u2028' * 2000000).splitlines() }}",
        "{{ ('a ' * 60000)|wordcount }}",
        "{{ ('a ' * 60000)|title }}",
        "{{ ('\n' * 100001)|indent(1) }}",
        "{{ ','.join('x' * 8000000) }}",
        "{{ ('%d' * 100001) % 1 }}",
        "{{ range(100000)|list + [1] }}",
    ],
    DIGITS: [
        "{{ 9 ** (9 ** 9) }}",
        "{{ 2 ** 100000000 }}",
        "{{ 10 ** 4000 * 10 ** 4000 }}",
        NS + often("{% set ns.n = ns.n * (i + 1) %}"),
        NS + often("{% set ns.n = ns.n + ns.n %}"),
        "{{ ('f' * 8000000)|int(0, 16) }}",
    ],
    WIDE: [
        "{{ '%1000000000d' % 1 }}",
        "{{ '%.1000000000f' % 1 }}",
        "{{ '%*d' % (1000000000, 1) }}",
        "{{ '%.*f' % (1000000000, 1) }}",
        "{{ '%1001d'|format(1) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{:{}}'.format(1, 1000000000) }}",
        "{{ '{:.1001f}'.format(1.5) }}",
        "{{ 'a'|indent(1000000000) }}",
        "{{ 5|round(-1000000000) }}",
        "{{ 5.5|round(1000000000, 'ceil') }}",
        "{{ ('a' * 1000000).strip('b' * 1000000 ~ 'a') }}",
        "{{ 'a'.lstrip('b' * 1001) }}{{ 1 }}",
        "{{ 'a'.rstrip('b' * 1001) }}",
        "{{ 'a'|trim('b' * 1001) }}",
    ],
    NESTED: [
        NS + often("{% set ns.l = [ns.l] %}", 30_000) + "{{ ns.l }}",
        NS + often("{% set ns.l = [ns.l] %}", 30_000) + "{{ ns.l|json }}",
        NS + often("{% set ns.d = {'a': ns.d} %}", 30_000) + "{{ ns.d|yaml }}",
        NS + often("{% set ns.t = (ns.t,) %}", 30_000) + "{{ {}.get(ns.t) }}",
        NS + often("{% set ns.l = [ns.l] %}", 30_000) + "{{ ns.l is eq 1 }}",
        "{{ ('[' * 200 ~ ']' * 200)|fromjson }}",
    ],
    UNREACHED: [f"{{{{ 'a'.{word}(10) }}}}" for word in ("center", "encode", "expandtabs", "ljust", "zfill")],
    "this takes a number; add `| int` or `| float`": ["{{ '%99999999d' is odd }}", "{{ '%99d' is divisibleby(1) }}"],
    "this is binary; add `| b64encode`": ["{{ (s.binary|b64decode) % 1 }}"],
    "an argument has more than 10,000 characters; make it shorter": [
        "{{ range(1000)|map(attribute='a.' * 10000) }}",
        "{{ [1]|sort(attribute='a,' * 10000) }}",
        "{{ [1]|groupby('a.' * 10000) }}",
    ],
    "templates take in each other more than 20 levels deep; let none take in itself": [
        "{% include 'app.j2' %}",
        "{% include 'app.j2' %}{% include 'app.j2' %}",
        "{% import 'app.j2' as a %}",
        "{% extends 'app.j2' %}",
        "{% from 'app.j2' import a with context %}",
    ],
    "a macro, a block or a loop calls itself without an end; give it an end": [
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m(n) %}{{ m(n + 1) }}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{% block b %}{{ self.b() }}{% endblock %}",
        "{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{{ m() }}",
    ],
}  # fmt: skip
DATA = {
    "x": "y" * 30,
    "big": "z" * 700_000,
    "many": ["w" * 100] * 1000,
    "binary": "/w==",
}


@pytest.mark.parametrize(("said", "bomb"), [(said, bomb) for said, bombs in BOMBS.items() for bomb in bombs])
def test_a_bomb_is_refused_by_file_and_line(said, bomb):
    found = refusal("\n" + bomb, DATA, **{"in": ""})
    assert said in found
    assert found.startswith(("app.j2:", "in.j2:1: "))
    assert "z" * 50 not in found


def test_a_bomb_within_what_is_taken_in_or_called_is_told_where_it_is():
    files = {"in": "\n\n{% macro m() %}\n" + LOOPS + ENDS + "{% endmacro %}"}
    assert refusal("{% from 'in.j2' import m %}{{ m() }}", **files) == f"in.j2:4: {STEPPED}"
    assert refusal("{% include 'bomb.j2' %}", bomb="\n" + LOOPS + ENDS) == f"bomb.j2:2: {STEPPED}"


# Each of these would take gigabytes or hours.

IN_A_PROCESS_OF_ITS_OWN = """
import json, resource, sys
from sandboxed import document
from lessee.core.errors import TemplateError

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))

bombs, data = json.load(sys.stdin)
document("{{ [1]|yaml }}")
before = peak()
said = []
for bomb in bombs:
    try:
        document(bomb, data, **{"in": ""})
    except TemplateError as exc:
        said.append(str(exc))
json.dump([len(said), peak() - before], sys.stdout)
"""


def test_all_bombs_that_make_something_take_less_than_128_mib():
    bombs = [*HOARDING, *(bomb for said in (LARGE, LISTED, DIGITS, WIDE, NESTED) for bomb in BOMBS[said])]
    run = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS_OF_ITS_OWN],
        env={"PYTHONPATH": ":".join(sys.path)},
        input=json.dumps([bombs, DATA]),
        capture_output=True,
        text=True,
        check=True,
    )
    refused, kibibytes = json.loads(run.stdout)
    assert refused == len(bombs)
    assert kibibytes < 128 * 1024


def test_a_bomb_ends_at_the_same_step_each_time_and_the_next_template_has_all_its_own():
    templates = {
        "bomb.j2": "{% set n = namespace(i=0) %}" + often("{% set n.i = i %}" * 9) + "{{ n.i }}",
        "fine.j2": "{{ 1 }}",
    }
    compiler = Compiler(templates.__getitem__, SPACE)
    renderer = Renderer(SPACE, {}, {}, {}, {})
    bomb, fine = compiler.compile("bomb.j2"), compiler.compile("fine.j2")
    for _ in range(2):
        with pytest.raises(TemplateError, match="steps"):
            renderer.render(bomb)
        assert renderer.render(fine).parts == (Hole(1, "an expression"),)


# What people write is far within.


def test_a_thousand_secrets_with_twenty_keys_each_are_no_bomb():
    data = {f"KEY_{n}": f"value {n}" for n in range(20)}
    folder = {f"S{n}": Secret(data) for n in range(1000)}
    each = "{% for k, v in s.items() %}{{ name }}_{{ k }}={{ v }}\n{% endfor %}"
    loop = f'{{% for name, s in secrets("f/").items() %}}{each}{{% endfor %}}'
    made = Compiler({"a": loop}.__getitem__, SPACE).compile("a")
    found = Renderer(SPACE, {}, {Folder("secret", "f/"): folder}, {}, {}).render(made)
    assert content(found, "text").count(b"\n") == 20_000


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("('A' * 8000000)|length", 8_000_000),
        ("range(100000)|length", ITEMS),
        ("(10 ** 4000)|string|length", 4001),
        ("('%1000d' % 1)|length", 1000),
        ("('x' * 1000000)|upper|replace('X', 'yy')|length", 2_000_000),
        ("(('a' * 60 ~ '\n') * 10000)|indent(8)|length", 689_992),
        ("range(10000)|map('string')|join(',')|length", 48_889),
        ("(range(10000)|json|fromjson)|length", 10_000),
    ],
)
def test_what_is_large_but_within_bounds_is_made(expression, expected):
    assert value(expression) == expected


def test_a_file_of_8_mib_is_written_and_no_byte_more():
    most = "{% set a = 'x' * 4194304 %}{{ a }}{{ a }}"
    assert len(file(most, "text")) == TEXT
    assert refusal(most + "y") == f"app.j2:1: {LARGE}"


def test_templates_take_in_each_other_twenty_deep():
    files = {f"t{n}": f"{n}{{% include 't{n + 1}.j2' %}}" for n in range(1, 18)} | {"t18": "end"}
    assert parts("{% include 't1.j2' %}", **files) == ["".join(map(str, range(1, 18))) + "end"]
    tree = "{% if n is not defined or n > 0 %}{% set n = (n|default(6)) - 1 %}<{% include 'tree.j2' %}>{% endif %}"
    assert parts("{% include 'tree.j2' %}", tree=tree) == ["<<<<<<>>>>>>"]


# Before a template runs.


def test_a_long_template_is_refused():
    assert refusal("x" * LONGEST).startswith("app.j2:1: a template has no more than 1,048,576 characters; take parts")
    assert len(parts("x" * (LONGEST - 100))[0]) == LONGEST - 100


def test_a_template_of_many_words_is_refused_at_the_line_of_the_first_that_is_too_much():
    said = refusal("{{ 1 }}\n" * (TOKENS // 4))
    assert said == "app.j2:12498: a template's tags have no more than 50,000 words and signs"
    assert len(parts("{{ 1 }}\n" * (TOKENS // 4 - 4))) == 2 * (TOKENS // 4 - 4)


@pytest.mark.parametrize(
    "expression",
    [
        "(" * 500 + "1" + ")" * 500,
        "[" * 500 + "1" + "]" * 500,
        "{'a': " * 500 + "1" + "}" * 500,
        "not " * 5000 + "1",
        "-" * 5000 + "1",
        "1" + " + 1" * 5000,
        "1" + "|abs" * 5000,
        "s" + ".x" * 5000,
        "s" + "['x']" * 5000,
        "1" + " if 1 else 1" * 1000,
        "[" * 150 + "1" + "]" * 150,
        "1" + " + 1" * 150,
        "x(" * 200 + "1" + ")" * 200,
    ],
)
def test_what_is_nested_deeply_is_refused_at_its_line(expression):
    said = refusal("\n{{ " + expression + " }}")
    assert said == "app.j2:2: this is nested more than 100 levels deep; set a part of it to a variable first"


def test_blocks_nested_deeply_are_refused():
    assert "nested" in refusal("{% if 1 %}" * 1000 + "{% endif %}" * 1000)


@pytest.mark.parametrize("depth", [1, 10, 40, 60, 90])
def test_what_is_nested_a_little_is_rendered(depth):
    assert value("1" + " + 1" * depth) == depth + 1
    assert value("'a'" + "|upper|lower" * (depth // 2)) == "a"


def test_a_part_that_is_too_long_for_python_is_refused():
    branches = "".join(f"{{% elif s.x == {n} %}}" for n in range(3000))
    said = refusal("{% if s.x == 'a' %}" + branches + "{% endif %}", {"x": "y"})
    assert said.startswith("app.j2: a part of it is too long for Python; split it")


def test_what_is_constant_is_not_made_before_it_runs():
    branch = (
        "{% if false %}{{ 'A' * 400000000 }}{{ 9 ** (9 ** 9) }}{{ '%1000000000d' % 1 }}{{ [0] * 10 ** 9 }}{% endif %}"
    )
    assert parts(branch) == []


# A file whose structure is proved.


def large(*pieces):
    return Document("a.j2", tuple(Hole(piece[0], "a: x") if isinstance(piece, list) else piece for piece in pieces))


@pytest.mark.parametrize("name", ["dotenv", "json", "yaml"])
@pytest.mark.parametrize(
    ("made", "what"),
    [
        (large(["x" * 524_289]), "524,288 bytes"),
        (large("x" * 524_288, ["x"]), "524,288 bytes"),
        (large(["é" * 300_000]), "524,288 bytes"),
        (large(*[["x"]] * 10_001), "10,000 values"),
        (large("[" * 50_000 + "]" * 50_001), "100,000 words and signs"),
        (large("a\n" * 50_001), "100,000 words and signs"),
        (large([[[]] * 50_001 + [{"a": 1}] * 50_000]), "100,000 words and signs"),
        (Document("a.j2", (Hole("[" + "1," * 50_000 + "1]", "a: x", structure=True),)), "100,000 words and signs"),
    ],
    ids=range(8),
)
def test_a_file_that_is_too_large_to_be_proved_is_refused(name, made, what):
    with pytest.raises(FormatError) as caught:
        text(made, name)
    assert str(caught.value) == (
        f"a.j2: a file whose structure is proved has no more than {what}; make several of it, or give it `format: text`"
    )


def test_a_large_file_within_bounds_is_proved():
    made = large('{"a": "', ["x" * 300_000], '", "b": ["', "word " * 40_000, '"]}')
    assert len(json.loads(text(made, "json"))["b"][0]) == 200_000
    assert len(text(large("[" * 60_000, ["x"]), "text")) == 60_001


# Whatever it is that grows.

SEEDS = ["'x' * 1000", "[1] * 1000", "7 ** 1000", "'é\n' * 999", "s.x", "range(1000)", "{'a': 'x' * 1000}", "'%s{}'"]
FILTERS = ["json", "yaml", "list", "indent(9)", "urlencode", "length", "sort"]
grown = st.recursive(
    st.sampled_from(SEEDS),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "*", "**", "%", "~", "in", "==", "<"]), inner),
        st.builds("({})|{}".format, inner, st.sampled_from(FILTERS)),
        st.builds("({})|{}({})".format, inner, st.sampled_from(["join", "batch", "format"]), inner),
        st.builds("({}).{}({})".format, inner, st.sampled_from(["replace", "join", "split", "format", "count"]), inner),
        st.builds("[{}, {}]".format, inner, inner),
    ),
    max_leaves=6,
)


@given(grown, st.integers(1, 12))
def test_whatever_grows_is_made_within_bounds_or_refused(expression, times):
    loop = f"{{% set ns.a = [ns.a, {expression}] %}}"
    template = f"{{% set ns = namespace(a=[]) %}}{often(loop, times)}{{{{ ns.a|length }}}}{{{{ {expression} }}}}"
    try:
        said = json.dumps(parts(template, {"x": "xx"}))
    except TemplateError as exc:
        said = str(exc)
    assert len(said) < 6 * TEXT
