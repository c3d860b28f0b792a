"""Variables with references become a file, or the environment of a child; and templates may be in the file itself."""

import pytest

from lessee.config import InlineTemplate
from lessee.config.environment import malformed, references_of, template_of
from lessee.config.parsing import parse
from lessee.core.errors import ConfigError

PASSWORD = "ref+openbao://db#password"


def read(app, *, for_child=False, **environ):
    text = f"environment: testing\napps:\n  web: {{directory: /run/secrets/web, {app}}}\n"
    return parse(text, source="lessee.yaml", environ=environ, for_child=for_child)


def error_of(app, **settings):
    with pytest.raises(ConfigError) as caught:
        read(app, **settings)
    return str(caught.value)


def files(config):
    templates = ((file.name, file.format, file.template) for file in config.apps["web"].files)
    return [(name, form, config.inline_templates[template].text) for name, form, template in templates]


def child(config):
    return config.inline_templates[config.apps["web"].env_template].text


def test_a_template_may_be_in_the_file_itself_where_nothing_is_expanded():
    config = read('files: [{name: app.env, contents: "A={{ secret(\\"a\\").b }}\\nB=${C}\\n"}]')
    assert config.apps["web"].files[0].template == "apps.web.files[0].contents"
    template = InlineTemplate('A={{ secret("a").b }}\nB=${C}\n', "lessee.yaml", 3)
    assert config.inline_templates == {"apps.web.files[0].contents": template}


def test_variables_are_a_file_for_a_shell_or_a_dotenv_file():
    line = 'A={{ secret("db")["password"] }}\n'
    assert files(read(f'env: {{A: "{PASSWORD}"}}')) == [("env.sh", "sh", f"export {line}")]
    both = 'files: [{name: a, contents: x}], env_file: .env.local, env: {A: "ref+openbao://db#password"}'
    assert files(read(both)) == [("a", "text", "x"), (".env.local", "dotenv", line)]


def test_variables_in_the_file_are_expanded_as_everywhere_in_it():
    assert files(read('env: {A: "${B:-c}", D: "$${B}"}', B="")) == [
        ("env.sh", "sh", 'export A={{ "c" }}\nexport D={{ "${B}" }}\n')
    ]


def test_a_child_gets_them_after_its_template_and_in_no_file():
    config = read(f'env_template: web.env.j2, env: {{A: "{PASSWORD}"}}', for_child=True)
    assert child(config) == '{% include "web.env.j2" %}\nA={{ secret("db")["password"] }}\n'
    assert files(config) == []
    named = read(f'env_file: a.env, env: {{A: "{PASSWORD}"}}', for_child=True)
    assert [name for name, _, _ in files(named)] == ["a.env"]
    assert child(named) == 'A={{ secret("db")["password"] }}\n'


def test_a_child_gets_what_its_own_environment_refers_to():
    config = read("files: [{template: a.j2}]", for_child=True, PASSWORD=PASSWORD, PLAIN="x", URL=f"u:{PASSWORD}+@x")
    assert (
        child(config) == 'PASSWORD={{ secret("db")["password"] }}\nURL={{ "u:" ~ secret("db")["password"] ~ "@x" }}\n'
    )
    alone = read("env: {PASSWORD: other}", for_child=True, PASSWORD=PASSWORD)
    assert child(alone) == 'PASSWORD={{ "other" }}\n'
    assert child(read("owner: '0'", for_child=True, PASSWORD=PASSWORD)) == 'PASSWORD={{ secret("db")["password"] }}\n'
    assert read("env_template: a.j2", for_child=True, A="ref+x").apps["web"].env_template == "a.j2"
    assert read("files: [{template: a.j2}]", PASSWORD=PASSWORD).apps["web"].env_template is None


@pytest.mark.parametrize(
    ("app", "what"),
    [
        ("env: {}", "apps.web.files: missing; expected a list of files"),
        ("files: [{name: a}]", "apps.web.files[0]: expected exactly one of `template`, `contents`, found none of them"),
        ("files: [{template: a, contents: b}]", "exactly one of `template`, `contents`, found `template`, `contents`"),
        ("files: [{contents: b}]", "apps.web.files[0].name: missing; a template without a path has no name"),
        ("env: {A: ref+vault://a}", "apps.web.env.A: expected a text, in which references are such as"),
        ("env: {A: ref+vault://a}", "but the reference names no field: write `#FIELD` after the path"),
        ("env: {A-B: x}", "apps.web.env.A-B: expected the name of an environment variable"),
        ("env_file: env, env: {A: x}", "apps.web.env_file: its name is not that of a file of variables; write a name"),
        ("files: [{name: env.sh, contents: x}], env: {A: x}", "apps.web.files[0] has the same name"),
    ],
)
def test_a_mistake_is_named(app, what):
    assert what in error_of(app)


def test_a_malformed_reference_of_the_environment_is_an_error_without_the_rest_of_the_value():
    error = error_of("files: [{template: a.j2}]", for_child=True, URL="postgres://user:pa55@ref+vault://a")
    assert error == (
        "lessee.yaml:3: apps.web.env: $URL: the reference names no field; "
        "write `#FIELD` after the path, as in ref+openbao://database/postgres#password"
    )


def test_a_signal_cannot_change_a_childs_variables():
    app = f'env: {{A: "{PASSWORD}"}}, notify: {{child: true, action: SIGHUP}}'
    assert "a signal cannot change the environment of a process" in error_of(app, for_child=True)


def test_any_text_is_one_literal():
    assert template_of({"A": '"}}{{\\ \r\n'}) == 'A={{ "\\"}}{{\\\\ \\r\\n" }}\n'
    assert template_of({"A": "", "B": PASSWORD}, exports=True).startswith('export A={{ "" }}\nexport B=')
    assert references_of({"B": PASSWORD, "A": "x"}) == {"B": PASSWORD}
    assert list(malformed({"A": "ref+vault://a", "B": PASSWORD})) == ["A"]
