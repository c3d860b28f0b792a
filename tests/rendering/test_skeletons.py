"""Templates that differ only in their paths share their code, and render as if each were the only one."""

import re
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.errors import TemplateError
from lessee.core.path_scope import PathScope
from lessee.core.paths import Ref
from lessee.core.secrets import Secret
from lessee.rendering.fallback.masks import mask_secrets
from lessee.rendering.sandbox.bounds import PER_STEP, STEPS
from lessee.rendering.skeletons import MAX_CHARACTERS
from lessee.rendering.templates import Compiler, Renderer
from support.models.template_library import TEMPLATES

SPACE = PathScope("kv", "production/", ("shared/",), frozenset({"testing"}), "production")
DATA = {
    "user": "simba",
    "password": "HUNTER2-c4n4ry",
    "port": 5432,
    "hosts": ["one", "two"],
    "tls": {"ca": "PEM\nPEM\n", "key": None},
    "empty": "",
    "json": '{"a": [1]}',
}


def compiled(*texts):
    """The templates t0, t1, … of one compiler."""
    compiler = Compiler(lambda name: texts[int(name[1:])], SPACE)
    return [compiler.compile(f"t{index}") for index in range(len(texts))]


def alone(name, text):
    """This template of a compiler of its own."""
    return Compiler({name: text}.__getitem__, SPACE).compile(name)


def is_shared(template):
    return template.parts[0].generated.marks is not None


def codes(*texts):
    """The number of codes that these templates have together."""
    return len({id(code.generated) for template in compiled(*texts) for code in template.parts})


def renderer(*templates):
    needs = [need for template in templates for need in template.needs]
    secrets = {need: Secret(DATA | {"path": str(need)}) for need in needs}
    folder = {"a": Secret(DATA), "b": Secret(DATA)}
    return Renderer(SPACE, secrets, dict.fromkeys(needs, folder), secrets, {"HOST": "h"})


def outcome(render, template):
    """The parts of a file, or the error."""
    try:
        return render.render(template).parts
    except TemplateError as exc:
        return str(exc)


def assert_as_if_alone(*texts):
    """The last template is the same as in a compiler of its own. Returns whether it shares its code."""
    *others, template = compiled(*texts)
    own = alone(template.name, texts[-1])
    assert template == own
    assert template.references == own.references
    assert template.words == own.words
    assert template.codes.keys() == {template.name}
    together = renderer(*others, template)
    for other in others:
        outcome(together, other)
    assert outcome(together, template) == outcome(renderer(own), own)
    return is_shared(template)


def test_a_thousand_templates_that_differ_in_their_path_are_compiled_as_two():
    texts = [f'A={{{{ secret("a/{number}").user }}}}\n' for number in range(1000)]
    assert codes(*texts) == 2
    templates = compiled(*texts)
    assert [template.needs for template in templates] == [
        (Ref("kv", f"production/a/{number}"),) for number in range(1000)
    ]
    render = renderer(*templates)
    assert [part.origin for template in templates for part in render.render(template).parts[1::2]] == [
        f"a/{number}: user" for number in range(1000)
    ]


def test_a_file_of_several_apps_is_compiled_once():
    [first, *others] = compiled(*["A={{ 1 }}"] * 5)
    assert len({id(code.generated) for template in others for code in template.parts}) == 1
    assert outcome(renderer(), first) == outcome(renderer(), others[-1])


SHARED = [
    "",
    "no tag at all\n",
    'U={{ secret("PATH").user }}\nP={{ secret("PATH").password }}\n',
    "U={{ secret('PATH')['user'] }}",
    '{% set db = secret("PATH") %}{% for h in db.hosts %}{{ h }}:{{ db.port }}{{ "," if not loop.last }}{% endfor %}',
    '{% if secret("PATH").user == "simba" %}{{ secret("PATH").path }}{% else %}no{% endif %}',
    '{{ secret("PATH", version=3).path | upper }}{{ secret("PATH").tls | json }}',
    '{{ secret("PATH").nope }}',
    '\n\n{{ secret("PATH").hosts.nope }}',
    '{{ secret("PATH") }}{{ env("HOST") }}',
    '{{ dynamic("database/PATH").password }}{{ dynamic("database/PATH", ttl="1h").path }}',
    '{{ secret("PATH").path }}{{ secret("fixed/a").path }}{{ secrets("fixed/").a.user }}',
    '{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m(secret("PATH").path) }}{{ m(secret("PATH").user) }}',
    '{% block b %}{{ secret("PATH").path }}{% endblock %}{{ self.b() }}',
    '{% set a %}{{ secret("PATH").path }}{% endset %}{{ a }}',
    '{{ secret("PATH").user ~ "-" ~ secret("PATH").path }}{{ [secret("PATH").path] | join(",") }}',
    '{# a comment #}{% raw %}{{ x }}{% endraw %}{{- secret("PATH").path -}} \n x',
    '{{ secret("PATH").empty | default(fail("secret is empty"), true) }}',
    '{{ secret("shared/PATH").path }}{{ secret("PATH" ).path }}',
    '{% for x in range(3) %}{{ secret("PATH").path }}{% endfor %}',
    '{{ {"a": secret("PATH").path, "b": "x"}.a }}',
]


