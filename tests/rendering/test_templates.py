"""The language of templates, their results, and their errors, which never contain a value."""

import json
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.errors import TemplateError
from lessee.core.path_scope import PathScope
from lessee.core.paths import DynamicSecret, Folder, Ref
from lessee.core.secrets import Secret
from lessee.rendering.document import Placeholder
from lessee.rendering.templates import Compiler, Renderer

CANARY = "HUNTER2-c4n4ry"
SPACE = PathScope("secret", "production/", ("shared/",), frozenset({"testing"}))
POSTGRES = {
    "username": "simba",
    "password": CANARY,
    "port": 5432,
    "hosts": ["one", "two"],
    "tls": {"ca": "PEM", "modes": [{"name": "full"}]},
    "path": "/var",
    "origin": "mine",
    "items": "I",
    "keys": "K",
    "values": "V",
    "get": "G",
    "empty": None,
}
SECRETS = {Ref("secret", "production/database/postgres"): Secret(POSTGRES)}
FOLDERS = {
    Folder("secret", "production/api-keys/"): {
        "openrouter": Secret({"api_key": "k1"}),
        "stripe": Secret({"api_key": "k2"}),
    }
}
ISSUED = DynamicSecret("pki/issue/web", (("common_name", "simba.local"),), "POST", certificate=True)
DYNAMIC = {
    DynamicSecret("database/creds/simba"): Secret({"username": "v-simba-1", "password": CANARY}),
    DynamicSecret("aws/sts/deploy", (("n", 2), ("ttl", "15m")), "POST"): Secret({"access_key": "A1"}),
    DynamicSecret("aws/sts/deploy", (("n", 3), ("ttl", "15m")), "POST"): Secret({"access_key": "A2"}),
    DynamicSecret("a/b", (("class", "c"), ("literal", "l"), ("self", "s")), "POST"): Secret({"x": "odd names"}),
    ISSUED: Secret({"certificate": "C", "private_key": CANARY, "ca_chain": ["one", "two"]}),
}
DB = '{% set s = secret("database/postgres") %}'


def compiler(files):
    return Compiler(files.__getitem__, SPACE)


def compiled(text, **files):
    return compiler({"app.j2": text} | {f"{name}.j2": text for name, text in files.items()}).compile("app.j2")


def rendered(text, secrets=SECRETS, environ=None, **files):
    return Renderer(SPACE, secrets, FOLDERS, DYNAMIC, environ or {}).render(compiled(text, **files)).parts


def parts(text, **files):
    """The output: strings, and a placeholder's value in a list."""
    return [part if isinstance(part, str) else [part.value] for part in rendered(text, **files)]


def value(expression):
    """The value of one expression."""
    (placeholder,) = rendered(f"{DB}{{{{ {expression} }}}}")
    return placeholder.value


def error_of(text, **files):
    with pytest.raises(TemplateError) as caught:
        rendered(text, **files)
    return str(caught.value)


# Every path is known without running the template.


def test_references_in_unused_branches_are_found():
    template = compiled(
        '{% if false %}{{ secret("a").x }}{{ secret("b", version=3).x }}{% endif %}'
        '{% for x in secrets("api-keys/") %}{{ secret("shared/c").x }}{% endfor %}{{ env("X", "y") }}'
    )
    assert template.references == {
        Ref("secret", "production/a"),
        Ref("secret", "production/b", 3),
        Ref("secret", "shared/c"),
        Folder("secret", "production/api-keys/"),
    }


def test_references_of_all_included_templates_are_found():
    template = compiled(
        '{% extends "base.j2" %}{% import "macros.j2" as m %}{% from "words.j2" import w %}'
        '{% block body %}{% if false %}{% include "part.j2" %}{% endif %}{% endblock %}',
        base='{{ secret("base").x }}{% block body %}{% endblock %}',
        macros='{% macro a() %}{{ secret("macro").x }}{% endmacro %}',
        words='{% set w = secret("word") %}',
        part='{% include "deep.j2" %}',
        deep='{{ secret("deep").x }}',
    )
    assert {need.path for need in template.references} == {f"production/{x}" for x in ("base", "macro", "word", "deep")}
    assert template.codes.keys() == {f"{name}.j2" for name in ("app", "base", "macros", "words", "part", "deep")}


@pytest.mark.parametrize(
    "expression",
    [
        "secret(env('X', 'y'))",
        "secret('a' ~ 'b')",
        "secret('a' + 'b')",
        "secret(*['a'])",
        "secret(**{'literal': 'a'})",
        "secret('a', version=-1)",
        "secret('a', version=secret('b').x)",
        "secrets('a' if true else 'b')",
        "env(secret('a').x)",
    ],
)
def test_a_path_that_is_not_a_literal_is_rejected(expression):
    error = error_of(f"\n{{{{ {expression} }}}}")
    assert error.startswith("app.j2:2: ")
    assert (
        "takes literals only, so that every path is known without running the template; write the arguments out"
        in error
    )


