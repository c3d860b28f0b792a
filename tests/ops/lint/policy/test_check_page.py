"""docs/reference/check.md lists each finding and its fix as the code has them."""

import re

from lessee.ops.lint.policy.findings import FIXES, RULES
from support.paths import ROOT


def test_the_page_has_all_findings_with_their_fixes():
    rows = re.findall(r"(?m)^\| `([a-z-]+)` \| (.*) \| (.*?) ?\|$", (ROOT / "docs/reference/check.md").read_text())
    assert rows == [(name, meaning, FIXES.get(name, "")) for name, meaning in RULES.items()]
    assert FIXES.keys() <= RULES.keys()