@pytest.mark.parametrize("text", SHARED)
def test_a_template_that_shares_its_code_is_the_same_as_alone(text):
    texts = [text.replace("PATH", path) for path in ("a", "a/b", "app.c/x_1", "d-e/" + "f" * 99)]
    assert assert_as_if_alone(*texts)


NOT_SHARED = [
    # A mark would be text of the file, of a comment, or of a string.
    '{{ secret("a").path }} # as in secret("PATH")',
    '{# secret("PATH") #}{{ secret("a").path }}',
    '{% raw %}{{ secret("PATH") }}{% endraw %}{{ secret("a").path }}',
    "{{ 'secret(\"PATH\")' }}",
    # Two of them are one path, or a part of one.
    '{{ secret("PATH" "/x").path }}',
    # Another function gets it.
    '{% macro secret(x) %}<{{ x }}>{% endmacro %}{{ secret("PATH") }}',
    '{% macro my_secret(x) %}<{{ x }}>{% endmacro %}{{ my_secret("PATH") }}',
    # It is not found.
    "{{ secret(\n  'PATH'\n).path }}",
    # A limit of its own.
    '{{ secret("PATH").path }}' + "x" * MAX_CHARACTERS,
    # It may be in the text itself.
    '{{ secret("lessee-path/0").path }}{{ "lessee-path/0" }}',
]


@pytest.mark.parametrize("text", NOT_SHARED)
def test_a_template_whose_code_would_tell_the_marks_has_its_own(text):
    assert not assert_as_if_alone(*(text.replace("PATH", path) for path in ("a", "b", "c/d")))


@pytest.mark.parametrize(
    "text",
    [
        '{{ secret("PATH" }}',
        '{{ secret("PATH") | nope }}',
        '{{ secret("PATH").x }}{{ nope }}',
        '{{ secret("PATH", x=1).path }}',
        '{{ secret("PATH", env("X")).path }}',
        '{{ secret("x" ~ "PATH").path }}',
        '{{ secret("x x").path ~ secret("PATH" ~ "").path }}',
        '{% block a %}{% endblock %}{% block a %}{{ secret("PATH").path }}{% endblock %}',
        '{% for secret in secret("PATH").hosts %}{% endfor %}',
        '{{ secret("testing/PATH").path }}',
        '{{ secret("production/PATH").path }}',
        '{{ secret("/PATH").path }}',
        '{{ dynamic("kv/PATH").path }}',
        "{% for x in [1] %}" * 21 + '{{ secret("PATH").path }}' + "{% endfor %}" * 21,
    ],
)
def test_each_template_with_an_error_gets_its_own(text):
    def errors(*texts):
        compiler = Compiler(lambda name: texts[int(name[1:])], SPACE)
        for index in range(len(texts)):
            with pytest.raises(TemplateError) as caught:
                compiler.compile(f"t{index}").prepare()
            yield re.sub(r"\bt\d", "t", str(caught.value))

    texts = [text.replace("PATH", path) for path in ("a", "b", "c/d")]
    assert list(errors(*texts)) == [error for one in texts for error in errors(one)]


def test_one_wrong_path_among_good_ones_is_an_error_of_its_template():
    compiler = Compiler(lambda name: f'\n{{{{ secret("{name}").x }}}}', PathScope("kv", foreign=frozenset({"testing"})))
    for name in ("a", "b", "c"):
        assert compiler.compile(name).references == {Ref("kv", name)}
    with pytest.raises(TemplateError, match=r"^testing/x:2: 'testing/x' starts with the name of another environment"):
        compiler.compile("testing/x")
    assert compiler.compile("d").references == {Ref("kv", "d")}


def test_a_template_that_includes_another_has_code_of_its_own():
    texts = {f"t{number}": f'{{% include "i" %}}{{{{ secret("{number}").path }}}}' for number in range(3)}
    compiler = Compiler((texts | {"i": '{{ secret("i").path }}'}).__getitem__, SPACE)
    templates = [compiler.compile(name) for name in texts]
    assert not any(map(is_shared, templates))
    assert [part.value for part in renderer(*templates).render(templates[2]).parts] == [
        "kv/production/i",
        "kv/production/2",
    ]


def test_a_template_that_shares_its_code_can_be_included_and_is_read_once():
    files = {f"t{number}": f'{{{{ secret("{number}").path }}}}' for number in range(3)}
    files["main"] = '{% include "t2" %}{% include "t1" %}{{ secret("x").path }}'
    reads = []

    def load(name):
        reads.append(name)
        return files[name]

    compiler = Compiler(load, SPACE)
    templates = [compiler.compile(name) for name in files]
    assert is_shared(templates[2])
    assert templates[3].references == {Ref("kv", f"production/{name}") for name in ("2", "1", "x")}
    values = [part.value for part in renderer(*templates).render(templates[3]).parts]
    assert values == [f"kv/production/{name}" for name in ("2", "1", "x")]
    assert compiler.compile("t2") is templates[2]
    assert reads == [*files]


