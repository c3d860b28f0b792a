"""A file is rendered again when something it reads has changed, and only then."""

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.config.parsing import parse
from lessee.core.errors import FormatError, TemplateError
from lessee.core.paths import DynamicSecret, Folder, Ref
from lessee.core.secrets import Secret
from lessee.rendering import render as rendering
from lessee.rendering.app_templates import compile_apps, path_scope_of
from lessee.rendering.render import QUICK_WEIGHT, Inputs, render
from lessee.rendering.sandbox.bounds import SlowRenderingError
from lessee.rendering.templates import Compiler

TEMPLATES = {
    "one.j2": '{{ secret("one").x }} {{ env("HOST") }}',
    "both.j2": '{{ secret("one").x }} {{ secret("two").x }}',
    "taken.j2": '{% include "one.j2" %}',
    "folder.j2": '{% for name, s in secrets("keys/").items() %}{{ name }}={{ s.x }} {% endfor %}',
    "lease.j2": '{{ dynamic("database/creds/web").x }}',
    "none.j2": "nothing",
}
ENV_FORMAT = {"HOST": "h"}
ONE, TWO, KEYS, LEASE = (
    Ref("secret", "one"),
    Ref("secret", "two"),
    Folder("secret", "keys/"),
    DynamicSecret("database/creds/web"),
)


def compile_app():
    files = ", ".join(f"{{template: {name}, name: {name}.txt}}" for name in TEMPLATES)
    config = parse(
        f'secrets: {{prefix: ""}}\n'
        f"apps: {{web: {{directory: /run/secrets/web, files: [{files}], env_template: one.env}}}}",
        source="lessee.yaml",
        environ={},
        for_child=True,
    )
    load = {**TEMPLATES, "one.env": 'A={{ secret("one").x }}'}.__getitem__
    return compile_apps(config, Compiler(load, path_scope_of(config)))["web"]


APP = compile_app()


def inputs(one, two, keys, lease, environ=ENV_FORMAT):
    return Inputs({ONE: one, TWO: two}, {KEYS: keys}, {LEASE: lease}, environ)


FIRST = inputs(
    Secret({"x": "1"}), Secret({"x": "2"}), {"a": Secret({"x": "3"}), "b": Secret({"x": "4"})}, Secret({"x": "5"})
)


def again(changed, compiled_app=APP):
    """The names of the files that were rendered again."""
    before = render(APP, FIRST)
    after = render(compiled_app, changed, before)
    assert after == render(compiled_app, changed)
    pairs = zip(before.generation.files, after.generation.files, strict=True)
    return {new.name.removesuffix(".j2.txt") for old, new in pairs if new is not old}


def test_without_changes_no_file_is_rendered():
    assert again(FIRST) == set()


def test_a_changed_secret_renders_the_files_that_read_it_also_through_includes():
    assert again(inputs(Secret({"x": "9"}), FIRST.secrets[TWO], FIRST.folders[KEYS], FIRST.dynamic[LEASE])) == {
        "one",
        "both",
        "taken",
    }


def test_a_new_lease_renders_the_files_that_use_it():
    assert again(inputs(*FIRST.secrets.values(), FIRST.folders[KEYS], Secret({"x": "9"}))) == {"lease"}


def test_each_change_in_a_folder_renders_the_files_that_list_it():
    keys = FIRST.folders[KEYS]
    for other in ({**keys, "c": Secret({"x": "9"})}, {"a": keys["a"]}, {**keys, "b": Secret({"x": "9"})}):
        assert again(inputs(*FIRST.secrets.values(), other, FIRST.dynamic[LEASE])) == {"folder"}


def test_true_is_not_1():
    first = inputs(Secret({"x": True}), *list(FIRST.secrets.values())[1:], FIRST.folders[KEYS], FIRST.dynamic[LEASE])
    second = inputs(Secret({"x": 1}), *list(FIRST.secrets.values())[1:], FIRST.folders[KEYS], FIRST.dynamic[LEASE])
    assert render(APP, second, render(APP, first)).generation.files[0].content == b"1 h"


def test_a_changed_app_or_environment_renders_all_files():
    everything = {name.removesuffix(".j2") for name in TEMPLATES}
    assert again(FIRST, compile_app()) == everything
    moved = inputs(*FIRST.secrets.values(), FIRST.folders[KEYS], FIRST.dynamic[LEASE], {"HOST": "elsewhere"})
    assert again(moved) == everything


def test_the_childs_environment_changes_too():
    before = render(APP, FIRST)
    moved = inputs(Secret({"x": "9"}), FIRST.secrets[TWO], FIRST.folders[KEYS], FIRST.dynamic[LEASE])
    assert (before.generation.environ, render(APP, moved, before).generation.environ) == (
        (("A", "1"),),
        (("A", "9"),),
    )


def test_the_childs_environment_interpolates_no_variable_of_the_agent():
    config = parse(
        "environment: production\napps: {web: {directory: /run/secrets/web, env_template: one.env}}",
        source="lessee.yaml",
        environ={},
        for_child=True,
    )
    load = {"one.env": 'A="${HOST}"\nB="${VAULT_TOKEN:-none}"'}.__getitem__
    app = compile_apps(config, Compiler(load, path_scope_of(config)))["web"]
    for environ in {"HOST": "h", "VAULT_TOKEN": "canary"}, {"HOST": "h"}:
        with pytest.raises(FormatError, match=r"^one.env: templates cannot read the variable 'VAULT_TOKEN'"):
            render(app, Inputs({}, {}, {}, environ))


