"""Renders templates with one sample secret, the variable `s`."""

import pytest

from lessee.core.errors import TemplateError
from lessee.core.path_scope import PathScope
from lessee.core.paths import Ref
from lessee.core.secrets import Secret
from lessee.rendering.document import Placeholder
from lessee.rendering.serialization import content
from lessee.rendering.templates import Compiler, Renderer

SPACE = PathScope("secret")
SET = '{% set s = secret("a") %}'


def document(text, data=None, **files):
    """The output of a template. `files`: other templates that it may include."""
    templates = {"app.j2": SET + text} | {f"{name}.j2": SET + text for name, text in files.items()}

    def load(name):
        if name not in templates:
            raise TemplateError("not there", where=name)
        return templates[name]

    template = Compiler(load, SPACE).compile("app.j2")
    template.prepare()
    return Renderer(SPACE, {Ref("secret", "a"): Secret(data or {})}, {}, {}, {}).render(template)


def parts(text, data=None, **files):
    """The fragments of the output: text, or a placeholder's value in a list."""
    return [part if isinstance(part, str) else [part.value] for part in document(text, data, **files).parts]


def placeholder(expression, data=None):
    """The placeholder of one expression."""
    (only,) = document("{{ " + expression + " }}", data).parts
    assert isinstance(only, Placeholder)
    return only


def value(expression, data=None):
    return placeholder(expression, data).value


def error_of(text, data=None, **files):
    """The text of the error that a template raises."""
    with pytest.raises(TemplateError) as caught:
        document(text, data, **files)
    return str(caught.value)


def file(text, format, data=None):  # noqa: A002  # As users write it.
    """The content of a file."""
    return content(document(text, data), format)
