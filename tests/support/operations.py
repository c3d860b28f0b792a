"""The pages of docs/how-to/operations, in the order in which an operator with a new server needs them."""

from support.paths import ROOT

FOLDER = ROOT / "docs/how-to/operations"
ORDER = (
    "index",
    "new-server",
    "flat-layout",
    "environments",
    "validate",
    "new-value",
    "rotate",
    "monitor",
    "audit",
    "back-up",
    "drill",
    "restore",
    "outage",
    "emergency",
    "remove-environment",
    "troubleshooting",
)


def page(name):
    """The text of one page."""
    return (FOLDER / f"{name}.md").read_text()
