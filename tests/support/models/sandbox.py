"""A template run over one made-up secret, which it knows as `s`."""

import pytest

from lessee.core.errors import TemplateError
from lessee.core.paths import PathScope, Ref
from lessee.core.secrets import Secret
from lessee.rendering.document import Placeholder
from lessee.rendering.serialization import content
from lessee.rendering.templates import Compiler, Renderer

SPACE = PathScope("secret")
SET = '{% set s = secret("a") %}'


def document(text, data=None, **files):
    """What a template gives; `files` are others that it may take in."""
    templates = {"app.j2": SET + text} | {f"{name}.j2": SET + text for name, text in files.items()}

    def load(name):
        if name not in templates:
            raise TemplateError("not there", where=name)
        return templates[name]

    made = Compiler(load, SPACE).compile("app.j2")
    made.prepare()
    return Renderer(SPACE, {Ref("secret", "a"): Secret(data or {})}, {}, {}, {}).render(made)


def parts(text, data=None, **files):
    """Text as it is, the value of a hole in a list."""
    return [part if isinstance(part, str) else [part.value] for part in document(text, data, **files).parts]


def placeholder(expression, data=None):
    """What one expression writes."""
    (only,) = document("{{ " + expression + " }}", data).parts
    assert isinstance(only, Placeholder)
    return only


def value(expression, data=None):
    return placeholder(expression, data).value


def refusal(text, data=None, **files):
    """What an error says of a template that cannot be rendered."""
    with pytest.raises(TemplateError) as caught:
        document(text, data, **files)
    return str(caught.value)


def file(text, format, data=None):  # noqa: A002  # As users write it.
    """The content of a file."""
    return content(document(text, data), format)
