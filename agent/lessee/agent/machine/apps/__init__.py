"""Apps: rendering, publication, notification, readiness and fallback."""
