"""Mends Compose files in memory, as `lessee check --fix` does with files."""

from pathlib import PurePosixPath

from lessee.core.errors import ConfigError, LesseeError
from lessee.ops.lint.policy.compose.rules import check_compose
from lessee.ops.lint.policy.findings import sorted_findings
from lessee.ops.lint.policy.fixes.session import fix_all, lines_to_add
from lessee.ops.lint.policy.fixes.yaml_text import block
from lessee.ops.lint.policy.project import check_project

TEMPLATE = 'DATABASE_URL={{ secret("db").url }}\n'
LESSEE = """\
environment: production
vault:
  address: https://vault.example:8200
  auth: {method: approle, role_id_file: /run/identity/role_id, secret_id_file: /run/identity/secret_id}
apps:
  web:
    directory: /run/secrets/web
    owner: "0:1000"
    files: [{template: app.env.j2}]
    notify: {process: {name: app.py}, action: SIGHUP}
"""
TMPFS = "{driver_opts: {type: tmpfs, device: tmpfs, o: 'size=1m,mode=0750,uid=0,gid=1000'}}"
GOOD = f"""\
services:
  holder: {{image: lessee, entrypoint: [sleep, infinity], volumes: ["files:/hold/files"]}}
  agent:
    image: lessee
    user: "0:1000"
    pid: service:holder
    volumes:
      - ./lessee:/etc/lessee:ro
      - files:/run/secrets/web
  web:
    image: x
    user: "1000:1000"
    pid: service:holder
    restart: always
    volumes: ["files:/run/secrets/web:ro"]
    depends_on:
      agent: {{condition: service_healthy}}
volumes:
  files: {TMPFS}
"""


class Files:
    """Files by name, with the findings in them."""

    def __init__(self, lessee=LESSEE, template=TEMPLATE, paths=None, **files):
        """`files` are named with `_` instead of the dot, such as `compose_yaml`."""
        self.template = template
        self.texts = {"lessee/lessee.yaml": lessee} | {name.replace("_", "."): text for name, text in files.items()}
        self.paths = paths or ["compose.yaml"]
        self.environ, self.configuration = {}, "lessee/lessee.yaml"

    def load(self, path, texts=None):
        found = (self.texts | (texts or {})).get(path)
        if found is None:
            raise ConfigError([LesseeError("cannot be read: No such file or directory", where=path)])
        return found

    def check(self, texts=None, more=()):
        name = "lessee/lessee.yaml"
        checked = check_project(
            PurePosixPath(name),
            self.load(name, texts),
            self.environ,
            lambda *_: self.template,
            lambda _: '{"services": {}}',
        )

        def env_file(path):
            return (self.texts | (texts or {})).get(path)

        paths = [*self.paths, *more]
        return sorted_findings(
            [
                *checked.findings,
                *check_compose(paths, checked, lambda path: self.load(path, texts), env_file, self.configuration),
            ]
        )

    def rules(self, texts=None):
        return [finding.rule for finding in self.check(texts) if finding.rule != "literal-secret"]

    def mend(self):
        """The session of `--fix`; a second one has nothing to do."""
        session = fix_all(self.check, self.load)
        again = fix_all(
            lambda texts: self.check({**session.texts, **texts}), lambda path: self.load(path, session.texts)
        )
        assert not again.texts
        return session

    def lines(self):
        """The document that `lessee check --compose` ends with, which suffices when it is pasted."""

        def check(document):
            texts = {"added.yaml": block(document)} if document else {}
            return self.check(texts, tuple(texts))

        document = lines_to_add(check)
        assert lines_to_add(lambda more: check(document) if not more else ()) in ({}, document)
        return document


def edited(*pairs, text=GOOD):
    """A Compose file with replaced parts, by default one without findings."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text
