"""A reference in the text of a template reads its secret, and the format quotes the value as that of any call."""

import pytest
from dotenv import dotenv_values

from lessee.core.errors import TemplateError
from lessee.core.path_scope import MountScope, PathScope
from lessee.core.paths import Ref
from lessee.core.secrets import Secret
from lessee.rendering.formats import write
from lessee.rendering.templates import Compiler, Renderer

MOUNTS = {"kv": MountScope("production/")}
SCOPE = PathScope("secret", "production/", ("shared/",), frozenset({"testing"}), mounts=MOUNTS)
PASSWORD = 'it\'s "$x" @:/%\nA=1'
SECRET = Secret({"user": "web", "password": PASSWORD, "nested": {"deep": "d"}})


def compiled(text, **others):
    files = {"app.j2": text} | {f"{name}.j2": other for name, other in others.items()}
    return Compiler(files.__getitem__, SCOPE).compile("app.j2")


def rendered(text, form, **others):
    template = compiled(text, **others)
    secrets = dict.fromkeys(template.needs, SECRET)
    return write(Renderer(SCOPE, secrets, {}, {}, {}).render(template), form)


def test_a_value_is_quoted_for_the_format(tmp_path):
    text = 'A=ref+openbao://db#password\nB="ref+vault://db#/nested/deep"\nC=x-ref+vault://db#user+-y\n'
    (tmp_path / "app.env").write_text(rendered(text, "dotenv"))
    assert dotenv_values(tmp_path / "app.env") == {"A": PASSWORD, "B": "d", "C": "x-web-y"}


def test_a_part_of_a_url_is_encoded_where_the_reference_says_so():
    text = "url: postgresql://ref+vault://db#user+:ref+vault://db?urlencode=true#password+@db/web\n"
    assert "postgresql://web:it%27s%20%22%24x%22%20%40%3A%2F%25%0AA%3D1@db/web" in rendered(text, "yaml")


def test_references_are_found_in_unused_branches_and_in_included_templates():
    text = '{% if false %}ref+vault://a#b{% endif %}{% include "more.j2" %}'
    more = "ref+vault://keys?mount=kv#c ref+vault://shared/x?version=2#d"
    assert compiled(text, more=more).references == {
        Ref("secret", "production/a"),
        Ref("kv", "production/keys"),
        Ref("secret", "shared/x", 2),
    }


def test_what_is_no_text_of_the_template_is_no_reference():
    text = '# old: ref+vault://a#b\n{# ref+vault://a #}{{ "ref+vault://a" }}{% raw %}{{ x }}{% endraw %}'
    assert compiled(text).references == frozenset()


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("A=1\nB=ref+vault://a\n", "app.j2:2", "names no field; write `#FIELD`"),
        ("A=1\nB=x\n  C=ref+vault://a#b@c\n", "app.j2:3", "invalid field; end the reference with `+`"),
        ("{{ 1 }}\n\nA=ref+vault://testing/a#b\n", "app.j2:3", "testing"),
        ("A=ref+vault://../a#b", "app.j2:1", ".."),
        ("A=ref+vault://a?mount=other#b", "app.j2:1", "other"),
    ],
)
def test_a_malformed_or_denied_reference_is_an_error_of_its_line(text, where, what):
    with pytest.raises(TemplateError) as caught:
        compiled(text)
    [problem] = caught.value.problems
    assert problem.where == where
    assert what in str(problem)


def test_templates_that_differ_in_their_paths_share_no_wrong_reference():
    files = {f"{name}.j2": f'A={{{{ secret("{name}").x }}}}\nB=ref+vault://same#y\n' for name in "abcd"}
    compiler = Compiler(files.__getitem__, SCOPE)
    for name in "abcd":
        needs = {Ref("secret", f"production/{name}"), Ref("secret", "production/same")}
        assert compiler.compile(f"{name}.j2").references == needs
