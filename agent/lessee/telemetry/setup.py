"""Traces, where the variables OTEL_* ask for them."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from lessee.config import Config
from lessee.core.redaction import Redactor
from lessee.telemetry.logs import log

if TYPE_CHECKING:
    from lessee.telemetry.span_exporter import Tracing

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_OURS = "http/protobuf"


def tracing(config: Config, redactor: Redactor, environ: Mapping[str, str]) -> AbstractContextManager["Tracing | None"]:
    """So long, what the agent does is traced; None where nobody asks for it, or it cannot be: that is said once."""
    if not asked_for(environ):
        return nullcontext()
    spoken = next((word for name in _PROTOCOLS if (word := environ.get(name, "").strip())), _OURS)
    if spoken != _OURS:
        log(
            "warning", "traces are not sent", reason=f"{spoken} is not spoken here", todo=f"set {_PROTOCOLS[0]}={_OURS}"
        )
        return nullcontext()
    try:
        from lessee.telemetry import span_exporter  # noqa: PLC0415  # The library is optional.
    except ImportError as exc:
        reason = f"OTEL_* asks for them, and the library {exc.name} is missing"
        log("warning", "traces are not sent", reason=reason, todo="pip install 'lessee[otel]'")
        return nullcontext()
    return span_exporter.tracing(config.environment, redactor, environ)


def asked_for(environ: Mapping[str, str]) -> bool:
    """As https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ has it, but for one thing.

    There, who says nothing is traced to localhost; here, nobody is.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if exporters := environ.get("OTEL_TRACES_EXPORTER", "").strip():
        return "otlp" in {word.strip().lower() for word in exporters.split(",")}
    return any(environ.get(name, "").strip() for name in _ENDPOINTS)