@pytest.mark.parametrize(
    "expression",
    [
        "secret()",
        "secret(1)",
        "secret('a', 3)",
        "secret('a', 'b')",
        "secret(path='a')",
        "secret('a', version='3')",
        "secret('a', version=true)",
        "secret('a', ttl=3)",
        "secrets()",
        "secrets('a', version=3)",
        "env()",
        "env('A', 1)",
        "env('A', none)",
        "env('A', x='b')",
    ],
)
def test_arguments_of_the_wrong_kind_are_rejected_with_an_example(expression):
    error = error_of(f"\n\n{{{{ {expression} }}}}")
    assert error.startswith("app.j2:3: ")
    assert "does not accept these arguments; write it as " in error


@pytest.mark.parametrize(
    "text",
    [
        "{% set f = secret %}{{ f('a').x }}",
        "{{ [secret][0]('a').x }}",
        "{{ {'f': secrets}.f('a') }}",
        "{% macro m(f) %}{{ f('a').x }}{% endmacro %}{{ m(secret) }}",
        "{% with f = secret %}{{ f('a').x }}{% endwith %}",
        "{{ namespace(f=secret).f('a').x }}",
        "{{ (secret if true else env)('a').x }}",
        "{{ ['a']|map(secret) }}",
        "{{ secret.__globals__ }}",
        "{{ secret }}",
        "{% set secret = 1 %}",
        "{% for secret in [1] %}{% endfor %}",
        "{% macro m(secret) %}{% endmacro %}",
    ],
)
def test_a_function_has_no_other_name(text):
    error = error_of(text)
    assert error.startswith("app.j2:1: secret")
    assert "can only be called, as in " in error


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "is not the path of a secret"),
        ("a/", "is not the path of a secret"),
        ("../testing/a", "is not a path"),
        ("testing/a", "starts with the name of another environment"),
        ("production/a", "leave it out"),
    ],
)
def test_a_path_outside_the_environment_is_rejected_at_its_line(path, why):
    error = error_of(f'\n{{{{ secret("{path}").x }}}}')
    assert error.startswith("app.j2:2: ")
    assert why in error


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (
            "{{ nope }}",
            "unknown variable or function 'nope'; templates can call secret, secrets, dynamic, certificate, env",
        ),
        ("{{ nope('a') }}", "unknown variable or function 'nope'"),
        ("{% if false %}{{ nope }}{% endif %}", "unknown variable or function 'nope'"),
        ("{{ loop }}", "unknown variable or function 'loop'"),
        ("{{ 1|nope }}", "unknown filter 'nope'"),
        ("{% if false %}{{ 1|nope }}{% endif %}", "unknown filter 'nope'"),
        ("{{ 1 is nope }}", "unknown test 'nope'"),
        ("{% if false %}{{ 1 is nope }}{% endif %}", "unknown test 'nope'"),
        ("{% nope %}", "Encountered unknown tag 'nope'."),
        ("{{ 1", "unexpected end of template"),
        ("{% filter upper %}a{% endfilter %}", "a filter takes a value, not a block"),
        ("{% autoescape true %}a{% endautoescape %}", "autoescape is for HTML"),
        ("{{ 1|safe }}", "unknown filter 'safe'"),
        ("{{ 1|attr('x') }}", "unknown filter 'attr'"),
        ('{% include "a" ~ ".j2" %}', "must be one literal; write it out"),
        ('{% include ["a.j2", "b.j2"] %}', "must be one literal"),
        ("{% import 1 as m %}", "must be one literal"),
        ("{% extends env('X', 'y') %}", "must be one literal"),
        ('{% from secret("a").x import m %}', "must be one literal"),
    ],
)
@pytest.mark.parametrize(
    "taking", [None, '{% include "in.j2" %}', '{% import "in.j2" as i %}', '{% extends "in.j2" %}']
)
def test_a_missing_name_is_rejected_with_file_and_line(text, what, taking):
    error = error_of(taking, **{"in": f"\n\n{text}"}) if taking else error_of(f"\n\n{text}")
    assert error.startswith(f"{'in' if taking else 'app'}.j2:3: ")
    assert what in error


def test_a_variable_may_come_from_the_template_that_includes():
    assert parts('{% set x = "a" %}{% include "in.j2" %}', **{"in": "{{ x }}"}) == [["a"]]
    assert parts('{% for x in [1, 2] %}{% include "in.j2" %}{% endfor %}', **{"in": "{{ x }}"}) == [[1], [2]]
    assert parts('{% extends "in.j2" %}{% set x = "a" %}', **{"in": "{{ x }}"}) == [["a"]]


