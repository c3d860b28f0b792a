"""The generated pages by their names."""

from support.paths import ROOT
from support.reference.checks import checks_page, formats_page
from support.reference.commands import commands_page, exit_codes_page
from support.reference.configuration import keys_page
from support.reference.observation import alerts_page, log_page, metrics_page
from support.reference.status import status_page

FOLDER = ROOT / "docs/reference"
PAGES = {
    "all-keys": keys_page,
    "commands": commands_page,
    "exit-codes": exit_codes_page,
    "formats": formats_page,
    "checks": checks_page,
    "status": status_page,
    "log-events": log_page,
    "metrics": metrics_page,
    "alerts": alerts_page,
}
