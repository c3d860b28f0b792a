"""Calls of vault(): which request they make, found without running the template."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.errors import DeniedError, TemplateError, TemplateListError
from lessee.core.immutable import replace
from lessee.core.path_scope import MountScope, PathScope
from lessee.core.paths import DynamicSecret, Input, Ref
from lessee.core.secrets import Secret
from lessee.rendering.templates import Compiler, Renderer
from lessee.rendering.vault_calls import requested

SCOPE = PathScope("secret", "production/", ("shared/",), frozenset({"testing"}), "production")


def compiled(text):
    return Compiler({"app.j2": text}.__getitem__, SCOPE).compile("app.j2")


def reference(call):
    [found] = compiled(f"{{{{ {call}.x }}}}").references
    return found


def error_of(call):
    with pytest.raises(TemplateError) as caught:
        compiled(f"\n{{{{ {call}.x }}}}")
    return str(caught.value)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("vault('database/creds/simba')", DynamicSecret("database/creds/simba")),
        ("vault('kv/data/{environment}/a', every='5m')", DynamicSecret("kv/data/production/a", every=300.0)),
        ("vault('transit/random', method='POST', every='never')", DynamicSecret("transit/random", (), "POST", every=0)),
        ("vault('kv/metadata/a/', method='LIST', every='1h')", DynamicSecret("kv/metadata/a/", (), "LIST", every=3600)),
        ("vault('kv', method='LIST', every='1h')", DynamicSecret("kv", (), "LIST", every=3600)),
        ("vault('a/b', method='GET', every='1h')", DynamicSecret("a/b", every=3600)),
        (
            "vault('transit/hmac/a', input='b', n=1, raw=true, every='1s')",
            DynamicSecret("transit/hmac/a", (("input", "b"), ("n", 1), ("raw", True)), "POST", every=1),
        ),
        (
            "vault('a/creds/b', {'every': '1h', 'z': {'y': [1, -2, none]}}, f=-1.5, a=-1)",
            DynamicSecret("a/creds/b", (("a", -1), ("every", "1h")), "POST", body='{"f":-1.5,"z":{"y":[1,-2,null]}}'),
        ),
    ],
)
def test_a_call_makes_one_request(call, expected):
    assert reference(call) == expected


def test_a_call_without_a_rule_shares_its_lease_with_dynamic():
    text = "{{ vault('a/creds/b', ttl='1h').x }}{{ dynamic('a/creds/b', ttl='1h').y }}"
    assert len(compiled(text).references) == 1


def test_the_same_call_is_one_reference_in_any_order():
    text = (
        "{{ vault('a/b', x={'c': 1, 'd': 2}, y=[1], every='60s').x }}"
        "{{ vault('a/b', every='1m', y=[1], x={'d': 2, 'c': 1}).x }}"
    )
    assert len(compiled(text).references) == 1


def test_a_value_is_rendered_with_its_type():
    need = DynamicSecret("transit/decrypt/app", (), "POST", body='{"batch_input":[{"ciphertext":"c"}]}', every=300.0)
    found = compiled(
        "{% set a = vault('transit/decrypt/app', batch_input=[{'ciphertext': 'c'}], every='5m') %}"
        "{{ a.list[0].text }}{{ a.n + 1 }}"
    )
    secret = Secret({"list": [{"text": "clear"}], "n": 41})
    rendered = Renderer(SCOPE, {}, {}, {need: secret}, {}).render(found)
    assert [str(value.value) for value in rendered.parts] == ["clear", "42"]


OTHER = PathScope("kv", foreign=frozenset({"testing"}), environment="production", identity="other")


def test_a_call_may_name_a_namespace_and_an_identity():
    scope = replace(SCOPE, identities={"other": OTHER})
    found = requested(scope, "transit/random", method="POST", every="1h", namespace="team/{environment}")
    assert found == DynamicSecret("team/production/transit/random", (), "POST", every=3600.0)
    found = requested(scope, "secret/a", every="1h", identity="other")
    assert found == DynamicSecret("secret/a", every=3600.0, identity="other")
    with pytest.raises(DeniedError, match="contains the name of another environment"):
        requested(scope, "a/b", every="1h", namespace="team/testing")
    with pytest.raises(DeniedError, match="no identity is named 'another'"):
        requested(scope, "a/b", every="1h", identity="another")


def test_a_mount_with_folders_of_its_own_is_read_by_secret():
    scope = replace(SCOPE, mounts={"Team-b": MountScope("production/")})
    for path in "Team-b/data/production/a", "team-%62/data/production/a":
        with pytest.raises(DeniedError, match=r"'Team-b'.*read it with secret\(\)"):
            requested(scope, path, every="1h")


def test_a_call_may_be_optional():
    found = compiled("{% set a = vault('a/b', every='1h', optional=true) %}{{ a.c if a else 'none' }}")
    need = DynamicSecret("a/b", every=3600.0)
    assert found.optional == {need}
    for there, expected in [({}, "none"), ({need: Secret({"c": "found"})}, "found")]:
        rendered = Renderer(SCOPE, {}, {}, there, {}).render(found)
        assert [str(value.value) for value in rendered.parts] == [expected]


SECRET = Ref("secret", "production/a")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("secret('a').b", Input("x", SECRET, ("b",))),
        ("secret('a')['b'].c", Input("x", SECRET, ("b", "c"))),
        ("secret('a', version=2).b | b64encode", Input("x", replace(SECRET, version=2), ("b",), encoded=True)),
        ("secret('shared/a').b", Input("x", Ref("secret", "shared/a"), ("b",))),
    ],
)
def test_a_parameter_may_be_a_field_of_a_secret(value, expected):
    found = compiled(f"{{{{ vault('transit/decrypt/a', x={value}, z=['y'], every='never').plaintext }}}}")
    need = DynamicSecret("transit/decrypt/a", (), "POST", body='{"z":["y"]}', every=0.0, inputs=(expected,))
    assert found.references == {need, expected.secret}
    rendered = Renderer(SCOPE, {}, {}, {need: Secret({"plaintext": "clear"})}, {}).render(found)
    assert [str(value.value) for value in rendered.parts] == ["clear"]


def test_a_parameter_from_a_secret_counts_as_one_that_signs_a_key():
    assert compiled("{{ vault('ssh/sign/a', public_key=secret('a').key).signed_key }}").references >= {SECRET}
    with pytest.raises(TemplateError, match="does not say when it is read again"):
        compiled("{{ vault('transit/hmac/a', input=secret('a').key).hmac }}")


def test_templates_that_differ_in_the_secret_of_a_parameter_share_nothing():
    texts = {f"{name}.j2": f"{{{{ vault ('a/b', x=secret(\"{name}\").y, every='1h').z }}}}" for name in "abc"}
    compiler = Compiler(texts.__getitem__, SCOPE)
    for name in "abc":
        found = compiler.compile(f"{name}.j2")
        ref = Ref("secret", f"production/{name}")
        need = DynamicSecret("a/b", (), "POST", every=3600.0, inputs=(Input("x", ref, ("y",)),))
        assert found.references == {need, ref}
        rendered = Renderer(SCOPE, {}, {}, {need: Secret({"z": name})}, {}).render(found)
        assert [str(value.value) for value in rendered.parts] == [name]


def test_a_parameter_is_read_under_the_identity_of_its_call():
    scope = replace(SCOPE, identities={"other": OTHER})
    texts = {
        "same.j2": "{{ vault('a/b', x=secret('a', identity='other').y, every='1h', identity='other').z }}",
        "another.j2": "{{ vault('a/b', x=secret('a', identity='other').y, every='1h').z }}",
    }
    compiler = Compiler(texts.__getitem__, scope)
    assert {need.identity for need in compiler.compile("same.j2").references} == {"other"}
    with pytest.raises(TemplateError, match="a parameter of 'a/b' is of another identity; read the parameter's secret"):
        compiler.compile("another.j2")


def test_an_error_in_the_secret_of_a_parameter_is_reported_with_its_reason():
    with pytest.raises(TemplateListError) as caught:
        compiled("{{ vault('a/b', x=secret('testing/a').y, every='1h').z }}")
    [problem] = caught.value.problems
    assert "'testing/a' starts with the name of another environment" in str(problem)


def test_requests_with_different_fields_have_different_texts():
    fields = "secret('a').b", "secret('a').c", "secret('c').b", "secret('a').b | b64encode"
    found = [compiled(f"{{{{ vault('a/b', x={field}, every='1h').z }}}}").references for field in fields]
    texts = {str(need) for needs in found for need in needs if isinstance(need, DynamicSecret)}
    assert len(texts) == len(fields)
    assert all(text.startswith("a/b (x, every=3600s, call ") for text in texts)


@pytest.mark.parametrize(
    "call",
    [
        "vault('a/b', x=secret('a'), every='5m')",
        "vault('a/b', x=secret('a').b | upper, every='5m')",
        "vault('a/b', x=secret('a').b | b64encode('c'), every='5m')",
        "vault('a/b', x=secret('a').b ~ 'c', every='5m')",
        "vault('a/b', x=secrets('a')['b'].c, every='5m')",
        "vault('a/b', x=dynamic('a/b').c, every='5m')",
        "vault('a/b', x=('a', 'b'), every='5m')",
        "vault('a/b', {'x': secret('a').b}, every='5m')",
        "vault(secret('a').b, every='5m')",
        "vault('a/b', x=env('X', 'y'), every='5m')",
        "vault('a/b', x=[env('X', 'y')], every='5m')",
        "vault('a/b', x={'y': secret('a').b}, every='5m')",
        "vault('a/b', x={env('X', 'y'): 1}, every='5m')",
        "vault('a/b', x={1: 2}, every='5m')",
        "vault('a/b', x=-true, every='5m')",
        "vault('a/b', x=-env('X', 'y'), every='5m')",
        "vault('a/' ~ 'b', every='5m')",
        "vault(*['a/b'], every='5m')",
        "vault('a/b', **{'every': '5m'})",
    ],
)
def test_an_argument_that_is_not_a_literal_is_rejected(call):
    assert error_of(call).startswith("app.j2:2: vault() takes literals only, so that every path is known without ")


def test_a_duplicate_keyword_is_rejected():
    assert error_of("vault('a/b', x=1, x=2)") == "app.j2:2: vault() has the same keyword twice; remove one of them"
    error = error_of("vault('a/b', {'x': 1}, x=2, every='5m')")
    assert error == "app.j2:2: vault() has the same parameter twice; remove one of them"


@pytest.mark.parametrize(
    "arguments", ["", "1", "'a/b', 'c'", "'a/b', every='5m', optional=1", "'a/b', {}, {}", "path='a/b'", "['a/b']"]
)
def test_arguments_of_the_wrong_kind_are_rejected_with_an_example(arguments):
    error = error_of(f"vault({arguments})")
    assert error.startswith("app.j2:2: vault() does not accept these arguments; write it as vault(")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("every='5m', method='get'", 'the method is neither "GET" nor "POST" nor "LIST"; omit it'),
        ("every='5m', method=['GET']", 'the method is neither "GET" nor "POST" nor "LIST"; omit it'),
        ("every='5m', method='GET', x=1", 'method="GET" sends no parameters; omit'),
        ("every='5m', method='LIST', x=[1]", 'method="LIST" sends no parameters; omit'),
        ("every='soon'", '`every` is not a duration; write every="5m", or every="never"'),
        ("every=300", '`every` is not a duration; write every="5m", or every="never"'),
        ("every=['5m']", '`every` is not a duration; write every="5m", or every="never"'),
        ("every='500ms'", "`every` is shorter than 1s, or longer than ten years; write"),
        ("every='9999d'", "`every` is shorter than 1s, or longer than ten years; write"),
        ("every='5m', x=['\\ud800']", "a parameter cannot be sent; write characters themselves"),
        ("every='5m', x='\\ud800'", "a parameter contains half of a surrogate pair; write the character itself"),
        ("every='5m', namespace=1", 'namespace is not a name; write it as namespace="NAME"'),
        ("every='5m', identity=['a']", 'identity is not a name; write it as identity="NAME"'),
        ("x=1", '\'a/b\' does not say when it is read again; add every="5m", or every="never" for what is to remain'),
    ],
)
def test_what_cannot_be_requested_is_rejected_with_its_line(arguments, why):
    assert error_of(f"vault('a/b', {arguments})").startswith(f"app.j2:2: {why}")


NAMES = st.sampled_from(["path", "body", "self", "class", "ttl", "names"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text("ab\u00e4"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.no_cover
@given(st.dictionaries(NAMES, VALUES), st.randoms())
def test_equal_parameters_are_one_request_whatever_their_order(params, random):
    pairs = list(params.items())
    random.shuffle(pairs)
    one = requested(SCOPE, "a/b", every="5m", **params)
    assert one == requested(SCOPE, "a/b", dict(pairs), every="5m")
    assert one.method == ("POST" if params else "GET")


def test_credentials_of_the_agent_are_denied_whatever_is_sent():
    with pytest.raises(DeniedError, match="names auth, sys or cubbyhole, which return credentials"):
        requested(SCOPE, "auth/token/create", {"policies": ["root"]}, every="5m")
