"""The Docker SDK's client of an engine, with limits for each answer."""

from typing import Any

import docker.utils

from lessee.host.answer_limits import AnswerLimits, LimitedSocket

MAX_ANSWER_SIZE = 8 << 20
"""Bytes of an answer: a list of containers has a few KiB for each."""
_MAX_VALUES = 1 << 18
"""Of such an answer."""


def open_client(timeout: int) -> Any:
    """A client of the engine of $DOCKER_HOST, else of the one at the default socket.

    `timeout`: seconds for each request with its whole answer; the SDK adds those that the engine itself may wait.
    Raises the SDK's errors, and OSError.
    """
    return _Client(timeout=timeout, version="auto", **docker.utils.kwargs_from_env())


class _Client(docker.APIClient):
    def get_adapter(self, url: str) -> Any:
        return _limited_adapter(super().get_adapter(url))


def _limited_adapter(adapter: Any) -> Any:
    """The adapter of `requests`, whose connections have limits from now on; the SDK chooses among several classes."""
    if hasattr(adapter, "limits"):
        return adapter
    limits = adapter.limits = AnswerLimits(0.0, MAX_ANSWER_SIZE, mark=b",", parts=_MAX_VALUES)
    send, pool_of = adapter.send, adapter.get_connection_with_tls_context

    def limited_send(request: Any, **options: Any) -> Any:
        limits.begin(seconds=options["timeout"])
        return send(request, **options)

    def limited_pool(*arguments: Any, **options: Any) -> Any:
        pool = pool_of(*arguments, **options)
        if not hasattr(pool, "limits"):
            pool.limits = limits
            pool._new_conn = _limiting(pool._new_conn, limits)  # noqa: SLF001  # urllib3 has no other way to a socket.
        return pool

    adapter.send, adapter.get_connection_with_tls_context = limited_send, limited_pool
    return adapter


def _limiting(new_connection: Any, limits: AnswerLimits) -> Any:
    def new_limited_connection() -> Any:
        connection = new_connection()
        connect = connection.connect

        def limited_connect() -> None:
            connect()
            connection.sock = LimitedSocket(connection.sock, limits)

        connection.connect = limited_connect
        return connection

    return new_limited_connection
