"""An import of texts, without a disk."""

import pytest
import yaml

from lessee.core.source_text import Text
from lessee.ops.migrate.policy.conversion import convert
from lessee.ops.migrate.policy.findings import Report


class Imported:
    """What was written, and what was told."""

    def __init__(self, files, report):
        self.files = files
        self.lost = [str(finding) for finding in report.findings if finding.lost]
        self.notes = [str(finding) for finding in report.findings if not finding.lost]

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
        """`templates`: files beside it, by their names without an ending."""
        report = Report()
        beside = {f"{stem}.ctmpl": content for stem, content in templates.items()}

        def read(path):
            known = path.rpartition("/")[2]
            return Text(beside[known], known, 1) if known in beside else None

        return Imported(convert(name, text, read, report), report)

    return run
