"""From a configuration and its templates to the files of a generation."""

import pytest

from lessee.core.config.parsing import parse
from lessee.core.errors import FormatError, TemplateError
from lessee.core.generation import File, Generation
from lessee.core.paths import Folder, Ref, Space
from lessee.core.rendering.recipes import compile_recipes, render_recipe, space_of
from lessee.core.rendering.templates import Compiler
from lessee.core.secrets import Secret

CANARY = "HUNTER2-c4n4ry"
SECRETS = {Ref("kv", "production/db"): Secret({"password": CANARY, "odd": "\ud800", "user": "simba"})}


def config(files, more=""):
    return parse(
        "environment: production\nsecrets: {mount: kv, shared: [shared/]}\n"
        f"apps:\n  web:\n    directory: /run/secrets/web\n    files: [{files}]\n{more}",
        source="lessee.yaml",
        environ={},
    )


def recipes(config, **templates):
    load = {f"{name}.j2": text for name, text in templates.items()}.__getitem__
    return compile_recipes(config, Compiler(load, space_of(config)))


def test_code_is_made_when_it_is_rendered_where_nobody_prepared_it():
    text = "{% block a %}{% endblock %}{% block a %}{% endblock %}"
    said = config("{template: a.j2}")
    later = compile_recipes(said, Compiler({"a.j2": text}.__getitem__, space_of(said)), prepare=False)
    with pytest.raises(TemplateError, match="defined twice"):
        files_of(later["web"])
    with pytest.raises(TemplateError, match="defined twice"):
        recipes(said, a=text)


def files_of(recipe):
    return render_recipe(recipe, SECRETS, {}, {"HOST": "h"})


def test_the_space_is_that_of_the_configuration():
    foreign = frozenset({"development", "testing", "staging"})
    assert space_of(config("{template: a.j2}")) == Space("kv", "production/", ("shared/",), foreign)


def test_a_recipe_needs_what_any_of_its_templates_can_touch():
    made = recipes(
        config("{template: a.j2, name: a}, {template: b.j2, name: b}"),
        a='{{ secret("db").password }}{% include "c.j2" %}',
        b='{{ secret("shared/x").y }}',
        c='{{ secrets("keys/")|length }}',
    )["web"]
    assert made.needs == {Ref("kv", "production/db"), Ref("kv", "shared/x"), Folder("kv", "production/keys/")}
    assert made.sources == {"a.j2", "b.j2", "c.j2"}


def test_files_have_their_grammar_mode_and_owner():
    said = '{template: a.j2, name: app.env, owner: "7:8"}, {template: a.j2, name: a.txt, mode: "0400", owner: "9"}'
    said += ", {template: a.j2, name: b.txt}"
    made = recipes(config(said), a='P={{ secret("db").password ~ " x" }}\nH={{ env("HOST") }}\n')["web"]
    generation = files_of(made)
    plain = f"P={CANARY} x\nH=h\n".encode()
    quoted, *rest = generation.files
    assert rest == [File("a.txt", plain, 0o400, 9, None), File("b.txt", plain, 0o440)]
    assert (quoted.name, quoted.mode, quoted.uid, quoted.gid) == ("app.env", 0o440, 7, 8)
    assert quoted.content != plain
    assert CANARY.encode() in quoted.content
    assert CANARY not in repr(generation)


def test_the_same_inputs_give_the_same_generation():
    made = recipes(config("{template: a.j2}"), a='{{ secret("db").user }}')["web"]
    assert files_of(made) == files_of(made) == Generation("web", (File("a", b"simba", 0o440),))


def test_a_recipe_differs_where_a_template_or_a_setting_does():
    def made(text="a", more=""):
        return recipes(config("{template: a.j2}", more), a='{% include "b.j2" %}', b=text)["web"]

    assert made() == made()
    assert made() != made(text="b")
    assert made() != made(more="    refresh: 5s\n")


def test_all_that_is_wrong_with_any_template_is_told_once():
    more = "  api:\n    directory: /run/secrets/api\n    files: [{template: b.j2, name: x}, {template: c.j2}]\n"
    with pytest.raises(TemplateError) as caught:
        recipes(
            config("{template: a.j2}, {template: b.j2}", more),
            a="{{ nope }}",
            b='\n{% include "c.j2" %}',
            c="{{ 1|no }}",
        )
    first, second = str(caught.value).splitlines()
    assert first.startswith("a.j2:1: there is no variable or function 'nope'")
    assert second == "c.j2:1: there is no filter 'no'"
    assert caught.value.exit_code == 65


def test_an_operators_file_has_no_recipes():
    assert recipes(parse("environment: production", source="lessee.yaml", environ={})) == {}


def test_a_text_that_is_no_utf8_is_refused_unseen():
    made = recipes(config("{template: a.j2, name: a.txt}"), a='{{ secret("db").password }}{{ secret("db").odd }}')[
        "web"
    ]
    with pytest.raises(FormatError) as caught:
        files_of(made)
    assert CANARY not in str(caught.value)
    assert "a." in str(caught.value)


def test_one_file_that_fails_leaves_no_half_generation():
    made = recipes(config("{template: a.j2}, {template: b.j2}"), a="fine", b='\n{{ secret("db").nope }}')["web"]
    with pytest.raises(TemplateError, match=r"^b\.j2:2: db has no such key: 'nope'"):
        files_of(made)
