"""Imported templates get the results of the other agent from each function, or the import reports a loss."""

import json
from pathlib import Path

import pytest

from lessee.config.parsing import parse
from lessee.core.errors import LesseeError
from lessee.core.paths import DynamicSecret, Folder, Ref
from lessee.core.secrets import Secret
from lessee.ops.migrate.policy.conversion import convert
from lessee.ops.migrate.policy.findings import Report
from lessee.rendering.app_templates import compile_apps, path_scope_of
from lessee.rendering.render import Inputs, render
from lessee.rendering.templates import Compiler

# A case for each test that consul-template has of its functions and that needs neither Consul nor Nomad. `expected` is
# what OpenBao's agent renders, as tests/e2e/test_import_functions.py shows; null if it renders no file.
TEXT = Path(__file__).with_name("consul_template_functions.json").read_text()
CASES = json.loads(TEXT)["cases"]
ENVIRON = json.loads(TEXT)["environ"]
VERSIONS = json.loads(TEXT)["secrets"]


def secret_of(need):
    """The secret on a server with the data of the cases; None if it does not exist."""
    match need:
        case Ref(path=path) if path in VERSIONS:
            return Secret(VERSIONS[path][(need.version or 0) - 1])
        case DynamicSecret(path="pki/issue/shop"):
            return Secret({"certificate": "PEM"})
        case _:
            return None


def imported(template):
    """The losses, and the output; None if lessee renders no file."""
    report = Report()
    try:
        files = convert("t.ctmpl", template, lambda _: None, report)
        config = parse(files["lessee.yaml"], source="lessee.yaml", environ=ENVIRON)
        [app] = compile_apps(config, Compiler(files.__getitem__, path_scope_of(config))).values()
        folders = {need: folder(need) for need in app.references if isinstance(need, Folder)}
        secrets = {need: secret_of(need) for need in app.references if need not in folders}
        if None in secrets.values():
            return [], None  # The agent waits for the secret.
        kv = {need: secret for need, secret in secrets.items() if isinstance(need, Ref)}
        dynamic = {need: secret for need, secret in secrets.items() if need not in kv}
        output = render(app, Inputs(kv, folders, dynamic, ENVIRON)).generation.files[0].content.decode()
    except LesseeError:
        output = None
    return [str(finding) for finding in report.findings if finding.is_loss], output


def folder(need):
    below = {path.removeprefix(need.path): path for path in VERSIONS if path.startswith(need.path)}
    return {name: Secret(VERSIONS[path][-1]) for name, path in below.items()}


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_a_function_has_the_result_of_the_other_agent_or_is_a_loss(case):
    losses, output = imported(case["template"])
    if case["verdict"] == "same":
        assert output == (None if case["expected"] is None else case["expected"].replace("PEM", "PEM\n"))
        assert not losses or case["expected"] is None
    else:
        assert losses
        assert output is None


def test_most_functions_are_carried_over():
    verdicts = [case["verdict"] for case in CASES]
    assert len(verdicts) == 93
    assert verdicts.count("same") >= 75
