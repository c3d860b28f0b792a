"""A stand-in for your app: it calls an API through the broker, and prints how the calls end."""

# ruff: noqa: INP001, T201  # A standalone program, whose result is its output.

import json
import os
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

FILE = Path("/run/secrets/app/token")
URL = f"{os.environ['OPENAI_BASE_URL']}/models"
PAUSE = 0.1


def call() -> str:
    """The status of a call, or the name of the error."""
    headers = {"Authorization": f"Bearer {FILE.read_text().strip()}"}  # as SDKs send a key
    request = urllib.request.Request(URL, headers=headers)  # noqa: S310  # It is HTTP.
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # As above.
            return str(answer.status)
    except urllib.error.HTTPError as exc:
        return str(exc.code)
    except OSError as exc:
        return type(exc).__name__


# After a restart of the host the Engine starts all containers concurrently: the app may start before its file.
while not FILE.exists() or call() == "URLError":
    time.sleep(0.1)
calls: Counter[str] = Counter()
printed = 0.0
while True:
    calls[call()] += 1
    if time.monotonic() - printed > 1:
        printed = time.monotonic()
        print(json.dumps({"calls": calls}), flush=True)
    time.sleep(PAUSE)
