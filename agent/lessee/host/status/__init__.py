"""How an agent is, over HTTP: on a Unix socket, and on TCP where that is wanted."""

from lessee.host.status.answers import Answers
from lessee.host.status.asking import UnixConnection, ask, known
from lessee.host.status.server import StatusServer

__all__ = ["Answers", "StatusServer", "UnixConnection", "ask", "known"]
