"""The checks of `lessee validate`, from the code, and the formats of files."""

import ast
from pathlib import Path

from lessee.config import _FORMATS
from lessee.config.parsing import parse
from lessee.ops.validate.components import checks
from lessee.ops.validate.context import ValidationContext
from lessee.rendering.formats import _MODULES
from support.paths import ROOT
from support.reference.markdown import code, page, table

_CHECKS = """
Every check of `lessee validate`, by its component; `NAME` is an app. A report names each check that did not pass, such
as `[postgres-login]`, and `--verbose` names all. [Validate an environment](../how-to/operations/validate.md) says what
each component looks at.
"""
_ABOUT_FORMATS = """
Every format of a file, in `apps.NAME.files[].format`. Without `format`, it follows from the file's name, and is `text`
for a name that none of these patterns fits. A value never changes the structure of a file, except in `text`.
[Templates](templates.md#formats) explains the rules.
"""
_CONFIG = """
environment: production
apps: {NAME: {directory: /run/app, files: [{template: a}]}}
validate:
  database: {}
  storage: {}
  mcp_cache: {secret: cache/database, redis: cache/redis}
  api_keys: {openai: {secret: api-keys/openai, key: api_key}}
  mcp_auth: {url: "https://mcp/mcp", secret: mcp/a, key: api_key}
  frontend: {dist: dist}
rotation:
  mysql: {kind: mysql, secret: a, admin_secret: b, users: [c, d]}
  rabbitmq: {kind: rabbitmq, secret: e, admin_secret: f, user: g}
  ldap: {kind: ldap, secret: h, admin_secret: i, accounts: ["cn=j,dc=k"]}
"""


def checks_page():
    """The page of all checks."""
    found = {}
    for component, name in _checks():
        found.setdefault(component, []).append(code(name))
    rows = [(code(component), " ".join(names)) for component, names in found.items()]
    return page("Checks of an environment", _CHECKS, table(("component", "checks"), rows))


def _checks():
    """The component and the name of each check of an environment that has everything."""
    config = parse(_CONFIG, source="lessee.yaml", environ={})
    context = ValidationContext(config, Path("/etc/lessee/lessee.yaml"), {}, now=0.0)
    return list(dict.fromkeys((check.component, name) for check in checks(context) for name in check.names))


def formats_page():
    """The page of all formats."""
    names = {}
    for pattern, name in _FORMATS.items():
        names.setdefault(name, []).append(code(pattern))
    rows = []
    for name, module in _MODULES.items():
        file = ROOT / "agent" / f"{module.replace('.', '/')}.py"
        about = " ".join((ast.get_docstring(ast.parse(file.read_text())) or "").split())
        rows.append((code(name), " ".join(names.get(name, ())), about))
    return page("Formats", _ABOUT_FORMATS, table(("format", "for these names", "what it writes"), rows))