def test_a_variable_that_does_not_reach_is_an_error_when_it_is_used():
    error = error_of('{% include "in.j2" %}{{ x }}', **{"in": "{% set x = 1 %}"})
    assert error == "app.j2:1: undefined variable: 'x'"


@pytest.mark.parametrize(
    "files",
    [
        {"app": '{% include "app.j2" %}'},
        {"app": '{% include "b.j2" %}', "b": '{% include "c.j2" %}', "c": '{% include "b.j2" %}'},
        {"app": '{% extends "b.j2" %}', "b": '{% import "app.j2" as a %}{{ secret("x").y }}'},
    ],
)
def test_a_circular_include_is_compiled_and_fails_at_runtime(files):
    template = compiler({f"{name}.j2": text for name, text in files.items()}).compile("app.j2")
    assert template.codes.keys() == {f"{name}.j2" for name in files}
    with pytest.raises(
        TemplateError, match=r"\.j2:1: templates include each other more than 20 levels deep; remove the circular"
    ):
        Renderer(SPACE, {}, {}, {}, {}).render(template)


def test_a_template_changes_only_with_the_text_of_one_of_its_files():
    def taken_in(**files):
        return compiled('{% include "one.j2" %}{% import "two.j2" as t %}', **files)

    same = taken_in(one="1", two="2")
    assert taken_in(one="1", two="2") == same
    assert taken_in(one="1", two="2", three="not taken in") == same
    others = [taken_in(one="1 ", two="2"), taken_in(one="1", two="2 "), taken_in(one="2", two="1")]
    assert all(other != same for other in others)


def test_code_that_cannot_be_generated_is_reported_when_it_is_prepared():
    twice = compiled("{% block a %}{% endblock %}\n{% block a %}{% endblock %}")
    with pytest.raises(TemplateError, match=r"app\.j2:2: block 'a' defined twice"):
        twice.prepare()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{{ namespace(d='', d='') }}", "keyword argument repeated: d"),
        ("{% macro m(a, a) %}{% endmacro %}", "duplicate (argument|parameter)"),
        ("{% for x in [1] %}" * 21 + "{% endfor %}" * 21, "too many statically nested blocks"),
    ],
)
def test_code_that_python_rejects_is_an_error_of_the_template(text, what):
    with pytest.raises(
        TemplateError, match=rf"^app\.j2: the template's Python code would be invalid: {what}"
    ) as caught:
        compiled(text).prepare()
    assert caught.value.todo


def test_a_template_renders_the_text_that_was_scanned_though_the_file_is_edited_meanwhile():
    files = {"app.j2": '{% include "in.j2" %}', "in.j2": "old"}
    template = compiler(files).compile("app.j2")
    files["in.j2"] = "{{ secret('database/postgres').password }}"
    assert Renderer(SPACE, SECRETS, {}, {}, {}).render(template).parts == ("old",)


def test_a_file_that_cannot_be_loaded_is_the_loaders_error():
    def load(name):
        if name == "gone.j2":
            raise TemplateError("cannot be read", where="/templates/gone.j2")
        return '{% include "gone.j2" %}'

    with pytest.raises(TemplateError, match=r"^/templates/gone\.j2: cannot be read$"):
        Compiler(load, SPACE).compile("app.j2")


# What a missing key says.


def test_a_missing_key_names_file_line_path_and_the_keys_that_are_there():
    error = error_of(
        '\n{{ secret("api/x").pasword }}', secrets={Ref("secret", "production/api/x"): Secret({"b": 1, "a": 2})}
    )
    assert error == "app.j2:2: api/x has no such key: 'pasword'; its keys are: 'a', 'b'"


def test_a_missing_key_of_an_empty_secret_says_that_there_is_none():
    error = error_of('{{ secret("x").a }}', secrets={Ref("secret", "production/x"): Secret({})})
    assert error.endswith("its keys are: none")


def test_a_key_with_a_line_end_is_escaped_in_an_error():
    error = error_of('{{ secret("x").a }}', secrets={Ref("secret", "production/x"): Secret({"b\nERROR: forged": 1})})
    assert "\n" not in error


