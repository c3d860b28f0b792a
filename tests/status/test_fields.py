"""Each field of a status has a meaning, and each status has the fields that the reference lists, with their types."""

import msgspec
import pytest

from lessee.agent.machine.state import Counters
from lessee.agent.machine.status.fields import AgentStatus, TotalsFields
from lessee.agent.machine.status.view import IdentityStatus, status
from lessee.core.errors import AgentUnavailableError
from lessee.core.status_format import FORMAT
from lessee.status.client import request_status
from lessee.status.server import StatusServer
from support.models.status_source import StaticStatus
from support.models.world import World, app_spec, creds, ref
from support.reference.status import DOCUMENTS, rows_of

_WALL = 1_764_000_000.0


class Agent(World):
    @property
    def document(self):
        identity = IdentityStatus("1", "https://vault:8200", self.state)
        return status([identity], self.now, _WALL, environment="production")


def documents():
    """An agent before its first answer, and one that works, with a lease and a secret that does not exist."""
    made = Agent({"web": app_spec(ref("p/db/a"), creds("x"), ref("p/none"))})
    yield made.document
    made.write(ref("p/db/a"))
    made.run(3)
    yield made.document
    well = Agent({"web": app_spec(ref("p/db/a"), creds("x"))})
    well.write(ref("p/db/a"))
    well.run(3)
    yield well.document


@pytest.mark.parametrize("title", DOCUMENTS)
def test_each_field_has_a_meaning(title):
    rows = rows_of(*DOCUMENTS[title])
    assert len(rows) > 10
    assert [place for place, _, meaning in rows if not meaning.endswith(".")] == []
    assert len({place for place, _, _ in rows}) == len(rows)


def test_an_agent_s_status_has_the_declared_fields_with_their_types():
    for document in documents():
        assert msgspec.convert(document, AgentStatus) == document
    assert TotalsFields.__annotations__.keys() == set(Counters.__struct_fields__)


def test_a_status_of_a_newer_format_is_refused(memory):
    for number in (FORMAT, FORMAT + 1):
        socket = memory / f"{number}.sock"
        server = StatusServer(socket, None, StaticStatus({"format": number}))
        try:
            if number == FORMAT:
                assert request_status(socket, "GET", "/status.json") == {"format": FORMAT}
            else:
                with pytest.raises(
                    AgentUnavailableError, match="status has format 3; this one reads 2; use the version"
                ):
                    request_status(socket, "GET", "/status.json")
        finally:
            server.close()
