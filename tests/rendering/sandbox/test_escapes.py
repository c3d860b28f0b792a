"""Published sandbox escapes and expressions that could reveal a value: none succeeds."""

import itertools
import logging
import sys
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.errors import TemplateError
from lessee.rendering.document import Placeholder
from lessee.rendering.sandbox.attributes import _OF_LISTS, _OF_TEXT, OF_MAPPINGS
from lessee.rendering.sandbox.filters import FILTERS, TESTS
from support.models.sandbox import document

CANARY = "HUNTER2-c4n4ry"

# Among them those of CVE-2016-10745, CVE-2019-10906, CVE-2024-56201, CVE-2024-56326 and CVE-2025-27516, and those
# that lists of template injections teach.
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
    "{{ ().__class__.__bases__[0].__subclasses__()[40]('/etc/passwd').read() }}",
    "{{ ''['\\x5f\\x5fclass\\x5f\\x5f'] }}",
    "{{ ''[['__cla', 'ss__']|join] }}",
    "{{ ''['ssalc__'|reverse ~ ''] }}",
    "{{ s|attr('__class__') }}",
    "{{ ''|attr(['_' * 2, 'class', '_' * 2]|join) }}",
    "{% for c in [].__class__.__base__.__subclasses__() %}{{ c }}{% endfor %}",
    "{% set x = s.__class__ %}{{ x }}",
    "{% set s.x = 1 %}",
    "{% with x = ''.__class__ %}{{ x }}{% endwith %}",
    "{{ joiner().__init__.__globals__ }}",
    "{{ joiner().sep.__class__ }}",
    "{{ cycler('a').__class__ }}",
    "{{ cycler('a').next.__globals__ }}",
    "{{ cycler('a').next.__func__ }}",
    "{{ cycler(namespace).items }}",
    "{{ namespace().__class__ }}",
    "{{ namespace()._Namespace__attrs }}",
    "{{ namespace()['__class__'] }}",
    "{% for x in [1] %}{{ loop.cycle.__func__.__globals__ }}{% endfor %}",
    "{% for x in [1] %}{{ loop.changed.__self__ }}{% endfor %}",
    "{% for x in [1] %}{{ loop._undefined }}{% endfor %}",
    "{% for x in [1] %}{{ loop['_iterable'] }}{% endfor %}",
    "{% for x in [1] %}{{ [loop]|map(attribute='__class__')|list }}{% endfor %}",
    "{% for x in [1] %}{{ loop }}{{ loop|string }}{{ loop ~ '' }}{% endfor %}",
    "{{ range.__call__ }}",
    "{{ range(3).__class__ }}",
    "{{ dict.__init__.__objclass__ }}",
    "{{ dict().__class__ }}",
    "{% macro m() %}{% endmacro %}{{ m.name }}{{ m.arguments }}{{ m._environment }}",
    "{% macro m() %}{% endmacro %}{{ m }}{{ m|upper }}{{ m ~ '' }}",
    "{% macro m() %}{{ caller|string }}{% endmacro %}{% call m() %}{% endcall %}",
    "{% macro m() %}{{ caller.__class__ }}{% endmacro %}{% call m() %}{% endcall %}",
    "{% block b %}{{ self['_TemplateReference__context'] }}{% endblock %}",
    "{% block b %}{{ self.b._stack }}{{ self.b.name }}{% endblock %}",
    "{% block b %}{{ self|string }}{{ self ~ '' }}{% endblock %}",
    "{% block b %}{{ self.b.super.__class__ }}{% endblock %}",
    "{% block b %}{{ super.__globals__ }}{{ super._context }}{% endblock %}",
    "{% import 'in.j2' as i %}{{ i.__dict__ }}",
    "{% import 'in.j2' as i %}{{ i._body_stream }}",
    "{% import 'in.j2' as i %}{{ i.__init__.__globals__ }}",
    "{% import 'in.j2' as i %}{{ i.__name__ }}{{ i['__class__'] }}",
    "{% import 'in.j2' as i %}{{ i }}{{ i|string }}",
    "{% from 'in.j2' import __class__ %}{{ __class__ }}",
    "{% from 'in.j2' import _x %}{{ _x }}",
    "{{ ['']|selectattr('__class__', 'defined')|list }}",
    "{{ ['']|rejectattr('__class__', 'undefined')|list }}",
    "{{ ['']|map('__class__')|list }}",
    "{{ ['']|map('attr', 'upper')|list }}",
    "{{ ['']|map('xmlattr')|list }}",
    "{{ ['']|select('attr')|list }}",
    "{{ [s]|map(attribute='__class__.__init__.__globals__')|list }}",
    "{{ [s]|map(attribute='_data')|list }}",
    "{{ [s]|map(attribute='path')|list }}",
    "{{ [s]|sum(attribute='__class__', start='') }}",
    "{{ [s]|min(attribute='__class__') }}",
    "{{ [s]|groupby('__class__', default='x') }}",
    "{{ [s]|join('', attribute='__class__') }}",
    "{{ [{'a': 1}]|groupby('a')|map(attribute='__class__')|list }}",
    "{{ '%s' % namespace }}",
    "{{ '%r' % namespace() }}",
    "{{ '%s' % joiner }}",
    "{{ '%(a)s' % {'a': range} }}",
    "{{ '%(a)r' % {'a': s.items} }}",
    "{{ '%s'|format(cycler) }}",
    "{{ '{}'.format(namespace) }}",
    "{{ '{!r}'.format(namespace()) }}",
    "{{ '{:>99}'.format(s.items) }}",
    "{{ '{0.x}'.format(s) }}",
    "{{ '{0[x]}'.format(s) }}",
    "{{ '{s.__class__}'.format(s=s) }}",
    "{{ '{a.b.c}'.format(a=joiner) }}",
    "{{ namespace()|string }}{{ [namespace]|string }}",
    "{{ namespace() ~ '' }}{{ '' ~ range }}",
    "{{ [joiner]|join }}{{ ','.join([range]) }}",
    "{{ 'a'|replace('a', joiner) }}{{ 'a'.replace('a', joiner) }}",
    "{{ [s.items]|json }}",
    "{{ {'a': joiner}|yaml }}",
    "{{ [cycler]|list }}",
    "{{ {}.__class__.fromkeys }}",
    "{{ {}|attr('fromkeys') }}",
    "{{ (1.5).__class__.fromhex }}{{ (1.5).hex() }}",
    "{{ (1).to_bytes(8) }}{{ (1).real }}",
    "{{ ('/w=='|b64decode).__class__ }}",
    "{{ ('/w=='|b64decode).decode('latin-1') }}",
    "{{ ('/w=='|b64decode).hex() }}",
    "{{ 'a'.encode('rot13') }}",
    "{{ 'a'.translate({97: 98}) }}",
    "{{ 'a'.maketrans('a', 'b') }}",
    "{{ s.__getitem__('x') }}{{ s.__iter__() }}",
    "{{ s.x.__mul__(3) }}",
    "{{ s.keys.__self__ }}{{ s.keys.of }}{{ s.keys.rate }}",
    "{{ s.x.upper._function }}{{ s.x.upper['of'] }}",
    "{{ secret.__self__ }}",
    "{{ secret('a').items.of }}",
    "{{ [1, 2].__reversed__() }}{{ [1]|reverse|attr('gi_frame') }}",
    "{{ ([1]|map('string')).gi_frame }}{{ ([1]|select).ag_frame }}{{ ([1]|batch(1)).cr_frame }}",
    "{{ ('x' if false).__class__ }}",
    "{{ ('x' if false).x }}",
    "{{ ('x' if false)() }}",
    "{{ [].__add__.__objclass__ }}",
    "{% include '../x' %}",
    "{% include 'nope' ignore missing %}",
    "{% extends '/etc/passwd' %}",
    "{% extends '../x' %}",
    "{% from '/proc/self/environ' import x %}",
    "{% import '../../etc/passwd' as p %}{{ p }}",
    "{% include s.x %}",
    "{% include [s.x, 'in.j2'] %}",
    "{% trans %}x{% endtrans %}",
    "{% filter attr('x') %}{% endfilter %}",
    "{% autoescape false %}{{ ''.__class__ }}{% endautoescape %}",
    "{% raw %}{{ ''.__class__ }}{% endraw %}",
    "{% set x %}{{ ''.__class__ }}{% endset %}{{ x }}",
    "{{ s.payload|fromjson|attr('__class__') }}",
    "{{ (s.json|fromjson).__class__ }}",
    "{{ (s.json|fromjson)['__class__'] }}",
    "{{ (s.json|fromjson)._data }}",
    "{{ (s.json|fromjson).a.origin }}",
    "{{ (s|yaml).json }}{{ (s.x|indent).plain }}",
]

