"""Imports texts in memory."""

import pytest
import yaml

from lessee.core.source_text import Text
from lessee.ops.migrate.policy.conversion import convert
from lessee.ops.migrate.policy.findings import Report


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
def imported():
    def run(name, text, **templates):
        """Import a file. `templates`: other files in its directory, by name without suffix."""
        report = Report()
        others = {f"{stem}.ctmpl": content for stem, content in templates.items()}

        def load_template(path):
            name = path.rpartition("/")[2]
            return Text(others[name], name, 1) if name in others else None

        return ImportResult(convert(name, text, load_template, report), report)

    return run
