"""`lessee import` reports how many templates are read and converted."""

from argparse import Namespace
from contextlib import contextmanager

import pytest

from lessee.host.progress import Progress
from lessee.ops.migrate import command

TEMPLATES = 5


class Recorded(Progress):
    def __init__(self):
        self.phases, self.steps = [], []

    def phase(self, what, total=None, *, unit=""):
        assert unit == ""
        self.phases.append((what, total))
        self.steps.append(0)

    def advance(self, count=1):
        self.steps[-1] += count


@pytest.mark.parametrize("quiet", [False, True])
def test_each_template_counts_in_each_phase(tmp_path, monkeypatch, capsys, quiet):
    recorded, asked = Recorded(), []

    @contextmanager
    def progress(*, quiet):
        asked.append(quiet)
        yield recorded

    monkeypatch.setattr(command, "progress", progress)
    blocks = ['vault { address = "http://127.0.0.1:8200" }']
    for number in range(TEMPLATES):
        (tmp_path / f"{number}.ctmpl").write_text('{{ with secret "secret/data/x" }}{{ .Data.data.a }}{{ end }}\n')
        blocks.append(f'template {{\n source = "{number}.ctmpl"\n destination = "/run/x/{number}"\n}}')
    file = tmp_path / "agent.hcl"
    file.write_text("\n".join(blocks))
    assert command.run(Namespace(file=str(file), output=None, quiet=quiet)) == 0
    assert asked == [quiet]
    totals = [None, TEMPLATES, TEMPLATES, TEMPLATES]
    names = ["reading templates", "parsing templates", "finding secrets in templates", "converting templates"]
    assert recorded.phases == list(zip(names, totals, strict=True))
    assert recorded.steps == [TEMPLATES] * 4
    assert "==> lessee.yaml <==" in capsys.readouterr().out
