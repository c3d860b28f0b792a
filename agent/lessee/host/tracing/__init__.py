"""What the agent does as OpenTelemetry's spans, and their way to a collector."""
