"""A template that exceeds a limit is rejected with file and line, always at the same step."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import nodes

from lessee.core.errors import FormatError, TemplateError
from lessee.core.paths import Folder
from lessee.core.secrets import Secret
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.sandbox.bounds import ITEMS, TEXT
from lessee.rendering.sandbox.parser import MAX_CHARACTERS, MAX_TOKENS
from lessee.rendering.sandbox.step_counter import _steps
from lessee.rendering.serialization import content, text
from lessee.rendering.templates import Compiler, Renderer
from support.inputs.template_bombs import (
    BOMBS,
    DATA,
    DIGITS,
    ENDS,
    HOARDING,
    LARGE,
    LISTED,
    LOOPS,
    NESTED,
    STEPPED,
    WIDE,
    often,
)
from support.models.sandbox import SPACE, error_of, file, parts, value


@pytest.mark.parametrize(
    ("error", "bomb"),
    [
        pytest.param(error, bomb, marks=[pytest.mark.long] if error == STEPPED else [])
        for error, bombs in BOMBS.items()
        for bomb in bombs
    ],
)
def test_a_bomb_is_rejected_by_file_and_line(error, bomb):
    found = error_of("\n" + bomb, DATA, **{"in": ""})
    assert error in found
    assert found.startswith(("app.j2:", "in.j2:1: "))
    assert "z" * 50 not in found


def test_a_bomb_in_an_included_or_called_template_is_reported_with_its_line():
    files = {"in": "\n\n{% macro m() %}\n" + LOOPS + ENDS + "{% endmacro %}"}
    assert error_of("{% from 'in.j2' import m %}{{ m() }}", **files) == f"in.j2:4: {STEPPED}"
    assert error_of("{% include 'bomb.j2' %}", bomb="\n" + LOOPS + ENDS) == f"bomb.j2:2: {STEPPED}"


# Each of these would take gigabytes or hours.

IN_A_PROCESS_OF_ITS_OWN = """
import json, resource, sys
from support.models.sandbox import document
from lessee.core.errors import TemplateError

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))

bombs, data = json.load(sys.stdin)
document("{{ [1]|yaml }}")
before = peak()
errors = []
for bomb in bombs:
    try:
        document(bomb, data, **{"in": ""})
    except TemplateError as exc:
        errors.append(str(exc))
