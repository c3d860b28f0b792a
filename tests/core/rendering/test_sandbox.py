"""The filters of our own, and what the sandbox keeps out of reach."""

import base64
import json
import shlex
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.errors import TemplateError
from lessee.core.paths import Ref, Space
from lessee.core.rendering.document import Hole
from lessee.core.rendering.templates import Compiler, Renderer
from lessee.core.secrets import Secret

SPACE = Space("secret")


def rendered(text, **data):
    """The values in a template in which `s` is a secret with these keys."""
    source = '{% set s = secret("a") %}' + text
    made = Compiler({"app.j2": source}.__getitem__, SPACE).compile("app.j2")
    parts = Renderer(SPACE, {Ref("secret", "a"): Secret(data)}, {}, {}, {}).render(made).parts
    return [part.value if isinstance(part, Hole) else part for part in parts]


def value(expression, **data):
    (only,) = rendered("{{ " + expression + " }}", **data)
    return only


def refusal(text, **data):
    with pytest.raises(TemplateError) as caught:
        rendered(text, **data)
    return str(caught.value)


# Published escapes, among them those of CVE-2016-10745, CVE-2019-10906, CVE-2024-56201, CVE-2024-56326 and
# CVE-2025-27516, and those that lists of template injections teach.
ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__']['__mro__'][1]['__subclasses__']() }}",
    "{{ ''['__cla' ~ 'ss__'] }}",
    "{{ s.x['__class__'] }}",
    "{{ s.__class__.__init__.__globals__ }}",
    "{{ s['__class__'] }}",
    "{{ s._data }}",
    "{{ s.x.__class__ }}",
    "{{ [].__class__.__base__.__subclasses__() }}",
    "{{ [].append.__self__.__class__ }}",
    "{{ {}.__class__.__bases__[0] }}",
    "{{ (1).__class__ }}",
    "{{ true.__class__ }}",
    "{{ none.__class__ }}",
    "{{ ()|attr('__class__') }}",
    "{{ ()|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "{{ ['']|map(attribute='__class__')|list }}",
    "{{ ['']|map(attribute='__class__.__mro__')|list }}",
    "{{ ['']|map('attr', '__class__')|list }}",
    "{{ ['']|groupby('__class__') }}",
    "{{ ['']|sort(attribute='__class__.__name__')|list ~ ''.__class__ }}",
    "{{ ['']|selectattr('__class__')|list }}",
    "{{ ['']|sum(attribute='__class__') }}",
    "{{ ['', '']|unique(attribute='__class__')|map(attribute='__class__')|list }}",
    "{{ '{0.__class__.__mro__}'.format('') }}",
    "{{ '{0.__class__}'.format(s) }}",
    "{{ '{x.__class__}'.format(x=range) }}",
    "{{ '{x.__class__}'.format_map({'x': 1}) }}",
    "{{ '{0[__class__]}'.format(s) }}",
    "{{ 'x'.format.__self__.__class__ }}",
    "{% set f = '{0.__class__}'.format %}{{ f('') }}",
    "{% set f = '{x.__class__}'.format_map %}{{ f({'x': 1}) }}",
    "{{ ['{0.__class__}']|map('format', '')|list ~ ''.__class__ }}",
    "{{ '{0.__class__}'|attr('format')('') }}",
    "{{ s.template.format(s) }}",
    "{{ s.template.format_map({'x': s}) }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ joiner.__init__.__globals__.os.popen('id').read() }}",
    "{{ namespace.__init__.__globals__.os.popen('id').read() }}",
    "{{ lipsum.__globals__.os.popen('id').read() }}",
    "{{ lipsum.__globals__['os'] }}",
    "{{ range.__globals__ }}",
    "{{ dict.mro() }}",
    "{{ dict.__subclasses__() }}",
    "{{ dict.fromkeys.__self__ }}",
    "{{ secret.__globals__ }}",
    "{{ env.__globals__ }}",
    "{{ env('A', 'b').__class__ }}",
    "{{ env.__closure__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ self._TemplateReference__context.cycler.__init__.__globals__.os }}",
    "{% block b %}{{ self.b.__globals__ }}{{ self.b._context }}{% endblock %}",
    "{% for x in [1] %}{{ loop.__init__.__globals__ }}{% endfor %}",
    "{% for x in [1] %}{{ loop._iterable }}{% endfor %}",
    "{% for x in [1] recursive %}{{ loop._recurse.__globals__ }}{% endfor %}",
    "{{ (['']|map('upper')).gi_frame.f_back.f_globals }}",
    "{{ (['']|map('upper')).gi_code }}",
    "{{ (['']|map('upper')|first).__class__ }}",
    "{% macro m() %}{% endmacro %}{{ m.__init__.__globals__ }}",
    "{% macro m() %}{% endmacro %}{{ m._func.__globals__ }}",
    "{% macro m() %}{% endmacro %}{{ m.__call__.__func__ }}",
    "{% macro m() %}{{ caller._func }}{% endmacro %}{% call m() %}{% endcall %}",
    "{% macro m() %}{{ varargs.__class__ }}{{ kwargs.__class__ }}{% endmacro %}{{ m() }}",
    "{{ config.items() }}",
    "{{ request.application.__globals__ }}",
    "{{ get_flashed_messages.__globals__ }}",
    "{{ url_for.__globals__ }}",
    "{{ undefined.__class__ }}",
    "{{ s.nope.__class__ }}",
    "{{ s.nope.__init__.__globals__ }}",
    "{{ nope.__class__.__init__.__globals__ }}",
    "{{ context }}",
    "{{ environment }}",
    "{{ resolve }}",
    "{{ missing }}",
    "{{ __builtins__ }}",
    "{{ __import__('os') }}",
    "{{ ''.__doc__ }}",
    "{{ s.get.__func__ }}",
    "{{ s.items.__self__._data }}",
    "{{ s.keys()._mapping._data }}",
    "{{ namespace(__class__=1).__class__ }}",
    "{% set ns = namespace() %}{% set ns.__class__ = 1 %}{{ ns.__class__ }}",
    "{{ s.__setattr__('path', 1) }}",
    "{{ s.x.origin }}",
    "{{ [].append(1) }}",
    "{{ {}.update({1: 2}) }}",
    "{{ [1, 2].clear() }}",
    "{{ ''|pprint }}",
    "{{ ''|xmlattr }}",
    "{% debug %}",
    "{% do [].append(1) %}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}{{ os.popen('id') }}",
    "{% include ''.__class__ %}",
]

