"""How an agent is, over HTTP: on a Unix socket, and on TCP where that is wanted."""

from lessee.status.client import UnixConnection, ask, known
from lessee.status.server.listener import StatusServer
from lessee.status.server.source import Answers

__all__ = ["Answers", "StatusServer", "UnixConnection", "ask", "known"]
