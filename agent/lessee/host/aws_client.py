"""Clients of S3 and of other APIs of AWS: botocore's own, with limits for each answer, and SANs alone matched."""

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from lessee.host.answer_limits import AnswerLimits, LargeAnswerError, LimitedSocket
from lessee.host.optional_dependencies import library

MAX_ANSWER_SIZE = 4 << 20
"""Bytes of an answer that is parsed; a list of 1,000 objects with the longest names has less."""
_MAX_TAGS = 1 << 16
"""Of such an answer. A list of 1,000 objects has a third of it."""
_UNLIMITED = 1 << 62
_TIMEOUTS = (2.0, 5.0)
_SECONDS = 10.0
"""For a request to a metadata service, with its answer."""
_FIRST_ERROR = 300
_DECLARATIONS = (b"<!ENTITY", b"<!ATTLIST")
"""What makes a short text of XML long; no API of AWS sends it. Its parser takes every text for UTF-8."""


def limit_answers(client: Any, *, seconds: float, timeouts: tuple[float, float], extra: str, rate: float = 0.0) -> Any:
    """The client, which from now on limits its answers.

    `seconds`: for a request with its answer. `timeouts`: seconds to connect, and for each read. `rate`: as in
    AnswerLimits; with it, the content of objects may have any size. `extra`: lessee's extra that contains botocore.
    """
    endpoint = client._endpoint  # noqa: SLF001  # botocore has no option for its HTTP session.
    previous = endpoint.http_session
    endpoint.http_session = limited_session(
        verify=previous._verify,  # noqa: SLF001  # As above: a file, or what AWS_CA_BUNDLE says.
        proxies=library("botocore.utils", extra).get_environ_proxies(client.meta.endpoint_url),
        seconds=seconds,
        timeouts=timeouts,
        rate=rate,
        extra=extra,
    )
    previous.close()
    return client


def limited_session(
    *,
    verify: str | bool,
    seconds: float,
    timeouts: tuple[float, float],
    extra: str,
    proxies: Mapping[str, str] | None = None,
    rate: float = 0.0,
) -> Any:
    """The HTTP session of botocore, with limits, for any threads.

    `verify`: a file of CAs, or True for the machine's. The others as in `limit_answers`.
    """
    session = _session_class(
        extra,
        partial(AnswerLimits, seconds, MAX_ANSWER_SIZE, mark=b"<", parts=_MAX_TAGS, rate=rate),
        streams=bool(rate),
    )
    return session(verify=verify, proxies=proxies, timeout=timeouts)


def bounded_resolver(resolver: Any, environ: Mapping[str, str], credentials_file: str | None, *, extra: str) -> Any:
    """The resolver of a session's credentials, of which only the file counts if one is named.

    Its requests to metadata services have limits: botocore has no option for their HTTP session. `environ`: may have
    keys, which are in no variable of the process.
    """
    if credentials_file is not None:
        # Otherwise a file that was removed would be replaced by whatever else is there.
        resolver.providers = [one for one in resolver.providers if one.METHOD == "shared-credentials-file"]
    keys = library("botocore.credentials", extra).EnvProvider(environ=environ)
    resolver.providers = [keys if one.METHOD == keys.METHOD else one for one in resolver.providers]
    session = limited_session(verify=True, seconds=_SECONDS, timeouts=_TIMEOUTS, extra=extra)
    for provider in resolver.providers:
        for name in "_fetcher", "_role_fetcher":
            if (fetcher := getattr(provider, name, None)) is not None:
                fetcher._session = session  # noqa: SLF001  # As above.
    return resolver


def _session_class(extra: str, new_limits: Callable[[], AnswerLimits], *, streams: bool) -> Any:
    requests, sessions = library("botocore.awsrequest", extra), library("botocore.httpsession", extra)
    errors = library("botocore.exceptions", extra)
    current = threading.local()
    """`limits`: of the connection that this thread uses."""

    class HttpPool(requests.AWSHTTPConnectionPool):  # type: ignore[misc,name-defined]  # Of an optional library.
        ConnectionCls = _limited(requests.AWSHTTPConnection, new_limits, current)

    class HttpsPool(requests.AWSHTTPSConnectionPool):  # type: ignore[misc,name-defined]  # As above.
        ConnectionCls = _limited(requests.AWSHTTPSConnection, new_limits, current)

    class Session(sessions.URLLib3Session):  # type: ignore[misc,name-defined]  # As above.
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self._pool_classes_by_scheme = {"http": HttpPool, "https": HttpsPool}
            self._manager.pool_classes_by_scheme = self._pool_classes_by_scheme

        def send(self, request: Any) -> Any:
            answer = super().send(request)
            if not request.stream_output or answer.status_code >= _FIRST_ERROR:
                try:
                    content = answer.content
                except Exception as exc:  # urllib3's own errors, which botocore's callers do not expect.
                    raise errors.HTTPClientError(error=exc) from exc
                if any(declaration in content for declaration in _DECLARATIONS):
                    cause = LargeAnswerError("an answer that declares entities or attributes of XML")
                    raise errors.HTTPClientError(error=cause) from cause
            elif streams:
                # The content of an object is not parsed, and its reader knows its size from the head.
                current.limits.begin(size=_UNLIMITED, restart=False)
            return answer

        def _get_ssl_context(self) -> Any:
            context = super()._get_ssl_context()
            # urllib3 matches the name itself, and asks the context how. RFC 9525 has clients ignore the common name.
            context.hostname_checks_common_name = False
            return context

    return Session


def _limited(base: Any, new_limits: Callable[[], AnswerLimits], current: Any) -> Any:
    class Connection(base):  # type: ignore[misc]  # As above.
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._limits = new_limits()

        def connect(self) -> None:
            super().connect()
            connected: Any = self.sock
            self.sock: Any = LimitedSocket(connected, self._limits)

        def request(self, *arguments: Any, **options: Any) -> Any:
            self._limits.begin()
            current.limits = self._limits
            return super().request(*arguments, **options)

    return Connection