json.dump([len(errors), peak() - before], sys.stdout)
"""


@pytest.mark.long
def test_all_bombs_together_use_less_than_128_mib():
    bombs = [*HOARDING, *(bomb for error in (LARGE, LISTED, DIGITS, WIDE, NESTED) for bomb in BOMBS[error])]
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


@pytest.mark.no_cover
def test_a_bomb_ends_at_the_same_step_each_time_and_the_next_template_has_its_own_limit():
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
        assert renderer.render(fine).parts == (Placeholder(1, "an expression"),)


# What people write is far within.


@pytest.mark.no_cover
def test_a_thousand_secrets_with_twenty_keys_each_are_within_the_limits():
    data = {f"KEY_{n}": f"value {n}" for n in range(20)}
    folder = {f"S{n}": Secret(data) for n in range(1000)}
    each = "{% for k, v in s.items() %}{{ name }}_{{ k }}={{ v }}\n{% endfor %}"
    loop = f'{{% for name, s in secrets("f/").items() %}}{each}{{% endfor %}}'
    compiled = Compiler({"a": loop}.__getitem__, SPACE).compile("a")
    found = Renderer(SPACE, {}, {Folder("secret", "f/"): folder}, {}, {}).render(compiled)
    assert content(found, "text").count(b"\n") == 20_000


@pytest.mark.no_cover
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
def test_large_results_within_the_limits_are_allowed(expression, expected):
    assert value(expression) == expected


def test_a_file_of_8_mib_is_written_and_no_byte_more():
    most = "{% set a = 'x' * 4194304 %}{{ a }}{{ a }}"
    assert len(file(most, "text")) == TEXT
    assert error_of(most + "y") == f"app.j2:1: {LARGE}"


def test_templates_include_each_other_twenty_deep():
    files = {f"t{n}": f"{n}{{% include 't{n + 1}.j2' %}}" for n in range(1, 18)} | {"t18": "end"}
    assert parts("{% include 't1.j2' %}", **files) == ["".join(map(str, range(1, 18))) + "end"]
    tree = "{% if n is not defined or n > 0 %}{% set n = (n|default(6)) - 1 %}<{% include 'tree.j2' %}>{% endif %}"
    assert parts("{% include 'tree.j2' %}", tree=tree) == ["<<<<<<>>>>>>"]


# Before a template runs.


def test_a_long_template_is_rejected():
    assert error_of("x" * MAX_CHARACTERS).startswith(
        "app.j2:1: a template has at most 1,048,576 characters; move parts"
    )
    assert len(parts("x" * (MAX_CHARACTERS - 100))[0]) == MAX_CHARACTERS - 100


def test_a_template_with_too_many_tokens_is_rejected_at_the_line_of_the_first_excess_token():
    error = error_of("{{ 1 }}\n" * (MAX_TOKENS // 4))
    assert error == "app.j2:12498: a template's tags have at most 50,000 tokens"
    first_of_its_line = error_of("{{ - 1 + 1 }}\n" + "{{ 1 }}\n" * (MAX_TOKENS // 4))
    assert first_of_its_line == "app.j2:12498: a template's tags have at most 50,000 tokens"
    assert len(parts("{{ 1 }}\n" * (MAX_TOKENS // 4 - 4))) == 2 * (MAX_TOKENS // 4 - 4)


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
def test_deep_nesting_is_rejected_at_its_line(expression):
    error = error_of("\n{{ " + expression + " }}\n\n{{ 1 }}\n")
    assert (
        error == "app.j2:2: the expression is nested more than 100 levels deep; assign a part of it to a variable first"
    )


def test_an_arithmetic_operation_costs_as_much_as_a_concatenation():
    one = nodes.Const(1)
    assert [_steps(kind(one, one)) for kind in (nodes.Add, nodes.Mul, nodes.Pow)] == [12] * 3
    assert _steps(nodes.Concat([one, one])) == 12


def test_blocks_nested_deeply_are_rejected():
    assert "nested" in error_of("{% if 1 %}" * 1000 + "{% endif %}" * 1000)


@pytest.mark.parametrize("depth", [1, 10, 40, 60, 90])
def test_shallow_nesting_is_rendered(depth):
    assert value("1" + " + 1" * depth) == depth + 1
    assert value("'a'" + "|upper|lower" * (depth // 2)) == "a"


def test_a_part_that_is_too_long_for_python_is_rejected():
    branches = "".join(f"{{% elif s.x == {n} %}}" for n in range(6000))
    error = error_of("{% if s.x == 'a' %}" + branches + "{% endif %}", {"x": "y"})
    assert error.startswith("app.j2: a part of the template is too long; split it")


def test_constants_are_not_evaluated_during_compilation():
    branch = (
        "{% if false %}{{ 'A' * 400000000 }}{{ 9 ** (9 ** 9) }}{{ '%1000000000d' % 1 }}{{ [0] * 10 ** 9 }}{% endif %}"
    )
    assert parts(branch) == []


# A file whose structure is verified.


def large(*pieces):
    return Document(
        "a.j2", tuple(Placeholder(piece[0], "a: x") if isinstance(piece, list) else piece for piece in pieces)
    )


@pytest.mark.parametrize("name", ["dotenv", "json", "yaml"])
@pytest.mark.parametrize(
    ("content", "what"),
    [
        (large(["x" * 524_289]), "524,288 bytes"),
        (large("x" * 524_288, ["x"]), "524,288 bytes"),
        (large(["é" * 262_144], "x"), "524,288 bytes"),
        (large([{"a": ["\ud800" * 174_763]}]), "524,288 bytes"),
        (large([[10**4000] * 200]), "524,288 bytes"),
        (large(*[["x"]] * 10_001), "10,000 values"),
        (large("[" * 50_000 + "]" * 50_001), "100,000 words"),
        (large("a\n" * 50_001), "100,000 words"),
        (large([[[]] * 50_001 + [{"a": 1}] * 50_000]), "100,000 words"),
        (Document("a.j2", (Placeholder("[" + "1," * 50_000 + "1]", "a: x", structure=True),)), "100,000 words"),
    ],
    ids=range(10),
)
def test_a_file_that_is_too_large_to_be_verified_is_rejected(name, content, what):
    with pytest.raises(FormatError) as caught:
        text(content, name)
    assert str(caught.value) == (
        f"a.j2: a file with a verified structure has at most {what}; split it into several files, or use `format: text`"
    )


def test_the_size_limit_counts_bytes():
    content = large('{"a": ', ["é" * 200_000], ', "b": ', [["ü" * 30_000]], ', "c": ', ["𝄞" * 10_000], "}")
    assert json.loads(text(content, "json"))["a"] == "é" * 200_000


def test_a_large_file_within_bounds_is_verified():
    content = large('{"a": "', ["x" * 300_000], '", "b": ["', "word " * 40_000, '"]}')
    assert len(json.loads(text(content, "json"))["b"][0]) == 200_000
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


@pytest.mark.long
@given(grown, st.integers(1, 12))
def test_growing_results_stay_within_the_limits_or_are_rejected(expression, times):
    loop = f"{{% set ns.a = [ns.a, {expression}] %}}"
    template = f"{{% set ns = namespace(a=[]) %}}{often(loop, times)}{{{{ ns.a|length }}}}{{{{ {expression} }}}}"
    try:
        error = json.dumps(parts(template, {"x": "xx"}))
    except TemplateError as exc:
        error = str(exc)
    assert len(error) < 6 * TEXT