SECRET = {
    "x": "y",
    "template": "{0.__class__.__init__.__globals__}{x.__class__}",
    "payload": "{{ ''.__class__ }}",
    "json": '{"a": "b"}',
}

# What a repr or an address of Python's would hold.
INTERNALS = (
    "<class",
    "<module",
    "<function",
    "<bound",
    "<built-in",
    "<frame",
    "<code",
    "<generator",
    "<Macro",
    "<Loop",
    "<Template",
    "<Namespace",
    " object at 0x",
    "0x7",
    "jinja2.",
    "root:x:0",
    "uid=",
)


@pytest.mark.no_cover
@pytest.mark.parametrize("payload", ESCAPES)
def test_a_published_escape_gets_nowhere(payload):
    try:
        found = document(payload, SECRET, **{"in": "{% set _x = 1 %}{% macro a() %}{% endmacro %}"}).parts
        text = "".join(repr(part.value) if isinstance(part, Placeholder) else part for part in found)
    except TemplateError as exc:
        text = str(exc)
    assert not [word for word in INTERNALS if word in text]


def test_the_hostile_values_are_many_and_different():
    assert len(set(ESCAPES)) == len(ESCAPES) >= 200


def test_the_name_of_a_template_is_not_evaluated():
    name = "{0.__class__}{__import__('os')}"
    with pytest.raises(TemplateError) as caught:
        document(f'{{% from "{name}.j2" import nope %}}{{{{ nope }}}}', SECRET, **{name: "x"})
    assert str(caught.value) == "app.j2:1: undefined variable: 'nope'"