@pytest.mark.parametrize(
    ("expression", "what"),
    [
        ("s.tls.cert", "database/postgres: tls has no such key: 'cert'; its keys are: 'ca', 'modes'"),
        (
            "s.tls.modes[0].nam",
            "database/postgres: tls: modes[0] has no such key: 'nam'; its keys are: 'name'",
        ),
        ("s['nope']", "database/postgres has no such key: 'nope'; its keys are: "),
        ("s.nope.deeper", "database/postgres has no such key: 'nope'"),
        ("s.nope|upper", "database/postgres has no such key: 'nope'"),
        ("s.nope|json", "database/postgres has no such key: 'nope'"),
        ("s.nope|b64encode", "database/postgres has no such key: 'nope'"),
        ("[s.nope]", "database/postgres has no such key: 'nope'"),
        ("'x' if s.nope else 'y'", "database/postgres has no such key: 'nope'"),
        ("s.nope == 'x'", "database/postgres has no such key: 'nope'"),
        ("s.password.nope", "database/postgres: password has no such key: 'nope'"),
        ("s.hosts[7]", "a list has no such key: a computed one"),
        ("s.port.nope", "a int has no such key: 'nope'"),
        ("[]|first", "an empty list has no first"),
        (
            "secrets('api-keys/').nope.x",
            "api-keys/ has no such key: 'nope'; its keys are: 'openrouter', 'stripe'",
        ),
        (
            "secrets('api-keys').stripe.nope",
            "api-keys/stripe has no such key: 'nope'; its keys are: 'api_key'",
        ),
        (
            "dynamic('database/creds/simba').pw",
            "database/creds/simba has no such key: 'pw'; its keys are: 'password', 'username'",
        ),
        (
            "certificate('pki/issue/web', common_name='simba.local').key",
            "pki/issue/web has no such key: 'key'; its keys are: 'ca_chain', 'certificate', 'private_key'",
        ),
    ],
)
def test_a_missing_key_is_named(expression, what):
    assert error_of(f"{DB}\n{{{{ {expression} }}}}").startswith(f"app.j2:2: {what}")


def test_the_line_is_that_of_the_macro_or_the_included_file():
    files = {"in": "\n\n{% macro m(s) %}\n{{ s.nope }}{% endmacro %}"}
    assert error_of(DB + '{% from "in.j2" import m %}{{ m(s) }}', **files).startswith(
        "in.j2:4: database/postgres has no"
    )


def test_a_computed_key_is_not_repeated():
    error = error_of(DB + "{{ s[s.password] }}")
    assert error.startswith("app.j2:1: database/postgres has no such key: a computed one; its keys are: ")
    assert CANARY not in error


def test_the_authors_own_word_in_a_variable_is_printed():
    assert "'nope'" in error_of(DB + "{% for word in ['password', 'nope'] %}{{ s[word] }}{% endfor %}")


# What fails never tells a value.

FAILING = [
    "s[s.password]",
    "s[[s.password]]",
    "s[{s.password: 1}]",
    "s.password.foo",
    "s.password[s.password]",
    "s.password|int + 'x'",
    "s.password + 1",
    "1 + s.password",
    "s.password - s.password",
    "s.password / 2",
    "-s.password",
    "s.password < 1",
    "s.password()",
    "s.password.format(**{s.password: 1}).nope",
    "(s.password ~ '{nope}').format(1)",
    "('{' ~ s.password ~ '}').format(1)",
    "('{0.' ~ s.password ~ '}').format(1)",
    "('{0[' ~ s.password ~ ']}').format(s)",
    "('%(' ~ s.password ~ ')s') % {}",
    "s.password|b64decode",
    "s.tls|b64encode",
    "s|urlencode",
    "s ~ s.password",
    "dict()[s.password]",
    "dict(a=s.password)[s.password]",
    "{s.password: 1}.nope",
    "{s: 1}",
    "[s.password][s.password]",
    "range(9999999999)",
    "range(s.password)",
    "range(s.port * 99999)|list",
    "s.password is divisibleby(s.password)",
    "s.password in 5",
    "5 in s.port",
    "s.password|round",
    "s.password|abs",
    "s.password|sum",
    "s.password|truncate(s.password)",
    "s.password|format(1)",
    "s.hosts|map(s.password)|list",
    "s.hosts|map(attribute=s.password)|list",
    "s.hosts|select(s.password)|list",
    "s.hosts|sort(attribute=s.password)",
    "s.hosts|groupby(s.password)",
    "s.hosts|replace(s.password)",
    "[s.password, 1]|sort",
    "[s.password, 1]|max",
    "s.values()|first + 1",
    "s.password.encode(s.password)",
    "s.password.encode().decode(s.password)",
    "s.password.split(5)",
    "s.password.index('nope')",
    "s.password.__class__",
    "s[s.password ~ '__class__']",
    "s.password['__class__' ~ '']",
    "s.password.__getitem__(s.password)",
    "namespace(x=s.password)",
    "namespace(s.password)",
    "namespace(x=1)[s.password]",
    "cycler(s.password)",
    "joiner(s.password)",
    "cycler()",
    "dict(s.password)",
    "dict([s.password])",
    "s.values",
    "s.password.upper",
    "range",
    "s.password.encode()",
    "s.hosts.append(s.password)",
    "s.hosts|first(s.password)",
    "s.password|json(s.password)",
    "env(s.password)",
    "secret('database/mysql')[s.password]",
    "secrets('nope/')[s.password]",
    "dynamic('database/creds/simba')[s.password]",
    "dynamic('database/creds/simba').password + 1",
    "dynamic('database/creds/nope').password",
    "certificate('pki/issue/web', common_name='simba.local')[s.password]",
    "certificate('pki/issue/web', common_name='simba.local') ~ ''",
    "certificate('pki/issue/web').private_key",
    "(s.password * 50).nope",
    "('x' if s.password)[s.password]",
]
BLOCKS = [
    "{% include s.password %}",
    "{% import s.password as p %}",
    "{% macro m(a) %}{{ a[s.password] }}{{ m(a) }}{% endmacro %}{{ m(s.password) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(s.password, s.password) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(**{s.password: 1}) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(s.password)|upper }}",
    "{% for a, b in [s.password] %}{% endfor %}",
    "{% for a in s.port %}{% endfor %}",
    "{% for a in [s.password] recursive %}{{ loop(a) }}{{ loop(1) }}{% endfor %}",
    "{% set a, b = s.password %}",
    "{% set s.password = 1 %}",
    "{% set ns = namespace() %}{% set ns[s.password] = 1 %}",
    "{% set n = namespace(x=1) %}{% set n.x = n %}{{ n.x[s.password] }}",
    "{% call s.password() %}{% endcall %}",
    "{% call dynamic('database/creds/simba') %}{{ s.password }}{% endcall %}",
    "{% if s.password > 1 %}{% endif %}",
    "{% with a = s.password + 1 %}{% endwith %}",
    "{{ self[s.password]() }}",
]


