"""An undo keeps its record and the originals until a person has settled each line that it could not put back."""

import os
import time

import pytest

from lessee.config.parsing import parse
from lessee.core.immutable import replace
from lessee.host.openbao import ROOT_TOKEN
from lessee.ops.adopt.files import digest
from lessee.ops.adopt.policy.edits import apply_edits
from lessee.ops.adopt.policy.model import Edit, Span
from lessee.ops.adopt.record import EditedFile, McpEdit, Phase, Record, RecordFolder
from lessee.ops.adopt.stack import Stack
from lessee.ops.adopt.store import Store
from lessee.ops.adopt.undo import Undo
from lessee.vault.admin import admin_client

REF = "ref+openbao://api-keys/{}#api_key"
BEFORE = b"# keys\nA=secret-a\nB=secret-b\nC=secret-c\n"


def change(before, **replaced):
    """The change of `.env` that makes references of these variables."""
    edits = []
    for name in replaced:
        start = before.index(f"{name}=".encode()) + 2
        end = before.index(b"\n", start)
        edits.append(Edit(Span(".env", before.count(b"\n", 0, start) + 1, start, end), REF.format(name)))
    after = apply_edits(before, edits)
    return EditedFile(".env", digest(before), digest(after), tuple(edits)), after


class Adopted:
    """A project whose `.env` was adopted twice."""

    def __init__(self, client, config, folder):
        self.store, self.path, self.file = Store(client, config), folder, folder / ".env"
        self.records = RecordFolder(folder, {"XDG_STATE_HOME": str(folder.parent / "state")})
        first, after = change(BEFORE, A=1, B=1, C=1)
        # A person sets another key between the two.
        second_before = after.replace(b"A=" + REF.format("A").encode(), b"A=another") + b"D=secret-d\n"
        second, self.after = change(second_before, A=1, D=1)
        record = Record("1", "p", config.environment, "http://v", "lessee", Phase.DONE, edited=(first, second))
        for content in (BEFORE, second_before):
            self.store.back_up(record, content)
        (folder / ".lessee").mkdir()
        self.records.save(record)
        self.file.write_bytes(self.after)

    def undo(self):
        stack = Stack(self.path, "p", (), dict(os.environ))
        said = []
        steps = Undo(self.records, stack, self.store, said.append).run(self.records.load(), 1, with_engine=False)
        return [str(step) for step in steps]

    @property
    def originals(self):
        folder = f"secret/metadata/{self.store.config.environment}/lessee/adopted/p-1"
        return len(self.store.client.list(folder))


@pytest.fixture
def adopted(bao, tmp_path):
    environment = f"undo-{os.urandom(4).hex()}"
    text = f"environment: {environment}\nvault:\n  address: {bao.address}\n  insecure_http: true\napps: {{}}\n"
    config = parse(text, source="lessee.yaml", environ={})
    with admin_client(config.vault, {"VAULT_TOKEN": ROOT_TOKEN}, time.monotonic) as client:
        yield Adopted(client, config, tmp_path)


def test_a_line_that_a_person_replaced_stays_and_all_others_come_back(adopted):
    [step] = adopted.undo()
    assert adopted.file.read_bytes() == b"# keys\nA=another\nB=secret-b\nC=secret-c\nD=secret-d\n"
    assert step == (
        f".env:2: the line was changed since adopt wrote {REF.format('A')} there, so it is not put back; `bao kv get` "
        "prints the value: write it there, or leave the line as it is, and run `lessee adopt --undo` again"
    )
    # The originals stay until the person says that this is all.
    assert (adopted.records.load().phase, adopted.originals) == (Phase.UNDOING, 2)
    assert adopted.undo() == []
    assert (adopted.records.load(), adopted.originals) == (None, 0)


def test_a_line_that_still_has_its_reference_is_named_until_it_is_written(adopted):
    adopted.file.write_bytes(adopted.after.replace(b"B=", b"export B="))
    expected = b"# keys\nA=another\nexport B=" + REF.format("B").encode() + b"\nC=secret-c\nD=secret-d\n"
    for _ in range(3):
        steps = adopted.undo()
        assert adopted.file.read_bytes() == expected
        assert f".env:3: the line was changed since adopt wrote {REF.format('B')} there" in steps[-1]
        assert adopted.originals == 2
    adopted.file.write_bytes(expected.replace(REF.format("B").encode(), b"secret-b"))
    assert adopted.undo() == []
    assert (adopted.records.load(), adopted.originals) == (None, 0)


def test_an_mcp_configuration_that_a_person_changed_is_named_once(adopted):
    (adopted.path / "mcp.json").write_text('{"mcpServers": {}}')
    adopted.file.write_bytes(BEFORE)
    record = adopted.records.load()
    adopted.store.back_up(record, b"{}")
    mcp = (McpEdit("mcp.json", digest(b"{}"), digest(b"{ }")),)
    adopted.records.save(replace(record, mcp=mcp))
    assert "mcp.json: the file was changed since it was adopted" in adopted.undo()[-1]
    assert adopted.originals == 3
    assert adopted.undo() == []
    assert adopted.originals == 0
