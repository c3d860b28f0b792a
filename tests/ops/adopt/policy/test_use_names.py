"""The names of uses: no name of a project's author passes for another field of the service."""

import pytest

from lessee.ops.adopt.policy.use_names import ServiceField, index_of, key_of, kind_of, name_of_variable

HOSTILE = [
    "secrets.../../x",
    "secrets.x",
    "command[0]",
    "labels.a",
    "build.args.X",
    "configs.x",
    "environment.x",
    "[",
    ".",
]


@pytest.mark.parametrize("key", ["PASSWORD", "", "a/b", *HOSTILE])
def test_a_variable_is_a_variable_whatever_its_name_is(key):
    name = name_of_variable(key)
    assert (kind_of(name), key_of(name), index_of(name)) == (ServiceField.VARIABLE, key, None)


def test_a_variable_with_a_usual_name_has_that_name():
    assert name_of_variable("DB_PASSWORD") == "DB_PASSWORD"


@pytest.mark.parametrize(
    "kind", [ServiceField.LABEL, ServiceField.BUILD_ARGUMENT, ServiceField.SECRET, ServiceField.CONFIG]
)
@pytest.mark.parametrize("key", HOSTILE)
def test_a_key_of_another_field_is_of_that_field(kind, key):
    name = f"{kind.value}{key}"
    assert (kind_of(name), key_of(name), index_of(name)) == (kind, key, None)


@pytest.mark.parametrize("name", ["command", "entrypoint", "healthcheck.test"])
def test_a_word_has_a_list_and_an_index(name):
    assert (kind_of(f"{name}[2]"), key_of(f"{name}[2]")) == (ServiceField.WORD, f"{name}[2]")
    assert index_of(f"{name}[2]") == (name, 2)
