"""A collector of OpenTelemetry traces: receives OTLP over HTTP, and decodes it with OpenTelemetry's own package."""

import gzip
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Status


class Collector:
    """Stores the body of each request (`bodies`) and the `spans` in it. `status`: the status code of its responses."""

    def __init__(self, port=0):
        self.bodies, self.headers, self.spans, self.resources, self.status = [], [], [], [], 200
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if collector.status == 200:
                    assert self.path == "/v1/traces"
                    collector.receive(body, dict(self.headers))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(collector.status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def receive(self, body, headers):
        request = ExportTraceServiceRequest.FromString(body)
        self.bodies.append(body)
        self.headers.append(headers)
        for resource_spans in request.resource_spans:
            self.resources.append(_attributes(resource_spans.resource))
            self.spans.extend(Span(span) for scope in resource_spans.scope_spans for span in scope.spans)

    def named(self, name, **attributes):
        """The spans of this name with these attributes (without `lessee.`), in order of their start."""
        wanted = {f"lessee.{key}": value for key, value in attributes.items()}
        found = [span for span in list(self.spans) if span.name == name and wanted.items() <= span.attributes.items()]
        return sorted(found, key=lambda span: span.started)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Span:
    """A received span."""

    def __init__(self, span):
        self.name, self.id, self.trace, self.parent = span.name, span.span_id, span.trace_id, span.parent_span_id
        self.started, self.ended = span.start_time_unix_nano, span.end_time_unix_nano
        self.attributes = _attributes(span)
        self.links = [link.span_id for link in span.links]
        self.failed = span.status.code == Status.STATUS_CODE_ERROR

    @property
    def outcome(self):
        return self.attributes["lessee.outcome"]


def _attributes(source):
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in source.attributes}
