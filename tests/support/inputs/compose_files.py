"""A configuration beside Compose files, as `lessee check --compose` sees them."""

from pathlib import PurePosixPath
from textwrap import dedent, indent

from lessee.core.errors import ConfigError, LesseeError
from lessee.ops.lint.policy.compose.rules import check_compose
from lessee.ops.lint.policy.findings import in_order
from lessee.ops.lint.policy.project import check_project

LESSEE = """\
environment: production
apps:
  web:
    directory: /run/secrets/web
    files: [{template: app.env.j2}]
    notify: {process: {name: app.py}, action: SIGHUP}
"""
AGENT = """
  agent:
    image: lessee
    pid: service:holder
    volumes: ["./lessee:/etc/lessee:ro", "files:/run/secrets/web"]
"""


def check(services, lessee=LESSEE, templates=None, others=None, env_files=None, paths=("compose.yaml",)):
    """What is found in `services`, the text below that key of compose.yaml; the agent is one of them."""
    templates = {"app.env.j2": 'DATABASE_URL={{ secret("db").url }}\n'} if templates is None else templates
    checked = check_project(PurePosixPath("lessee.yaml"), lessee, {}, lambda _, name: templates[name])
    text = f"services:{AGENT}" + indent(dedent(services).strip("\n"), "  ") + "\n"
    files = {"compose.yaml": text} | (others or {})

    def load(path):
        if path not in files:
            raise ConfigError([LesseeError("cannot be read: No such file or directory", where=path)])
        return files[path]

    return in_order(check_compose(paths, checked, load, (env_files or {}).get))


def found(services, **more):
    """The same in short, and without what is told of literal secrets."""
    return [
        (one.rule, one.level, one.file, one.line) for one in check(services, **more) if one.rule != "literal-secret"
    ]
