"""The references in calls of dynamic() and certificate(), found without running the template."""

import pytest

from lessee.core.errors import TemplateError
from lessee.core.path_scope import MountScope, PathScope
from lessee.core.paths import DynamicSecret, Folder, Ref
from lessee.core.secrets import Secret
from lessee.rendering.serialization import text as text_in
from lessee.rendering.templates import Compiler, Renderer

SPACE = PathScope("secret", "production/", ("shared/",), frozenset({"testing"}))


def references(text):
    return Compiler({"app.j2": text}.__getitem__, SPACE).compile("app.j2").references


def error_of(text):
    with pytest.raises(TemplateError) as caught:
        references(text)
    return str(caught.value)


def test_dynamic_secrets_in_unused_branches_are_found():
    text = (
        '{% if false %}{{ dynamic("database/creds/simba").x }}{{ dynamic("gcp/key/a", method="POST").x }}{% endif %}'
        '{% set c = certificate("pki/issue/web", common_name="simba.local", ttl="1h", exclude_cn_from_sans=true) %}'
        '{% macro m() %}{{ certificate("pki/issue/api", common_name="a", key="local").x }}{% endmacro %}'
    )
    web = (("common_name", "simba.local"), ("exclude_cn_from_sans", True), ("ttl", "1h"))
    assert references(text) == {
        DynamicSecret("database/creds/simba"),
        DynamicSecret("gcp/key/a", method="POST"),
        DynamicSecret("pki/issue/web", web, "POST", certificate=True),
        DynamicSecret("pki/issue/api", (("common_name", "a"),), "POST", certificate=True, local_key=True),
    }


def test_the_same_call_is_one_reference_in_any_order_of_its_keywords():
    assert len(references('{{ dynamic("a/b", x=1, y="2").c }}{{ dynamic("a/b", y="2", x=1).d }}')) == 1
    assert len(references('{{ dynamic("a/b").c }}{{ dynamic("a/b", method="GET").d }}')) == 1
    assert (
        len(references('{{ certificate("a/b", common_name="c").x }}{{ certificate("a/b", common_name="d").x }}')) == 2
    )


@pytest.mark.parametrize(
    "expression",
    [
        "dynamic('a/' ~ 'b')",
        "dynamic('a/b', ttl=env('TTL', '1h'))",
        "dynamic('a/b', ttl='1' ~ 'h')",
        "dynamic('a/b', n=-1)",
        "dynamic('a/b', names=['c'])",
        "dynamic(*['a/b'])",
        "dynamic('a/b', **{'ttl': '1h'})",
        "certificate('a/b', common_name=env('HOSTNAME'))",
        "certificate('a/b', common_name=dynamic('c/d').x)",
    ],
)
def test_an_argument_that_is_not_a_literal_is_rejected(expression):
    error = error_of(f"\n{{{{ {expression} }}}}")
    assert error.startswith("app.j2:2: ")
    assert (
        "takes literals only, so that every path is known without running the template; write the arguments out, as in "
        in error
    )


@pytest.mark.parametrize("function", ["dynamic", "certificate"])
@pytest.mark.parametrize("arguments", ["", "1", "'a/b', 'c'", "path='a/b'", "'a/b', ttl=none", "'a/b', n=1.5"])
def test_arguments_of_the_wrong_kind_are_rejected_with_an_example(function, arguments):
    error = error_of(f"\n\n{{{{ {function}({arguments}) }}}}")
    assert error.startswith(f"app.j2:3: {function}() does not accept these arguments; write it as {function}(")


@pytest.mark.parametrize("call", ["dynamic('a/b', ttl='1h', ttl='2h')", "secret('a', version=1, version=2)"])
def test_a_duplicate_keyword_is_rejected_at_its_line(call):
    error = error_of(f"\n{{{{ {call} }}}}")
    assert error == f"app.j2:2: {call.partition('(')[0]}() has the same keyword twice; remove one of them"


@pytest.mark.parametrize("text", ["{% set f = dynamic %}{{ f('a/b').x }}", "{{ certificate }}"])
def test_a_function_has_no_other_name(text):
    assert " can only be called, as in " in error_of(text)


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ("dynamic('simba')", "is not the path of a dynamic secret; write the mount"),
        ("dynamic('../a')", "is not a path: an element is empty, a dot"),
        ("dynamic('testing/creds/a')", "starts with the name of another environment; an agent reads only its own"),
        ("dynamic('secret/data/testing/a')", "the mount of the KV secrets; read it with secret()"),
        ("dynamic('a/b', ttl='1h', method='GET')", 'method="GET" sends no parameters; omit'),
        ("dynamic('a/b', method=1)", 'is neither "GET" nor "POST"; omit it'),
        ("certificate('testing/issue/a')", "starts with the name of another environment; an agent reads only its own"),
        ("certificate('pki/issue/a', key='here')", 'is neither "server" nor "local"; choose where'),
        ("certificate('pki/issue/a', key='local')", "needs a common_name for its signing request; write"),
        ("certificate('pki/sign/a', key='local', common_name='a')", "does not end in issue/ROLE, so "),
    ],
)
def test_a_denied_path_or_parameter_is_rejected_with_its_line(call, why):
    error = error_of(f"\n{{{{ {call}.x }}}}")
    assert error.startswith("app.j2:2: ")
    assert why in error


