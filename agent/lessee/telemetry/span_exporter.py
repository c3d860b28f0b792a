"""Exports spans by OTLP over HTTP in a thread of its own, as the OTEL_* variables configure it.

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
from lessee.telemetry.tracing import IdentityTracer

CLOSE_TIMEOUT = 2.0
"""Seconds at the end to send the remaining spans."""
_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")


class SpanExport:
    """A connection to a collector. The library's thread sends ended spans, and drops them if its queue is full."""

    def __init__(self, environment: str | None) -> None:
        """Raises the library's errors about variables that it cannot parse."""
        configured = Resource.create()
        known = {"service.version": __version__}
        if environment is not None:
            known["deployment.environment.name"] = environment
        # The operator's variables take precedence.
        known = {name: word for name, word in known.items() if name not in configured.attributes}
        if str(configured.attributes["service.name"]).startswith("unknown_service"):  # the library's default
            known["service.name"] = "lessee"
        self._provider = TracerProvider(resource=configured.merge(Resource(known)), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_LoggingExporter()))
        self._tracer = self._provider.get_tracer("lessee", __version__)
        self._tracers: list[IdentityTracer] = []

    def tracer(self, identity: str) -> IdentityTracer:
        """A tracer for one identity."""
        tracer = IdentityTracer(self._tracer, identity)
        self._tracers.append(tracer)
        return tracer

    def close(self) -> None:
        """Send the remaining spans, as far as the collector accepts them within CLOSE_TIMEOUT seconds."""
        for tracer in self._tracers:
            tracer.close()
        # The library itself would wait for 30 s.
        last = threading.Thread(target=self._provider.shutdown, name="lessee-traces", daemon=True)
        last.start()
        last.join(CLOSE_TIMEOUT)


@contextmanager
def exporting(environment: str | None, redactor: Redactor, environ: Mapping[str, str]) -> Iterator[SpanExport | None]:
    """Export spans within this context; gives None, after a warning, if the variables are invalid."""
    for name in _HEADERS:
        redactor.learn(f"variable {name}", _values(environ.get(name, "")))
    try:
        export = SpanExport(environment)
    except Exception as exc:  # noqa: BLE001  # Each setting raises its own errors, and tracing must not stop an app.
        log("warning", "tracing disabled", reason=f"{type(exc).__name__}: {exc}", todo="check the OTEL_* variables")
        yield None
        return
    try:
        yield export
    finally:
        export.close()


class _LoggingExporter(SpanExporter):
    """The library's exporter. Logs once when it begins to fail, and once when it works again."""

    def __init__(self) -> None:
        self._exporter = OTLPSpanExporter()
        self._library_log = _LastMessage()
        self._fails = False
        # The library logs the same at each attempt, partly as a traceback.
        library = logging.getLogger("opentelemetry")
        library.handlers, library.propagate = [self._library_log], False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception as exc:  # noqa: BLE001  # An exception would end the library's thread.
            self._library_log.last, result = type(exc).__name__, SpanExportResult.FAILURE
        fails = result is not SpanExportResult.SUCCESS
        if fails and not self._fails:
            log("warning", "trace export failed", reason=self._library_log.last, note="newer spans are tried")
        elif self._fails and not fails:
            log("info", "trace export recovered")
        self._fails = fails
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # The library has no types.


class _LastMessage(logging.Handler):
    """Stores the library's last log message."""

    last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()


def _values(headers: str) -> Iterator[str]:
    """The secret parts of `name=value,name=value`: each value, and its last word, since the first may be `Bearer`.

    The whole text too, because the library logs what it cannot parse.
    """
    yield headers
    for pair in headers.split(","):
        name, _, value = pair.partition("=")
        value = unquote(value or name).strip()
        yield value
        yield value.rpartition(" ")[2]
