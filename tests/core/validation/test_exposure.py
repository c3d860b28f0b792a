"""A public variable that takes a secret is found, by its template and by what is in it, and others are let alone."""

import pytest

from lessee.core.paths import Folder, Ref, Space
from lessee.core.rendering.templates import Compiler
from lessee.core.secrets import Secret
from lessee.core.validation.exposure import Trial
from lessee.core.validation.fields import Place
from lessee.core.validation.traces import Traces

SPACE = Space("secret", "testing/")
PUBLIC = ("VITE_",)
VALUE = "not-a-real-value"
APP = Ref("secret", "testing/app")
PLACE = Place(str(APP), "api_key")


def trial(text, **environ):
    return Trial(Compiler({"x.j2": text}.__getitem__, SPACE).compile("x.j2"), "dotenv", SPACE, environ)


def found(text, secrets):
    values = [(Place(str(ref), key), value) for ref, one in secrets.items() for key, value in one.data.items()]
    return list(trial(text).holds(PUBLIC, secrets, Traces(values)))


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ('VITE_A={{ secret("app").api_key }}\n', [("VITE_A", PLACE)]),
        ('VITE_A=x-{{ secret("app").api_key }}\n', [("VITE_A", PLACE)]),
        (
            '{% set app = secret("app") %}A={{ app.api_key }}\nVITE_B={{ app.url }}\n',
            [("VITE_B", Place(str(APP), "url"))],
        ),
        (
            'VITE_A={{ dynamic("database/creds/web").password }}\n',
            [("VITE_A", Place("database/creds/web", "password"))],
        ),
        (
            'VITE_A={% for name, one in secrets("keys/") | items %}{{ one.x }}{% endfor %}\n',
            [("VITE_A", Place("secret/testing/keys/*", "x"))],
        ),
        ('VITE_A={{ env("HOME", "none") }}\nA={{ secret("app").api_key }}\n', []),
        ('VITE_A={% for key in secret("app") %}{{ key }}{% endfor %}\n', []),
    ],
)
def test_what_a_public_variable_takes_is_told_by_its_template(text, taken):
    assert list(trial(text).takes(PUBLIC)) == taken


def test_a_template_that_made_up_values_do_not_fit_tells_nothing():
    assert list(trial('VITE_A={{ secret("app").n | int + fail("no") }}\n').takes(PUBLIC)) == []


def test_how_many_keys_a_secret_has_that_is_made_up_is_no_matter():
    assert list(trial('VITE_A={{ secret("app") | length }}\n').takes(PUBLIC)) == []


def test_what_is_in_a_public_variable_is_told_whatever_its_key_is_called():
    text = 'VITE_A={{ secret("app").api_key }}\nVITE_B=b\n'
    assert found(text, {APP: Secret({"api_key": VALUE})}) == [("VITE_A", PLACE)]
    text = 'VITE_A={% for name, one in secrets("") | items %}{{ one.api_key }}{% endfor %}\n'
    assert found(text, {APP: Secret({"api_key": VALUE})}) == [("VITE_A", PLACE)]


def test_where_a_secret_is_not_known_nothing_can_be_told():
    assert found('VITE_A={{ secret("app").api_key }}\n', {}) == []
    assert isinstance(APP.folder, Folder)