def assert_silent(exc):
    texts = [str(exc), repr(exc), *exc.args, *traceback.format_exception(exc)]
    assert not any(CANARY in str(text) or CANARY.lower() in str(text).lower() for text in texts)


@pytest.mark.parametrize("expression", [*(f"{{{{ {e} }}}}" for e in FAILING), *BLOCKS])
def test_no_failure_reveals_a_value(expression):
    with pytest.raises(TemplateError) as caught:
        rendered(f"{DB}{expression}")
    assert_silent(caught.value)
    assert str(caught.value).startswith("app.j2:1: ")


operand = st.recursive(
    st.sampled_from(["s.password", "s.port", "s.hosts", "s.tls", "s.empty", "s", "'x'", "1", "s.nope", "[s.password]"]),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from([*"+-*/%<~", "//", "==", "in", "and"]), inner),
        st.builds("{}[{}]".format, inner, inner),
        st.builds(
            "({})|{}".format,
            inner,
            st.sampled_from(["int", "b64decode", "b64encode", "first", "join", "sort", "json", "sh"]),
        ),
        st.builds("({}).{}".format, inner, st.sampled_from(["foo", "items()", "format(s.password)", "__class__"])),
    ),
    max_leaves=5,
)


@pytest.mark.no_cover
@given(operand)
def test_any_expression_returns_or_fails_without_revealing_a_value(expression):
    try:
        rendered(f"{DB}{{{{ {expression} }}}}")
    except TemplateError as exc:
        assert_silent(exc)