def test_an_inaccessible_attribute_is_named_if_the_author_wrote_it():
    with pytest.raises(TemplateError) as caught:
        document("\n{{ s.x.__class__ }}", SECRET)
    assert str(caught.value) == "app.j2:2: templates cannot access this attribute: '__class__'"
    with pytest.raises(TemplateError) as caught:
        document("{{ s.x[s.x ~ '__'] }}", {"x": "__class"})
    assert str(caught.value) == "app.j2:1: templates cannot access this attribute: a computed one"


@pytest.mark.parametrize("expression", ["s.x.origin", "(s|yaml).json", "(s.x|indent).plain", "b.parts"])
def test_the_internals_of_values_are_inaccessible(expression):
    with pytest.raises(TemplateError, match="templates cannot access this attribute: '"):
        document("{% set b %}{{ s.x }}{% endset %}{{ " + expression + " }}", SECRET)


# No error contains a value, whatever the template does with it.

SECRETS = {
    "password": CANARY,
    "number": 5432,
    "float": 1.5,
    "yes": True,
    "none": None,
    "list": [CANARY, CANARY + "2"],
    "deep": {"a": CANARY, "list": [{"a": CANARY}]},
    "json": '{"' + CANARY + '": ["' + CANARY + '"]}',
    "binary": "/0hVTlRFUjItYzRuNHJ5/w==",
}
OPERANDS = ("s", "s.password", "s.number", "s.none", "s.list", "s.deep", "s.json|fromjson", "s.binary|b64decode", "m")
MACRO = "{% set m %}{{ s.password }}{% endset %}"


def fails_silently(expression):
    """The expression may work; if it fails, no printed or logged text contains a value."""
    try:
        document(MACRO + "{{ " + expression + " }}", SECRETS)
    except TemplateError as exc:
        texts = [str(exc), repr(exc), *map(str, exc.args), *traceback.format_exception(exc)]
        texts.append(logging.Formatter().formatException(sys.exc_info()))
    else:
        return False
    assert texts[0].startswith("app.j2:1: ")
    assert not [text for text in texts if CANARY.lower() in text.lower()]
    return True


def assert_some_fail(expressions):
    assert sum(fails_silently(expression) for expression in expressions) > 0


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(FILTERS))
def test_no_filter_reveals_a_value(name):
    arguments = (
        "",
        "(s.password)",
        "(s.password, s.password)",
        "(s.list, s)",
        "(x=s.password)",
        "(attribute=s.password)",
    )
    assert_some_fail(f"({operand})|{name}{given}" for operand in OPERANDS for given in arguments)
    assert_some_fail(f"s.list|map('{name}'{given})|list ~ m" for given in ("", ", s.password", ", m"))


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(TESTS))
def test_no_test_reveals_a_value(name):
    arguments = ("", "(s.password)", "(m)")
    words = [f"({operand}) is {name}{given}" for operand in OPERANDS for given in arguments if name.isalpha()]
    assert_some_fail([*words, *(f"s.list|select('{name}'{given})|list ~ m" for given in ("", ", s.password", ", m"))])


