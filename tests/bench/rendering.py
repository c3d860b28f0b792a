"""Measures what a change costs an app with many templates, and the share of a rendering that verification takes."""

import time
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from statistics import median

from figures import Figure

from lessee.config.parsing import parse
from lessee.core.paths import Ref
from lessee.core.secrets import Secret
from lessee.rendering import formats
from lessee.rendering.app_templates import CompiledApp, compile_apps, path_scope_of
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
"""For each format with a structure: the beginning of a template, a line with a value, and the end."""
_SHARED = ("dotenv-node", "dotenv-vite", "dotenv-compose", "dotenv-docker")


def measure() -> Iterator[Figure]:
    """Measure in this process; the peer has no such function."""
    renders, took = _changes()
    reach = "1 template, ≤ 20 ms"
    text = f"{renders} template, {took * 1000:.2f} ms"
    yield Figure(
        f"{TEMPLATES:,} templates, one secret changed: rendered", "", text, reach, renders == 1 and took <= 0.02
    )
    for name in LINES:
        share = _share(name)
        yield Figure(
            f"verification of structure, {name}: share of the rendering", "", f"{share:.0%}", "≤ 30 %", share <= 0.3
        )


def _compile(templates: Mapping[str, str], format: str) -> CompiledApp:  # noqa: A002  # As users write it.
    files = ", ".join(f"{{template: {name}, name: {name}, format: {format}}}" for name in templates)
    text = f"secrets: {{prefix: ''}}\napps: {{web: {{directory: /run/secrets/web, files: [{files}]}}}}"
    config = parse(text, source="lessee.yaml", environ={})
    return compile_apps(config, Compiler(templates.__getitem__, path_scope_of(config)))["web"]


def _changes() -> tuple[float, float]:
    """Medians of the number of templates that a change renders, and of the seconds that it takes."""
    compiled_app = _compile({f"t{n}": f'A={{{{ secret("app/s{n}").password }}}}\n' for n in range(TEMPLATES)}, "dotenv")
    secrets = {Ref("secret", f"app/s{n}"): Secret({"password": PASSWORD}) for n in range(TEMPLATES)}
    before = render(compiled_app, Inputs(secrets, {}, {}, environ := {}))
    renders, took = [], []
    for n in range(CHANGES):
        secrets = secrets | {Ref("secret", f"app/s{n}"): Secret({"password": f"{PASSWORD}{n}"})}
        began = time.perf_counter()
        after = render(compiled_app, Inputs(secrets, {}, {}, environ), before)
        took.append(time.perf_counter() - began)
        pairs = zip(before.generation.files, after.generation.files, strict=True)
        renders.append(sum(old is not new for old, new in pairs))
        before = after
    return median(renders), median(took)


def _share(name: str) -> float:
    """The median share of a rendering, from template to text, that the verification takes."""
    begin, line, end = LINES[name]
    lines = [line.format(n=n, value=f'secret("db").k{n}') for n in range(VALUES)]
    compiled_app = _compile({"t": begin.format() + "".join(lines) + end.format()}, name)
    secrets = {Ref("secret", "db"): Secret({f"k{n}": PASSWORD.format(n) for n in range(VALUES)})}
    # The formats of env files share one module.
    module = variables if name in _SHARED else import_module(formats._MODULES[name])
    verify = Timed(module._verify)
    module._verify = verify
    shares = []
    for _ in range(CHANGES):
        verify.took = 0.0
        began = time.perf_counter()
        render(compiled_app, Inputs(secrets, {}, {}, {}))
        shares.append(verify.took / (time.perf_counter() - began))
    module._verify = verify.function
    assert verify.took
    return median(shares)


class Timed:
    """A function, and the seconds that its calls have taken since `took` was set to 0."""

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function
        self.took = 0.0

    def __call__(self, *arguments: object, **keywords: object) -> object:
        began = time.perf_counter()
        try:
            return self.function(*arguments, **keywords)
        finally:
            self.took += time.perf_counter() - began
