"""What a change costs where an app has many templates, and what the proof of structure costs of a rendering."""

import time
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from statistics import median

from rig import Figure

from lessee.config.parsing import parse
from lessee.core.paths import Ref
from lessee.core.secrets import Secret
from lessee.rendering import formats
from lessee.rendering.app_templates import Recipe, compile_recipes, space_of
from lessee.rendering.formats import variables
from lessee.rendering.render import Inputs, render
from lessee.rendering.templates import Compiler

TEMPLATES = 1000
CHANGES = 100
VALUES = 20
PASSWORD = "p@ss/w:rd'\"#\\{} ü"
LINES: Mapping[str, tuple[str, str, str]] = {
    "dotenv": ("", "A{n}={{{{ {value} }}}}\n", ""),
    "dotenv-node": ("", "A{n}={{{{ {value} }}}}\n", ""),
    "dotenv-vite": ("", "A{n}={{{{ {value} }}}}\n", ""),
    "dotenv-compose": ("", "A{n}={{{{ {value} }}}}\n", ""),
    "dotenv-docker": ("", "A{n}={{{{ {value} }}}}\n", ""),
    "sh": ("set -a\n", "A{n}={{{{ {value} }}}}\n", "set +a\n"),
    "systemd": ("", "A{n}={{{{ {value} }}}}\n", ""),
    "json": ("{{", '"a{n}": {{{{ {value} }}}},\n', '"last": 1}}'),
    "yaml": ("database:\n", "  a{n}: {{{{ {value} }}}}\n", ""),
    "toml": ("[database]\n", "a{n} = {{{{ {value} }}}}\n", ""),
    "ini": ("[database]\n", "a{n} = {{{{ {value} }}}}\n", ""),
    "properties": ("", "a{n}={{{{ {value} }}}}\n", ""),
    "xml": ("<a>", '<b n="{n}">{{{{ {value} }}}}</b>\n', "</a>"),
    "nginx": ("server {{\n", "  add_header A{n} {{{{ {value} }}}};\n", "}}\n"),
    "pgpass": ("", "host{n}:5432:database:user:{{{{ {value} }}}}\n", ""),
}
"""Of each format that has a structure: how a template begins, a line with a value, and how it ends."""
_BY_TRIAL = ("dotenv-node", "dotenv-vite", "dotenv-compose", "dotenv-docker")


def measure() -> Iterator[Figure]:
    """In this process: the peer has no such thing to be measured beside."""
    renders, took = _changes()
    reach = "1 template, ≤ 20 ms"
    text = f"{renders} template, {took * 1000:.2f} ms"
    yield Figure(
        f"{TEMPLATES:,} templates, one secret changed: rendered", "", text, reach, renders == 1 and took <= 0.02
    )
    for name in LINES:
        share = _share(name)
        yield Figure(f"proof of structure, {name}: of the rendering", "", f"{share:.0%}", "≤ 30 %", share <= 0.3)


def _recipe(templates: Mapping[str, str], format: str) -> Recipe:  # noqa: A002  # As users write it.
    files = ", ".join(f"{{template: {name}, name: {name}, format: {format}}}" for name in templates)
    text = f"secrets: {{prefix: ''}}\napps: {{web: {{directory: /run/secrets/web, files: [{files}]}}}}"
    config = parse(text, source="lessee.yaml", environ={})
    return compile_recipes(config, Compiler(templates.__getitem__, space_of(config)))["web"]


def _changes() -> tuple[float, float]:
    """How many templates a change renders, and how long that takes; medians."""
    recipe = _recipe({f"t{n}": f'A={{{{ secret("app/s{n}").password }}}}\n' for n in range(TEMPLATES)}, "dotenv")
    secrets = {Ref("secret", f"app/s{n}"): Secret({"password": PASSWORD}) for n in range(TEMPLATES)}
    before = render(recipe, Inputs(secrets, {}, {}, environ := {}))
    renders, took = [], []
    for n in range(CHANGES):
        secrets = secrets | {Ref("secret", f"app/s{n}"): Secret({"password": f"{PASSWORD}{n}"})}
        began = time.perf_counter()
        after = render(recipe, Inputs(secrets, {}, {}, environ), before)
        took.append(time.perf_counter() - began)
        pairs = zip(before.generation.files, after.generation.files, strict=True)
        renders.append(sum(old is not new for old, new in pairs))
        before = after
    return median(renders), median(took)


def _share(name: str) -> float:
    """The part of the time of a rendering, from the template to the text, that its proof takes; a median."""
    begin, line, end = LINES[name]
    lines = [line.format(n=n, value=f'secret("db").k{n}') for n in range(VALUES)]
    recipe = _recipe({"t": begin.format() + "".join(lines) + end.format()}, name)
    secrets = {Ref("secret", "db"): Secret({f"k{n}": PASSWORD.format(n) for n in range(VALUES)})}
    # What the readers of env files have in common is in a module of its own.
    module = variables if name in _BY_TRIAL else import_module(formats._MODULES[name])
    proving = Timed(module._prove)
    module._prove = proving
    shares = []
    for _ in range(CHANGES):
        proving.took = 0.0
        began = time.perf_counter()
        render(recipe, Inputs(secrets, {}, {}, {}))
        shares.append(proving.took / (time.perf_counter() - began))
    module._prove = proving.function
    assert proving.took
    return median(shares)


class Timed:
    """A function, and how long it took since `took` was set to 0."""

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function
        self.took = 0.0

    def __call__(self, *arguments: object, **keywords: object) -> object:
        began = time.perf_counter()
        try:
            return self.function(*arguments, **keywords)
        finally:
            self.took += time.perf_counter() - began