# What a user of Jinja expects.


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("s.password", CANARY),
        ("s['password']", CANARY),
        ("s.port + 1", 5433),
        ("s.port * 2 // 3", 3621),
        ("s.hosts", ["one", "two"]),
        ("s.hosts[0]", "one"),
        ("s.hosts + ['three']", ["one", "two", "three"]),
        ("s.hosts == ['one', 'two']", True),
        ("s.hosts|join(',')", "one,two"),
        ("s.hosts|map('upper')|join('-')", "ONE-TWO"),
        ("s.hosts|length", 2),
        ("s.hosts|first ~ s.hosts|last", "onetwo"),
        ("s.hosts is sequence", True),
        ("s.tls", {"ca": "PEM", "modes": [{"name": "full"}]}),
        ("s.tls.modes[0].name", "full"),
        ("s.tls.modes|map(attribute='name')|join", "full"),
        ("s.tls == {'ca': 'PEM', 'modes': [{'name': 'full'}]}", True),
        ("s.tls is mapping", True),
        ("s.path", "/var"),
        ("s.origin", "mine"),
        ("s['items'] ~ s['keys'] ~ s['values'] ~ s['get']", "IKVG"),
        ("s.get('username')", "simba"),
        ("s.get('nope', 'there')", "there"),
        ("s.get('nope')", None),
        ("s.tls.keys()|list", ["ca", "modes"]),
        ("s.tls.values()|first", "PEM"),
        ("s.tls.items()|list|first", ["ca", "PEM"]),
        ("s.tls|items|list|last|first", "modes"),
        ("s.tls|dictsort|first|first", "ca"),
        ("s.tls|list", ["ca", "modes"]),
        ("s.tls|length", 2),
        ("'username' in s", True),
        ("'nope' in s", False),
        ("s.nope is defined", False),
        ("s.username is defined", True),
        ("s['nope'] is undefined", True),
        ("s.nope|default('d')", "d"),
        ("s.nope|d(s.username)", "simba"),
        ("s.username|default('d')", "simba"),
        ("''|default('d', true)", "d"),
        ("s.empty", None),
        ("s.empty is none", True),
        ("s.username|upper", "SIMBA"),
        ("s.username|replace('s', 'z')|capitalize", "Zimba"),
        ("s.username.upper()", "SIMBA"),
        ("s.username[:3]", "sim"),
        ("s.username ~ ':' ~ s.port", "simba:5432"),
        ("'%s:%s'|format(s.username, s.port)", "simba:5432"),
        ("'{}:{}'.format(s.username, s.port)", "simba:5432"),
        ("s.username == 'simba'", True),
        ("s.port|string ~ ''", "5432"),
        ("'7'|int + 1", 8),
        ("'a' if s.port > 5000 else 'b'", "a"),
        ("('x' if false) ~ 'y'", "y"),
        ("range(3)|list", [0, 1, 2]),
        ("dict(a=s.username)", {"a": "simba"}),
        ("{1: s.username}", {"1": "simba"}),
        ("(1, s.username)", [1, "simba"]),
        ("1.5", 1.5),
        ("true", True),
        ("secrets('api-keys/').stripe.api_key", "k2"),
        ("secrets('api-keys').stripe", {"api_key": "k2"}),
        ("secrets('api-keys/')|length", 2),
        ("dynamic('database/creds/simba').username", "v-simba-1"),
        ("dynamic('aws/sts/deploy', ttl='15m', n=2).access_key", "A1"),
        ("dynamic('aws/sts/deploy', n=3, ttl='15m').access_key", "A2"),
        ("dynamic('a/b', self='s', class='c', literal='l').x", "odd names"),
        ("certificate('pki/issue/web', common_name='simba.local').certificate", "C"),
        ("certificate('pki/issue/web', common_name='simba.local').ca_chain", ["one", "two"]),
        ("certificate('pki/issue/web', common_name='simba.local').ca_chain|join('+')", "one+two"),
        ("env('HOST', 'none')", "none"),
    ],
)
def test_expressions_work_as_in_jinja(expression, expected):
    got = value(expression)
    assert (got, type(got)) == (expected, type(expected))


def test_nested_values_have_plain_types():
    def kinds(item):
        yield type(item)
        for inner in item.items() if isinstance(item, dict) else item if isinstance(item, list) else ():
            yield from kinds(list(inner) if isinstance(inner, tuple) else inner)

    assert set(kinds(value("[s, {s.username: s.hosts}]"))) <= {dict, list, str, int, type(None)}


def test_an_inline_if_without_else_is_empty():
    assert parts('A={{ "x" if false }}B') == ["A=B"]


def test_a_value_has_its_origin():
    text = (
        DB
        + "{{ s.password }} {{ s.tls.modes[0].name }} {{ s.hosts[1] }} {{ s.tls }} {{ s.port }} {{ s.username ~ '' }}"
    )
    origins = [part.origin for part in rendered(text) if isinstance(part, Placeholder)]
    path = "database/postgres"
    assert origins[:4] == [f"{path}: password", f"{path}: tls: modes[0]: name", f"{path}: hosts[1]", f"{path}: tls"]
    assert origins[4:] == ["an expression", "an expression"]


def test_a_dynamic_secret_that_was_set_once_serves_the_whole_template():
    text = '{% set db = dynamic("database/creds/simba") %}{{ db.username }}:{{ db.password }}'
    first, colon, second = rendered(text)
    assert (first.value, colon, second.value) == ("v-simba-1", ":", CANARY)
    assert (first.origin, second.origin) == ("database/creds/simba: username", "database/creds/simba: password")


def test_a_part_of_a_certificate_has_its_origin():
    placeholder, other = rendered(
        '{% set c = certificate("pki/issue/web", common_name="simba.local") %}{{ c.private_key }}{{ c.ca_chain[1] }}'
    )
    assert (placeholder.origin, other.origin) == ("pki/issue/web: private_key", "pki/issue/web: ca_chain[1]")


def test_placeholders_keep_their_order_between_the_texts():
    text = DB + "a={{ s.username }}\n{# note #}b={{ s.port }}{{ s.path }};{{ 'c' }}"
    assert parts(text) == ["a=", ["simba"], "\nb=", [5432], ["/var"], ";", ["c"]]


def test_a_literal_in_braces_is_a_value():
    assert parts("{{ 'a' }}{{ 1 }}") == [["a"], [1]]


