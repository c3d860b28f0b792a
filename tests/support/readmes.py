"""Checks the README of a directory of templates: it covers each template, and its examples are valid."""

import re
import subprocess
import sys

import yaml

from support.models.template_library import TEMPLATES

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_REST = {"environment": "testing", "vault": {"address": "http://127.0.0.1:8200"}}


def blocks(folder, language):
    """The code blocks of a language in a README."""
    found = _BLOCK.findall((TEMPLATES / folder / "README.md").read_text())
    return [text for word, text in found if word == language]


def check(folder, disk, **environ):
    """Check that each template is in the table and in a configuration that `lessee check` accepts.

    YAML without `apps`, such as a Compose file, is skipped. `environ` has the variables of `${…}`.
    """
    readme = (TEMPLATES / folder / "README.md").read_text()
    names = [str(path.relative_to(TEMPLATES / folder)) for path in (TEMPLATES / folder).rglob("*.j2")]
    assert [name for name in names if f"| `{name}`" not in readme] == []
    configs = [config for text in blocks(folder, "yaml") if "apps" in (config := yaml.safe_load(text))]
    assert {f"{folder}/{name}" for name in names} <= {name for config in configs for name in _used(config)}
    for config in configs:
        (disk / "lessee.yaml").write_text(yaml.safe_dump(_REST | config | {"template_dir": str(TEMPLATES)}))
        command = [sys.executable, "-m", "lessee", "check"]
        done = subprocess.run(command, cwd=disk, env=environ, capture_output=True, text=True, check=False, timeout=30)
        assert (done.returncode, done.stderr) == (0, "")


def _used(config):
    for app in config["apps"].values():
        yield from (file["template"] for file in app.get("files", ()))
        yield from filter(None, [app.get("env_template")])
