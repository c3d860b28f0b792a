"""The HTML page at `/`; imported at the first request."""

from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from lessee.host.clock import wall_time
from lessee.status.pages.grouping import Selection
from lessee.status.pages.page import render_page
from lessee.status.pages.views import whole_view

_FOLDER = Path(__file__).parent


def page_response(status: Mapping[str, Any], query: str = "") -> tuple[bytes, tuple[tuple[str, str], ...]]:
    """The document, and the headers that forbid a browser to load anything else into it.

    `query`: `q`, the words that a row must contain, and `group`, the only group to list of its table.
    """
    style, script = _text("page.css"), _text("page.js")
    fields = parse_qs(query)
    selection = Selection.of(fields.get("q", [""])[0], fields.get("group", [""])[0])
    page = render_page(whole_view(status, wall_time()), style=style, script=script, selection=selection)
    return page.encode(), _headers()


@cache
def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


@cache
def _headers() -> tuple[tuple[str, str], ...]:
    policy = {
        "default-src": "'none'",
        "style-src": _hash("page.css"),
        "script-src": _hash("page.js"),
        "connect-src": "'self'",
        "img-src": "data:",  # the empty icon: without it, a browser requests one
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return (
        ("Content-Security-Policy", "; ".join(f"{name} {source}" for name, source in policy.items())),
        ("Referrer-Policy", "no-referrer"),
        ("X-Frame-Options", "DENY"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
    )


def _hash(name: str) -> str:
    return f"'sha256-{b64encode(sha256(_text(name).encode()).digest()).decode()}'"