def test_a_tag_at_the_end_of_a_line_does_not_join_lines():
    assert parts("A={% if true %}1{% endif %}\nB=2 {# note #}\nC=3\n") == ["A=1\nB=2 \nC=3\n"]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ('{% for x in [1, 2] %}{{ x }}{{ "," if not loop.last }}{% endfor %}', [[1], ",", [2]]),
        ('{% for x in [1, 2] %}{{ x }}{{ ", " if not loop.last else ";" }}{% endfor %}', [[1], ", ", [2], ";"]),
        ('{{ "," }}{{ "\\n" }}', [",\n"]),
        ('{{ "a," }}', [["a,"]]),
        ('{{ "" }}', [[""]]),
        (DB + '{{ s.password if true else "," }}', [[POSTGRES["password"]]]),
        (DB + '{% set c = "," %}{{ c }}{{ "," ~ s.password }}', [[","], ["," + POSTGRES["password"]]]),
    ],
)
def test_punctuation_that_the_author_wrote_is_text_and_all_else_a_value(template, expected):
    assert parts(template) == expected


def test_text_is_one_fragment_and_an_empty_template_has_none():
    assert parts("a{# b #}c{% if true %}d{% endif %}\n") == ["acd\n"]
    assert parts("") == []


def test_loops_over_a_secret_and_a_folder():
    folder = '{% for name, s in secrets("api-keys/").items() %}{{ name }}={{ s.api_key }};{% endfor %}'
    assert parts(folder) == [["openrouter"], "=", ["k1"], ";", ["stripe"], "=", ["k2"], ";"]
    assert parts(DB + "{% for k, v in s.tls.items() %}{{ k }}{{ loop.last }}{% endfor %}") == [
        ["ca"], [False], ["modes"], [True],
    ]  # fmt: skip


def test_environment_variables_are_read_and_missing_ones_reported():
    assert rendered('{{ env("HOST") }}', environ={"HOST": "h"})[0].value == "h"
    assert rendered('{{ env("HOST", "d") }}', environ={"HOST": "h"})[0].value == "h"
    assert error_of('\n{{ env("HOST") }}') == (
        "app.j2:2: env('HOST'): the agent's environment has no HOST; set it, or add a default"
    )


def test_a_pinned_version_is_another_secret():
    secrets = {
        Ref("secret", "production/a"): Secret({"x": "new"}),
        Ref("secret", "production/a", 1): Secret({"x": "old"}),
    }
    text = '{{ secret("a").x }}{{ secret("a", version=1).x }}'
    assert [placeholder.value for placeholder in rendered(text, secrets=secrets)] == ["new", "old"]


@pytest.mark.parametrize("taking", ['{% include "in.j2" %}', '{% include "in.j2" without context %}'])
def test_functions_are_available_in_included_templates(taking):
    assert parts(f"<{taking}>", **{"in": '{{ secret("database/postgres").username }}!'}) == ["<", ["simba"], "!>"]


def test_functions_are_available_in_imports_of_an_included_template():
    files = {
        "in": '{% import "deep.j2" as m %}{{ m.user() }}',
        "deep": f"{DB}{{% macro user() %}}{{{{ s.username }}}}{{% endmacro %}}",
    }
    assert parts('{% include "in.j2" %}', **files) == [["simba"]]


def test_an_imported_template_is_run_again_with_new_secrets():
    template = compiled('{% import "in.j2" as m %}{{ m.pw }}{% include "in.j2" without context %}',
                    **{"in": '{% set pw = secret("a").x %}{{ pw }}'})  # fmt: skip
    for new in ("one", "two"):
        parts = Renderer(SPACE, {Ref("secret", "production/a"): Secret({"x": new})}, {}, {}, {}).render(template).parts
        assert [part.value for part in parts] == [new, new]


# Macros and blocks keep their holes.


@pytest.mark.parametrize(
    "text",
    [
        "{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(s.password) }}",
        "{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}{{ s.password }}{% endcall %}",
        "{% set x %}<{{ s.password }}>{% endset %}{{ x }}",
        "{% set x %}<{{ s.password }}>{% endset %}{{ x|default('d') }}",
        "{% block b %}<{{ s.password }}>{% endblock %}",
        "<{% for x in [s.password] recursive %}{{ x if x is string else loop(x) }}{% endfor %}>",
        "{% macro m(x) %}{{ x }}{% endmacro %}<{{ m(m(m(s.password))) }}>",
        "<{{ [s.password]|first }}>",
        "{% set x %}{{ s.password }}{% endset %}{% for y in [x] %}<{{ y }}>{% endfor %}",
    ],
)
def test_blocks_and_macros_keep_their_placeholders(text):
    assert parts(DB + text) == ["<", [CANARY], ">"]


