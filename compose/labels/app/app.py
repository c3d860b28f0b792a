"""A stand-in for your app: it has its secrets in its environment, and handles no signal."""

# ruff: noqa: INP001, T201  # A standalone program, whose result is its output.

import hashlib
import os
import time

# A fingerprint instead of the values, which must not be logged.
text = os.environ["DATABASE_USER"] + os.environ["DATABASE_URL"]
print(f"start: {os.environ['LOG_LEVEL']} {hashlib.sha256(text.encode()).hexdigest()[:12]}", flush=True)
while True:
    time.sleep(60)