@pytest.mark.long
@pytest.mark.parametrize("name", sorted({*_OF_TEXT, *OF_MAPPINGS, *_OF_LISTS, "nope", "encode", "__class__", "x y"}))
def test_no_method_reveals_a_value(name):
    arguments = ("", "s.password", "s.number, s.password", "*s.list", "**s.deep", "m")
    attribute = f".{name}" if name.isidentifier() else f"['{name}']"
    few = ("s.password", "s.list", "s.deep", "s.json|fromjson", "m")
    calls = [f"({operand}){attribute}({given})" for operand in few for given in arguments]
    assert_some_fail([*calls, *(f"({operand}){attribute}" for operand in few)])


@pytest.mark.long
@pytest.mark.parametrize(
    "operator", ["+", "-", "*", "/", "//", "%", "**", "~", "<", "<=", "==", "!=", "in", "not in", "and", "or"]
)
def test_no_operator_reveals_a_value(operator):
    assert_some_fail([*(f"({a}) {operator} ({b})" for a, b in itertools.product(OPERANDS, OPERANDS[:5])), "m ~ 'x'"])


@pytest.mark.long
def test_no_lookup_or_call_reveals_a_value():
    keys = (*OPERANDS, "s.password ~ 'x'", "[s.password]", "{s.password: 1}", "(s.password, 1)")
    assert_some_fail(
        expression
        for operand in OPERANDS
        for key in keys
        for expression in (
            f"({operand})[{key}]",
            f"({operand})[{key}:]",
            f"({operand})({key})",
            f"({operand}).nope[{key}]",
            f"{{({operand}): 1}}[{key}]",
            f"dict({operand})[{key}]",
            f"range({operand})[{key}]",
            f"-({operand}) + ({key})",
            f"namespace(x={operand})[{key}]",
            f"cycler({operand})[{key}]",
        )
    )


@pytest.mark.parametrize(
    "block",
    [
        "{% for a, b in s.list %}{% endfor %}",
        "{% for a in s.number %}{% endfor %}",
        "{% for a in s.list if a > 1 %}{% endfor %}",
        "{% for a in s.list recursive %}{{ loop(s.number) }}{% endfor %}",
        "{% for a in s.list %}{{ loop.nope(s.password) }}{% endfor %}",
        "{% for a in s.list %}{{ loop.cycle() }}{% endfor %}",
        "{% set a, b = s.password %}",
        "{% set ns = namespace(s.password) %}",
        "{% set s.password = s.password %}",
        "{% if s.password < s.number %}{% endif %}",
        "{% with a = s.password - 1 %}{% endwith %}",
        "{% macro q(a) %}{{ a.nope }}{% endmacro %}{{ q(s.password) }}",
        "{% macro q(a) %}{% endmacro %}{{ q(s.password, s.password) }}",
        "{% macro q(a) %}{% endmacro %}{{ q(**s.deep) }}",
        "{% macro q() %}{{ caller(s.password) }}{% endmacro %}{% call q() %}{% endcall %}",
        "{% call s.password() %}{% endcall %}",
        "{% block b %}{{ self[s.password]() }}{% endblock %}",
        "{% block b %}{{ super() }}{{ self.b(s.password) }}{% endblock %}",
        "{% include 'in.j2' %}",
        "{% import 'in.j2' as i %}{{ i[s.password] }}",
        "{% for k in s.json|fromjson %}{{ (s.json|fromjson)[k].nope }}{% endfor %}",
    ],
)
def test_no_block_reveals_a_value(block):
    with pytest.raises(TemplateError) as caught:
        document(MACRO + block, SECRETS, **{"in": "{{ s.password.nope }}"})
    text = "".join([str(caught.value), repr(caught.value), *traceback.format_exception(caught.value)])
    assert CANARY.lower() not in text.lower()


operand = st.recursive(
    st.sampled_from([*OPERANDS, "'x'", "1", "s.nope", "[s.password]", "{'a': s.password}", "namespace(a=s.password)"]),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from([*"+-*/%<~", "//", "==", "in", "and"]), inner),
        st.builds("({})[{}]".format, inner, inner),
        st.builds("({})|{}".format, inner, st.sampled_from(sorted(FILTERS))),
        st.builds("({})|{}({})".format, inner, st.sampled_from(sorted(FILTERS)), inner),
        st.builds("({}).{}({})".format, inner, st.sampled_from(sorted({*_OF_TEXT, *OF_MAPPINGS, "foo"})), inner),
    ),
    max_leaves=5,
)


@pytest.mark.no_cover
@given(operand)
def test_any_expression_returns_or_fails_without_revealing_a_value(expression):
    fails_silently(expression)