def test_blocks_of_a_base_keep_their_placeholders():
    base = "<{% block b %}{{ secret('database/postgres').username }}{% endblock %}>"
    assert parts('{% extends "in.j2" %}', **{"in": base}) == ["<", ["simba"], ">"]
    child = '{% extends "in.j2" %}{% block b %}{{ super() }}-{{ self.c() }}{% endblock %}{% block c %}x{% endblock %}'
    assert parts(child, **{"in": base}) == ["<", ["simba"], "-x>"]


def test_a_macro_without_values_is_text():
    assert parts("{% macro m() %}a={% endmacro %}{{ m() }}{% set x %}b{% endset %}{{ x }}") == ["a=b"]


def test_text_of_a_set_block_can_be_used_as_a_string():
    assert parts("{% set x %}on{% endset %}{% if x == 'on' %}{{ x|upper }}{% endif %}") == [["ON"]]
    assert parts("{% set x | upper %}on{% endset %}{{ x }}") == [["ON"]]


def test_a_value_as_the_argument_of_a_set_blocks_filter_is_not_text():
    assert parts(DB + "{% set x | replace('a', s.password) %}<a>{% endset %}{{ x }}") == [[f"<{CANARY}>"]]


@pytest.mark.parametrize(
    "expression",
    [
        "x ~ 'b'", "'b' ~ x", "x + 'b'", "'b' + x", "[x, x]|join", "x|upper", "x|string", "x|trim", "x|int", "x|float",
        "x|length", "x|reverse", "x|first", "x|last", "x|list", "x|b64encode", "x|b64decode", "x|urlencode", "x|sh",
        "x|json", "x|tojson", "x|replace('a', 'b')", "x|default('d', true)", "x|truncate(1)", "x|indent", "x|format(1)",
        "'%s'|format(x)", "'{}'.format(x)", "'%s' % x", "x == 'b'", "x != 'b'", "x < 'b'", "'b' in x", "x in ['b']",
        "x[0]", "x[:1]", "x.upper()", "x.parts", "not x", "x and 1", "1 if x", "x is upper", "[x]|sort", "[x, x]|max",
        "[x]|map('upper')|list", "{x: 1}", "{'a': x}|json", "x * 2", "x|count", "x|wordcount", "x|title",
        "x|d('', true)",
        "[x, x]|unique|list", "x|abs", "x|round", "x|sum", "[x]|select('eq', 'b')|list", "range(x)", "s[x]", "[1][x]",
        "s.get(x)", "s.username.replace('s', x)", "x is in(['b'])", "dict([[x, 1]])", "x|batch(2)|list", "x|items|list",
    ],
)  # fmt: skip
def test_text_with_values_can_only_be_written(expression):
    error = error_of(DB + "{% set x %}1{{ s.port }}{% endset %}{{ " + expression + " }}")
    assert error.startswith("app.j2:1: ")


def test_misused_text_with_values_is_an_error_with_a_remedy():
    error = error_of(DB + "{% set x %}{{ s.port }}{% endset %}\n{{ x|int }}")
    assert error.endswith("joined, compared or filtered; apply the operation to the values inside it")


# Structures.


@pytest.mark.long
@given(st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.text(),
       lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))))  # fmt: skip
def test_a_secret_is_rendered_as_json(data):
    secrets = {Ref("secret", "production/a"): Secret(data)}
    plain, as_json = rendered('{{ secret("a") }}{{ secret("a")|json }}', secrets=secrets)
    assert repr(plain.value) == repr(data)
    assert as_json.structure
    assert repr(json.loads(as_json.value)) == repr(data)
    assert not plain.structure


def test_a_template_can_fail_with_its_own_message():
    text = '\n{{ fail("database/postgres: this user is no admin") if secret("database/postgres").username != %s }}'
    assert error_of(text % "'admin'") == "app.j2:2: database/postgres: this user is no admin"
    assert rendered(text % "'simba'") == ("\n",)


def test_the_message_of_a_failing_template_is_a_literal():
    with pytest.raises(TemplateError, match=r"^app\.j2:1: fail\(\) takes literals"):
        compiled('{{ fail(secret("database/postgres").username) }}')


@pytest.mark.parametrize("number", ["1" * 5000, "1_0" * 3000])
def test_a_number_that_python_cannot_read_is_an_error(number):
    with pytest.raises(TemplateError) as caught:
        compiled(f"\n{{{{ {number} }}}}").prepare()
    assert str(caught.value) == "app.j2: a number in the template is too long; write it as a string"
    with pytest.raises(TemplateError, match=r"^app\.j2:1: the version number is too large"):
        compiled(f'{{{{ secret("a", version=0x{"f" * 5000}) }}}}')


def test_a_number_that_python_cannot_write_is_an_error():
    with pytest.raises(TemplateError, match=r"^app\.j2: a number in the template is too long"):
        compiled(f"{{{{ 0x{'f' * 5000} }}}}").prepare()