def test_a_variable_that_holds_a_credential_is_an_error_at_its_line():
    config = parse(
        'secrets: {prefix: ""}\napps: {web: {directory: /run/secrets/web, files: [{template: a.txt}]}}',
        source="lessee.yaml",
        environ={},
    )
    app = compile_apps(config, Compiler({"a.txt": '\n{{ env("COPY") }}'}.__getitem__, path_scope_of(config)))["web"]
    environ = {"COPY": "canary-token", "VAULT_TOKEN": "canary-token"}
    with pytest.raises(TemplateError, match=r"^a.txt:2: templates cannot read the variable 'COPY', which contains a"):
        render(app, Inputs({}, {}, {}, environ))


def one_app(form="text", **templates):
    files = ", ".join(f"{{template: {name}.j2, name: {name}, format: {form}}}" for name in templates)
    config = parse(
        f'secrets: {{prefix: ""}}\napps: {{web: {{directory: /run/secrets/web, files: [{files}]}}}}',
        source="lessee.yaml",
        environ={},
    )
    load = {f"{name}.j2": text for name, text in templates.items()}.__getitem__
    return compile_apps(config, Compiler(load, path_scope_of(config)))["web"]


STEPS = "{% for i in range(9000) %}{% set x = i %}{% endfor %}"


@pytest.mark.parametrize(
    "templates",
    [
        {"a": STEPS, "b": STEPS, "c": STEPS},
        {"a": "x" * (QUICK_WEIGHT // 2 + 1), "b": "y" * (QUICK_WEIGHT // 2)},
        {"a": '{{ secret("one").x }}'},
        {"form": "json", "a": '{{ secret("two").x }}'},
    ],
    ids=["steps", "characters", "value", "structure"],
)
def test_a_rendering_that_must_be_quick_ends_where_all_files_together_take_long(templates):
    app = one_app(**templates)
    found = Inputs(
        {ONE: Secret({"x": "v" * (QUICK_WEIGHT + 1)}), TWO: Secret({"x": list(range(QUICK_WEIGHT // 10))})}, {}, {}, {}
    )
    with pytest.raises(SlowRenderingError):
        render(app, found, quick=True)
    assert render(app, found).generation.files
    if "b" in templates:
        assert render(one_app(a=templates["a"]), found, quick=True).generation.files


def test_a_quick_rendering_is_the_same_as_any_other():
    assert render(APP, FIRST, quick=True) == render(APP, FIRST)


def test_the_files_of_an_app_have_a_limit_together(monkeypatch):
    monkeypatch.setattr(rendering, "MAX_SIZE", 2**20)
    half = "x" * 2**19
    assert render(one_app(a=half, b=half), FIRST)
    with pytest.raises(TemplateError, match=r"^apps.web.files: the app's files have more than 1 MiB; distribute them"):
        render(one_app(a=half, b=f"{half}x"), FIRST)


def test_no_value_is_in_a_rendering_s_repr():
    canary = Secret({"x": "HUNTER2"})
    rendering = render(APP, inputs(canary, canary, {"a": canary}, canary, {"HOST": "HUNTER2"}))
    assert "HUNTER2" not in repr(rendering)


secret = st.builds(lambda x: Secret({"x": x}), st.sampled_from(["1", "2", True, 1]))


@pytest.mark.no_cover
@given(st.lists(st.builds(inputs, secret, secret, st.dictionaries(st.sampled_from("abc"), secret), secret), max_size=4))
def test_the_files_depend_only_on_the_current_secrets(history):
    rendering = render(APP, FIRST)
    for now in history:
        rendering = render(APP, now, rendering)
        assert rendering.generation == render(APP, now).generation


@pytest.mark.parametrize(
    ("call", "need"),
    [
        ('secret("one", optional=true)', ONE),
        ('secrets("keys/", optional=true)', KEYS),
        ('dynamic("database/creds/web", optional=true)', LEASE),
    ],
)
def test_a_file_is_rendered_again_when_something_optional_appears_or_disappears(call, need):
    config = parse(
        'secrets: {prefix: ""}\napps: {web: {directory: /run/secrets/web, files: [{template: a.j2, name: a.txt}]}}',
        source="lessee.yaml",
        environ={},
    )
    text = f'{{{{ "found" if {call} else "missing" }}}}'
    compiled_app = compile_apps(config, Compiler({"a.j2": text}.__getitem__, path_scope_of(config)))["web"]
    found = Secret({"x": "1"})
    environ = {}
    without = Inputs({}, {}, {}, environ)
    present = Inputs(
        {need: found} if isinstance(need, Ref) else {},
        {need: {"one": found}} if isinstance(need, Folder) else {},
        {need: found} if isinstance(need, DynamicSecret) else {},
        environ,
    )
    before = None
    for inputs, content in ((without, b"missing"), (without, b"missing"), (present, b"found"), (without, b"missing")):
        before = render(compiled_app, inputs, before)
        assert before.generation.files[0].content == content


def test_the_values_of_a_rendering_are_freed_with_it_and_not_only_by_the_garbage_collector():
    gc.collect()
    gc.disable()
    try:
        for quick in (False, True):
            first = render(APP, FIRST, quick=quick)
            render(APP, FIRST, first, quick=quick)
        assert gc.collect() == 0
    finally:
        gc.enable()