def test_a_variable_of_the_agent_is_rejected_with_its_line():
    error = error_of("\n{{ env('VAULT_TOKEN', 'none') }}")
    assert error == (
        "app.j2:2: templates cannot read the variable 'VAULT_TOKEN', which is one of the agent's own; "
        "write the value out, or set a variable of another name for the app"
    )


SEVERAL = PathScope(
    "secret",
    "production/",
    mounts={"kv2": MountScope("production/")},
    identities={"team-b": PathScope("kv-b", identity="team-b")},
)


def compiled(text, **templates):
    texts = {"app.j2": text} | {f"{name}.j2": more for name, more in templates.items()}
    return Compiler(texts.__getitem__, SEVERAL).compile("app.j2")


def test_a_reference_names_its_mount_namespace_and_identity():
    text = (
        '{{ secret("a", mount="kv2").x }}{{ secret("b", version=2, identity="team-b").x }}'
        '{{ secrets("c/", namespace="n") }}{{ dynamic("d/e", identity="team-b", optional=true).x }}'
    )
    assert compiled(text).references == {
        Ref("kv2", "production/a"),
        Ref("kv-b", "b", 2, "team-b"),
        Folder("n/secret", "production/c/"),
        DynamicSecret("d/e", identity="team-b"),
    }


def test_what_another_call_or_template_needs_is_not_optional():
    assert compiled('{{ secret("a", optional=true) }}{{ secret("b") }}').optional == {Ref("secret", "production/a")}
    assert compiled('{{ secret("a", optional=true) }}{{ secret("a") }}').optional == frozenset()
    assert compiled('{{ secret("a", optional=false) }}').optional == frozenset()
    assert compiled(
        '{{ secret("a", optional=true) }}{% include "in.j2" %}', **{"in": '{{ secret("a") }}'}
    ).optional == (frozenset())
    both = compiled(
        '{{ secrets("a/", optional=true) }}{% include "in.j2" %}', **{"in": '{{ dynamic("a/b", optional=true) }}'}
    )
    assert both.optional == {Folder("secret", "production/a/"), DynamicSecret("a/b")}
    assert compiled("optional {{ upper(1) }}{% macro upper(x) %}{{ x }}{% endmacro %}").optional == frozenset()


@pytest.mark.no_cover
@pytest.mark.parametrize(
    "call",
    [
        'secret("a", optional="yes")',
        'secret("a", optional=1)',
        'secret("a", mount=3)',
        'secret("a", version=true, mount="kv2")',
        'secrets("a/", version=3)',
        'dynamic("a/b", optional="yes")',
        'env("A", optional=true)',
        'fail("a", optional=true)',
    ],
)
def test_other_values_of_these_keywords_are_errors(call):
    with pytest.raises(TemplateError, match="does not accept these arguments"):
        compiled(f"{{{{ {call} }}}}")


def test_templates_with_optional_secrets_share_no_skeleton():
    text = '{{ secret("NAME", optional=true).x | default("none") }}{{ secret("NAME2", mount="kv2").x }}'
    texts = {f"{name}.j2": text.replace("NAME", name) for name in "abcd"}
    compiler = Compiler(texts.__getitem__, SEVERAL)
    for name in "abcd":
        assert compiler.compile(f"{name}.j2").optional == {Ref("secret", f"production/{name}")}


def test_templates_that_name_the_same_places_share_a_skeleton():
    texts = {f"{name}.j2": f'{{{{ secret("{name}", identity="team-b").x }}}}' for name in "abcd"}
    compiler = Compiler(texts.__getitem__, SEVERAL)
    made = [compiler.compile(f"{name}.j2") for name in "abcd"]
    assert [one.needs for one in made] == [(Ref("kv-b", name, None, "team-b"),) for name in "abcd"]
    assert made[2].parts[0].generated is made[3].parts[0].generated


def test_an_optional_secret_that_is_missing_is_empty():
    text = (
        '{{ secret("a", optional=true).x | default("none") }} {{ secrets("b/", optional=true) | length }} '
        '{{ "c" if dynamic("c/d", optional=true) }}{{ certificate("e/f", optional=true) | length }}'
    )
    template = compiled(text)
    empty = Renderer(SEVERAL, {}, {}, {}, {})
    assert text_in(empty.render(template), "text") == "none 0 0"
    found = Secret({"x": "1"})
    whole = Renderer(
        SEVERAL,
        {Ref("secret", "production/a"): found},
        {Folder("secret", "production/b/"): {"one": found}},
        {DynamicSecret("c/d"): found, DynamicSecret("e/f", method="POST", certificate=True): found},
        {},
    )
    assert text_in(whole.render(template), "text") == "1 1 c1"
