"""Helm, in a process of its own: its library is Go, with threads and memory of its own."""

import json
import subprocess
import sys
from pathlib import Path

from support.needs import need

INFORMATION = 1
_TARGET = Path(sys.prefix) / "helm"
_PROGRAM = Path(__file__).parent / "programs/helm_renderer.py"


class HelmError(Exception):
    """What Helm prints when it stops."""


def render(chart, values, name="app", namespace="app"):
    """The text of each template that is not empty, by its path."""
    rendered = _helm(task="render", chart=str(chart), values=values, name=name, namespace=namespace)
    return {path: text for path, text in rendered.items() if text.strip()}


def lint(chart, values):
    """The warnings and errors of `helm lint --strict`."""
    found = _helm(task="lint", chart=str(chart), values=values)
    return [message["error"] for message in found["messages"] if message["severity"] > INFORMATION] + found["errors"]


def _helm(**request):
    need((_TARGET / "helm_python").exists(), "needs Helm: make .venv/helm")
    done = subprocess.run(
        [sys.executable, "-I", _PROGRAM, _TARGET],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise HelmError(done.stderr)
    return json.loads(done.stdout)
