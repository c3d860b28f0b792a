"""A stand-in for your app: it reads its secrets from its environment, and does not know lessee."""

# ruff: noqa: INP001, T201  # A standalone program, whose result is its output.

import hashlib
import os
import signal

# A fingerprint instead of the value, which must not be logged.
print(f"start: {hashlib.sha256(os.environ['DATABASE_PASSWORD'].encode()).hexdigest()[:12]}", flush=True)
signal.pause()
