"""Renders the template library, with the real program or in the test's process."""

from functools import cache

from lessee.core.path_scope import PathScope
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
    """Configure these files of the app `web`; each is a template's name or its settings."""
    sidecar.config["template_dir"] = str(TEMPLATES)
    sidecar.web["files"] = [{"template": file} if isinstance(file, str) else file for file in files]
    sidecar.web.update(app)
    sidecar.write_config()


def rendered(sidecar, *files):
    """Run `lessee render`; returns the directory with these files."""
    use(sidecar, *files)
    done = sidecar.command("render", "--app", "web", "--output", "out")
    assert done.returncode == 0, done.stderr
    return sidecar.disk / "out"


def written(template, format, secrets):  # noqa: A002  # The word that users write.
    """The text of a file. `secrets`: fields by path, or, for a folder (with a slash at the end), secrets by name."""
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
