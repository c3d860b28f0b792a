"""A configuration and Compose files for `lessee check --compose`."""

from pathlib import PurePosixPath
from textwrap import dedent, indent

from lessee.core.errors import ConfigError, LesseeError
from lessee.ops.lint.policy.compose.rules import check_compose
from lessee.ops.lint.policy.findings import sorted_findings
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

MOUNTS = frozenset({"app-not-mounted", "no-agent"})
"""Most tests are about one key of a service, and mount nothing."""
ALL = []
"""All findings of the running test."""


def check(
    services,
    *,
    lessee=LESSEE,
    templates=None,
    others=None,
    env_files=None,
    paths=("compose.yaml",),
    model=None,
    but=MOUNTS,
    agent=AGENT,
):
    """The findings in `services`, the text below that key of compose.yaml, with an agent added.

    `model`: the text of the Compose model that `lessee` names. `but` are rules that do not count.
    `agent` is that service.
    """
    templates = {"app.env.j2": 'DATABASE_URL={{ secret("db").url }}\n'} if templates is None else templates
    checked = check_project(PurePosixPath("lessee.yaml"), lessee, {}, lambda _, name: templates[name], lambda _: model)
    text = f"services:{agent}" + indent(dedent(services).strip("\n"), "  ") + "\n"
    files = {"compose.yaml": text} | (others or {})

    def load(path):
        if path not in files:
            raise ConfigError([LesseeError("cannot be read: No such file or directory", where=path)])
        return files[path]

    findings = sorted_findings(check_compose(paths, checked, load, (env_files or {}).get))
    ALL.extend(findings)
    return tuple(item for item in findings if item.rule not in but)


def found(services, **more):
    """The findings in short, without literal secrets."""
    return [
        (item.rule, item.level, item.file, item.line)
        for item in check(services, **more)
        if item.rule != "literal-secret"
    ]
