"""Imports texts in memory. Each finding has a text of `findings.txt`, which was reviewed."""

from pathlib import Path

import pytest
import yaml

from lessee.core.source_text import Text
from lessee.ops.migrate.policy.conversion import convert
from lessee.ops.migrate.policy.findings import Report
from support.error_texts import compare, has_many_examples

FINDINGS = Path(__file__).with_name("findings.txt")


class ImportResult:
    """The generated files, and the findings."""

    def __init__(self, files, report):
        self.files = files
        self.losses = [str(finding) for finding in report.findings if finding.is_loss]
        self.notes = [str(finding) for finding in report.findings if not finding.is_loss]

    @property
    def text(self):
        return self.files["lessee.yaml"]

    @property
    def config(self):
        return yaml.safe_load(self.text)

    def app(self, name):
        return self.config["apps"][name]


@pytest.fixture
def imported(request):
    def run(name, text, **templates):
        """Import a file. `templates`: other files in its directory, by name without suffix."""
        report = Report()
        others = {f"{stem}.ctmpl": content for stem, content in templates.items()}

        def load_template(path):
            name = path.rpartition("/")[2]
            return Text(others[name], name, 1) if name in others else None

        files = convert(name, text, load_template, report)
        if not has_many_examples(request):
            compare(FINDINGS, [(finding.is_loss, finding.what, finding.todo) for finding in report.findings])
        return ImportResult(files, report)

    return run