def test_a_template_that_cannot_be_read_is_the_loaders_error_each_time():
    def load(name):
        raise TemplateError("cannot be read", where=f"/templates/{name}")

    compiler = Compiler(load, SPACE)
    for _ in range(2):
        with pytest.raises(TemplateError, match=r"^/templates/app\.j2: cannot be read$"):
            compiler.compile("app.j2")


def test_a_template_that_was_included_before_has_its_own_code():
    files = {"main": '{% include "t1" %}'} | {f"t{number}": f'{{{{ secret("{number}").path }}}}' for number in range(3)}
    compiler = Compiler(files.__getitem__, SPACE)
    templates = [compiler.compile(name) for name in ("main", "t0", "t1", "t2")]
    assert [is_shared(template) for template in templates] == [False, False, False, True]


def test_a_compiler_with_another_parser_shares_nothing():
    texts = [f'A={{{{ secret("{number}").user }}}}' for number in range(3)]
    masked = [mask_secrets(template, SPACE) for template in compiled(*texts)]
    assert [outcome(renderer(), template) for template in masked] == [outcome(renderer(), masked[0])] * 3


def test_a_template_is_equal_whether_it_shares_its_code_or_not():
    text = '{{ secret("a").x }}{{ secret("b").x }}{{ secret("c").x }}{{ dynamic("d/e").x }}'
    first, second, third = compiled(text, text, text)
    assert [is_shared(template) for template in (first, second, third)] == [False, True, True]
    assert second == alone("t1", text)
    assert not second != alone("t1", text)  # noqa: SIM202  # Python derives one from the other, and msgspec does not.
    assert second != alone("t1", text + " ")
    assert second != third
    assert second != "t1"
    assert len(third.needs) == 4


@pytest.mark.no_cover
def test_a_long_path_costs_as_many_steps_as_in_code_of_its_own():
    path = "x" * PER_STEP * 50
    rounds = STEPS // (50 + 80)
    text = '{% for x in range(RANGE) %}{% set y = secret("PATH") %}{% endfor %}'.replace("RANGE", str(rounds))
    *_, shared = compiled(*(text.replace("PATH", name) for name in ("a", "b", path)))
    spent = []
    for template in (shared, alone("t2", text.replace("PATH", path))):
        render = renderer(template)
        assert isinstance(outcome(render, template), tuple)
        spent.append(render._sandbox.budget._left)
    assert is_shared(shared)
    assert spent[0] == spent[1]


LIBRARY = [path for path in sorted(TEMPLATES.rglob("*.j2")) if "{% include" not in path.read_text()]
PATHS = r"(?:secret|dynamic)\([\"']([^\"']+)"


@pytest.mark.no_cover
@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.relative_to(TEMPLATES).as_posix())
def test_the_templates_of_the_library_are_the_same_as_alone(path):
    text = path.read_text()
    others = [re.sub(PATHS, lambda found, tail=tail: found[0] + tail, text) for tail in ("/x", "-y", "_z")]
    assert assert_as_if_alone(text, *others)


PIECES = st.sampled_from(
    [
        *(
            "\n",
            "text ",
            "$ ' \" \\ ",
            "# ",
            "{{ 1 }}",
            "{# x #}",
            "{% raw %}{{ {% endraw %}",
            '"',
            "'",
            "{",
            "}",
            "%}",
        ),
        *(f'{{{{ secret("@").{key} }}}}' for key in ("user", "port", "tls.ca", "nope", "hosts[0]", "path | json")),
        *("{{ secret('@').path }}", '{{- secret("@")["user"] -}}', '{{ secret("@", version=2).path }}'),
        *('{% if secret("@").port %}', "{% else %}", "{% endif %}", '{{ dynamic("db/@").user }}', 'secret("@")'),
        *('{% set a = secret("@") %}', '{{ a.user if a else "" }}', "{% set a = 1 %}", '{{ "secret("@") }}'),
    ]
)
NAMES = st.text("abz09_./-", min_size=1, max_size=40)


@pytest.mark.no_cover
@given(st.lists(PIECES, max_size=8), st.data())
def test_any_template_is_the_same_as_alone(pieces, data):
    text = "".join(pieces)
    texts = [re.sub("@", lambda _: data.draw(NAMES), text) for _ in range(3)]
    compilers = Compiler(lambda name: texts[int(name[1:])], SPACE), Compiler(lambda _: texts[2], SPACE)
    for index in (0, 1):
        outcome_of_compilation(partial(compilers[0].compile, f"t{index}"))
    together, alone = (outcome_of_compilation(partial(compiler.compile, "t2")) for compiler in compilers)
    assert together == alone
    if not isinstance(together, str):
        assert together.words == alone.words
        assert outcome(renderer(together), together) == outcome(renderer(alone), alone)


def outcome_of_compilation(compile_):
    try:
        template = compile_()
        template.prepare()
    except TemplateError as exc:
        return str(exc)
    return template
