"""The status server: HTTP on a Unix socket, and on TCP if configured."""

from lessee.status.server.listener import StatusServer
from lessee.status.server.source import StatusSource

__all__ = ["StatusServer", "StatusSource"]
