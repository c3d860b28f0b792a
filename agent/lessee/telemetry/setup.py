"""Starts tracing, if the OTEL_* environment variables request it."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from lessee.config import Config
from lessee.core.redaction import Redactor
from lessee.telemetry.logs import log

if TYPE_CHECKING:
    from lessee.telemetry.span_exporter import SpanExport

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SUPPORTED = "http/protobuf"


def start_tracing(
    config: Config, redactor: Redactor, environ: Mapping[str, str]
) -> AbstractContextManager["SpanExport | None"]:
    """Trace the agent within this context; gives None if traces are not requested or, after a warning, not possible."""
    if not is_requested(environ):
        return nullcontext()
    protocol = next((word for name in _PROTOCOLS if (word := environ.get(name, "").strip())), _SUPPORTED)
    if protocol != _SUPPORTED:
        log(
            "warning",
            "tracing disabled",
            reason=f"protocol {protocol} unsupported",
            todo=f"set {_PROTOCOLS[0]}={_SUPPORTED}",
        )
        return nullcontext()
    try:
        from lessee.telemetry import span_exporter  # noqa: PLC0415  # The library is optional.
    except ImportError as exc:
        reason = f"OTEL_* variables request it, but the library {exc.name} is not installed"
        log("warning", "tracing disabled", reason=reason, todo="run pip install 'lessee[otel]'")
        return nullcontext()
    return span_exporter.exporting(config.environment, redactor, environ)


def is_requested(environ: Mapping[str, str]) -> bool:
    """Whether the variables request traces, as OpenTelemetry specifies it, with one exception.

    https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ sends traces to localhost by
    default; lessee sends none by default.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if exporters := environ.get("OTEL_TRACES_EXPORTER", "").strip():
        return "otlp" in {word.strip().lower() for word in exporters.split(",")}
    return any(environ.get(name, "").strip() for name in _ENDPOINTS)
