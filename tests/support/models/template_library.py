"""The library of templates, rendered for its readers: by the real program, or in this process for many values."""

from functools import cache

from lessee.core.paths import PathScope
from lessee.core.secrets import Secret
from lessee.rendering.formats import write
from lessee.rendering.templates import Compiler, Renderer
from support.paths import ROOT

TEMPLATES = ROOT / "templates"
HOSTILE = "p@ss/w:rd'\"#${HOME} %(home)s `half ;ü\\"
"""A value that no reader may touch, on one line."""
NUMBERS = {12345: "12345", True: "true"}
"""What JSON may hold where a reader wants text, and that text."""

_SPACE = PathScope("secret", "", (), frozenset())


def use(sidecar, *files, **app):
    """Let the app `web` be made of these files, each a template's name or its settings."""
    sidecar.config["template_dir"] = str(TEMPLATES)
    sidecar.web["files"] = [{"template": file} if isinstance(file, str) else file for file in files]
    sidecar.web.update(app)
    sidecar.write_config()


def rendered(sidecar, *files):
    """The folder in which `lessee render` has written these files."""
    use(sidecar, *files)
    done = sidecar.command("render", "--app", "web", "--output", "out")
    assert done.returncode == 0, done.stderr
    return sidecar.disk / "out"


def written(template, format, secrets):  # noqa: A002  # The word that users write.
    """The text of a file. `secrets`: fields by path; of a path that ends in a slash, secrets by name."""
    compiled = _compiled(template)
    known = {need: secrets[need.path] for need in compiled.references}
    one = {need: Secret(data) for need, data in known.items() if not need.path.endswith("/")}
    folders = {
        need: {name: Secret(data) for name, data in inside.items()}
        for need, inside in known.items()
        if need.path.endswith("/")
    }
    return write(Renderer(_SPACE, one, folders, {}, {}).render(compiled), format)


@cache
def _compiled(template):
    return Compiler(lambda name: (TEMPLATES / name).read_text(), _SPACE).compile(template)