INTERNALS = (
    "<class",
    "<module",
    "<function",
    "<bound",
    "<built-in",
    "<frame",
    "<code",
    " object at 0x",
    "builtins",
    "uid=",
)


def only(files):
    def load(name):
        if name not in files:
            raise TemplateError("is not there", where=name)
        return files[name]

    return load


@pytest.mark.parametrize("payload", ESCAPES)
def test_a_published_escape_gets_nowhere(payload):
    source = '{% set s = secret("a") %}' + payload
    secret = Secret({"x": "y", "template": "{0.__class__.__init__.__globals__}{x.__class__}"})
    try:
        made = Compiler(only({"app.j2": source}), SPACE).compile("app.j2")
        parts = Renderer(SPACE, {Ref("secret", "a"): secret}, {}, {}, {}).render(made).parts
    except TemplateError:
        return
    told = repr([part.value if isinstance(part, Hole) else part for part in parts])
    assert not [word for word in INTERNALS if word in told]


def test_what_is_out_of_reach_is_named_where_the_author_wrote_it():
    assert refusal("\n{{ s.x.__class__ }}", x="y") == "app.j2:2: no template may reach this: '__class__'"
    assert refusal("{{ s.x[s.x ~ '__'] }}", x="__class") == "app.j2:1: no template may reach this: a computed one"


def test_what_values_are_made_of_is_out_of_reach():
    assert refusal("{{ s.x.origin }}", x="y") == "app.j2:1: no template may reach this: 'origin'"
    said = refusal("{% set b %}{{ s.x }}{% endset %}{{ b.parts }}", x="y")
    assert said == "app.j2:1: no template may reach this: 'parts'"


def test_a_function_is_no_value():
    assert refusal("{{ s.items }}", x="y") == (
        'app.j2:1: this is a function, not a value; for a key of that name write secret("…")["name"]'
    )


@pytest.mark.parametrize(
    "expression", ["s.keys()", "s|items", "range(3)", "'a'.encode()", "namespace()", "joiner", "s.x.split"]
)
def test_what_is_no_data_has_no_place_in_a_file(expression):
    assert " a " in refusal("{{ " + expression + " }}", x="y")


def test_what_is_no_data_says_how_to_make_it_so():
    assert refusal("{{ s.keys() }}", x="y") == "app.j2:1: a KeysView has no place in a file; add `| list` or `| string`"


