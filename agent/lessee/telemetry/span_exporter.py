"""Sends spans by OTLP over HTTP, beside the agent, as the variables OTEL_* say.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import unquote

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from lessee import __version__
from lessee.core.redaction import Redactor
from lessee.telemetry.logs import log
from lessee.telemetry.tracing import Traced

LEAVE = 2.0
"""Seconds at the end for what is still to be sent."""
_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")


class Tracing:
    """One way to a collector; a thread of the library's sends what has ended, and drops what it has no room for."""

    def __init__(self, environment: str | None) -> None:
        """Raises whatever the library makes of variables that it cannot read."""
        said = Resource.create()
        known = {"service.version": __version__}
        if environment is not None:
            known["deployment.environment.name"] = environment
        # What the operator's variables say goes first.
        known = {name: word for name, word in known.items() if name not in said.attributes}
        if str(said.attributes["service.name"]).startswith("unknown_service"):  # the library's word for nothing said
            known["service.name"] = "lessee"
        self._provider = TracerProvider(resource=said.merge(Resource(known)), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_Saying()))
        self._tracer = self._provider.get_tracer("lessee", __version__)
        self._all: list[Traced] = []

    def of(self, identity: str) -> Traced:
        """The spans of an identity that has just begun."""
        made = Traced(self._tracer, identity)
        self._all.append(made)
        return made

    def close(self) -> None:
        """Send what is there, as far as the collector takes it within LEAVE seconds."""
        for one in self._all:
            one.close()
        # The library would wait for half a minute.
        last = threading.Thread(target=self._provider.shutdown, name="lessee-traces", daemon=True)
        last.start()
        last.join(LEAVE)


@contextmanager
def tracing(environment: str | None, redactor: Redactor, environ: Mapping[str, str]) -> Iterator[Tracing | None]:
    """So long, spans are sent. None where the variables are rubbish, which is said once."""
    for name in _HEADERS:
        redactor.learn(f"variable {name}", _values(environ.get(name, "")))
    try:
        made = Tracing(environment)
    except Exception as exc:  # noqa: BLE001  # Each of its settings has errors of its own, and no app waits for traces.
        log(
            "warning", "traces are not sent", reason=f"{type(exc).__name__}: {exc}", todo="look at the variables OTEL_*"
        )
        yield None
        return
    try:
        yield made
    finally:
        made.close()


class _Saying(SpanExporter):
    """The library's exporter, of which is said once that it fails, and once that it does not any more."""

    def __init__(self) -> None:
        self._exporter = OTLPSpanExporter()
        self._heard = _Hearing()
        self._fails = False
        # It says the same at each try, and some of it as a traceback.
        library = logging.getLogger("opentelemetry")
        library.handlers, library.propagate = [self._heard], False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception as exc:  # noqa: BLE001  # Its thread would end with it.
            self._heard.last, result = type(exc).__name__, SpanExportResult.FAILURE
        fails = result is not SpanExportResult.SUCCESS
        if fails and not self._fails:
            log("warning", "traces are not sent", reason=self._heard.last, note="newer ones will be tried")
        elif self._fails and not fails:
            log("info", "traces are sent again")
        self._fails = fails
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # The library's, which has no types.


class _Hearing(logging.Handler):
    """Keeps what the library said last."""

    last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()


def _values(headers: str) -> Iterator[str]:
    """Of `name=value,name=value`: all of a value, and the last word of it, where the first is `Bearer` or so.

    The whole too: the library says what it cannot read.
    """
    yield headers
    for pair in headers.split(","):
        name, _, value = pair.partition("=")
        value = unquote(value or name).strip()
        yield value
        yield value.rpartition(" ")[2]
