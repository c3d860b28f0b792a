"""Telemetry: logs, Prometheus metrics and OpenTelemetry traces."""