def test_a_secret_is_no_text():
    for expression in ("s ~ ''", "s|string", "s|upper", "'%s'|format(s)", "[s]|join", "s.x ~ s.deep"):
        said = refusal("{{ " + expression + " }}", x="y", deep={"z": 1})
        assert said.endswith(" is no text; name a key of it, or add `| json`")


def test_a_missing_macro_argument_is_named():
    said = refusal("{% macro m(host) %}{{ host }}{% endmacro %}{{ m() }}")
    assert said == "app.j2:1: there is no such variable: 'host'"


# Filters of our own.


@given(st.text())
def test_base64_goes_there_and_back(text):
    encoded, decoded = rendered("{{ s.x|b64encode }}{{ s.x|b64encode|b64decode }}", x=text)
    assert base64.b64decode(encoded).decode() == decoded == text


def test_base64_in_lines_is_decoded():
    assert value("s.x|b64decode", x=base64.encodebytes(b"x" * 100).decode()) == "x" * 100


@pytest.mark.parametrize("garbage", ["!", "a", "YWJj!", "/w==", "é"])
def test_what_is_no_base64_is_refused_unseen(garbage):
    assert refusal("{{ s.x|b64decode }}", x=garbage) == "app.j2:1: b64decode: the value is not base64 of UTF-8 text"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_value_is_one_word_of_the_shell(text):
    assert shlex.split(value("s.x|sh", x=text)) == [text]


@given(st.text())
def test_a_value_is_one_part_of_a_url(text):
    quoted = value("s.x|urlencode", x=text)
    assert unquote(quoted) == text
    assert not set(quoted) & set("/?#&=@: +")


@pytest.mark.parametrize("name", ["json", "tojson"])
def test_json_is_compact_and_escapes_no_letters(name):
    (hole,) = render_parts("{{ s|" + name + " }}", {"ä": [1, None, {"b": "</x>"}]})
    assert hole == Hole('{"ä":[1,null,{"b":"</x>"}]}', "an expression", structure=True)


def test_json_of_anything_json_has():
    assert json.loads(value("[s.x, s.y, 1.5, true, none, 'z', {'k': s}]|json", x="1", y=2)) == [
        "1", 2, 1.5, True, None, "z", {"k": {"x": "1", "y": 2}},
    ]  # fmt: skip


def test_json_that_was_changed_is_a_string_again():
    (hole,) = render_parts("{{ s|json|replace('1', '2') }}", {"a": 1})
    assert (hole.value, hole.structure) == ('{"a":2}', False)


@pytest.mark.parametrize("name", ["sh", "urlencode", "b64encode"])
def test_filters_of_text_take_numbers_and_booleans(name):
    assert rendered("{{ 5|" + name + " }}{{ true|" + name + " }}") == rendered(
        "{{ '5'|" + name + " }}{{ 'true'|" + name + " }}"
    )


@pytest.mark.parametrize("name", ["sh", "urlencode", "b64encode", "b64decode"])
def test_filters_of_text_take_no_structure(name):
    for expression in ("s", "s.list", "s.none"):
        said = refusal("{{ " + expression + "|" + name + " }}", list=[1], none=None)
        assert said == "app.j2:1: this filter takes a string or a number; add `| json` for a structure"


def render_parts(text, data):
    made = Compiler({"app.j2": '{% set s = secret("a") %}' + text}.__getitem__, SPACE).compile("app.j2")
    return Renderer(SPACE, {Ref("secret", "a"): Secret(data)}, {}, {}, {}).render(made).parts


# Jinja's own helpers.


def test_cycler_joiner_and_namespace_work():
    assert rendered("{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.current }}") == ["a", "b", "a"]
    assert rendered("{% set j = joiner(',') %}{{ j() }}{{ j() }}") == ["", ","]
    text = "{% set ns = namespace(n=0) %}{% for x in [1, 2] %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.n }}"
    assert rendered(text) == [3]


def test_ranges_are_bounded():
    assert refusal("{{ range(100001)|list }}") == "app.j2:1: an expression failed (OverflowError)"


def test_a_private_use_or_odd_character_is_a_value_as_any_other():
    odd = "\ue000\ue00a\ue001\ufdd0\0\x7f\u2028"
    assert rendered("{{ s.x }}{{ s.x|replace('q', '') }}{% set b %}{{ s.x }}{% endset %}{{ b }}", x=odd) == [odd] * 3
