"""The templates of adopted services. tests/readers/test_adopted_services.py starts programs with what they render."""

from lessee.ops.adopt.policy.model import Image, Part, Rendered
from lessee.ops.adopt.policy.template_texts import files, index_of, templates
from support.inputs.adopted_projects import decide, plan, postgres_and_app, service, whole

VALUE = '{{ secret("database/postgres").password }}'


def only_files(*arguments):
    of = plan(*arguments)
    return {file.name: file.text for file in files(of.apps[0], of.project.services["app"])}


def test_a_file_of_one_value_ends_without_a_newline_and_a_url_encodes_its_parts():
    assert templates(postgres_and_app()) == {
        "db/POSTGRES_PASSWORD.j2": VALUE,
        "app/environment.sh.j2": (
            "# The secrets of app, which its launcher and its health check read.\n"
            "export DATABASE_URL='postgresql://postgres:"
            '{{ secret("database/postgres").password | urlencode }}'
            "@db:5432/app'\n"
        ),
    }


def test_a_word_of_a_command_replaces_its_placeholder():
    text = only_files([service()], whole("command[1]", "secret-value"))["environment.sh"]
    assert f"    '(lessee: command[1])') lessee_word='{VALUE}' ;;\n  esac\n" in text


def test_a_health_check_of_words_is_run_by_a_shell():
    own = service(healthcheck=("CMD", "a", "it's", "secret-value"))
    found = only_files([own], whole("healthcheck.test[3]", "secret-value"))
    assert found == {"healthcheck.sh": f"exec 'a' 'it'\\''s' '{VALUE}'\n"}


def test_a_health_check_of_a_shell_stays_as_it_is():
    own = service(healthcheck=("CMD-SHELL", "a -p'secret-value' || exit 1"))
    use, stored, _ = whole("A", "secret-value")
    found, _, (apps, _) = decide(
        [own], (use, stored, Rendered("app", "A", (Part(path=stored.path, field=stored.field),)))
    )
    assert found.services["app"] is own
    assert {file.name for file in files(apps[0], own)} == {"environment.sh"}
    text = (Part("a -p'"), Part(path="database/postgres", field="password"), Part("' || exit 1"))
    value = "a -p'secret-value' || exit 1"
    uses, field, _ = whole("healthcheck.test[1]", value)
    of = plan([own], (uses, stored, Rendered("app", "healthcheck.test[1]", text)))
    assert field.path == stored.path
    assert templates(of)["app/healthcheck.sh.j2"] == f"a -p'{VALUE}' || exit 1\n"


def test_composes_own_secrets_are_files_of_their_names():
    own = service(secrets=(("a", "/run/secrets/a"),), image=Image("postgres"))
    assert only_files([own], whole("secrets.a", "x\n")) == {"a": VALUE}


def test_an_index_is_that_of_a_command_an_entrypoint_or_a_health_check():
    assert index_of("command[12]") == ("command", 12)
    assert index_of("healthcheck.test[1]") == ("healthcheck.test", 1)
    assert index_of("ports[1]") is None


def test_each_character_of_a_field_is_ascii_in_the_template():
    text = only_files([service()], whole("A", "x", field="pass wörd"))["environment.sh"]
    assert 'secret("database/postgres")["pass w\\xf6rd"]' in text
