"""All findings in Compose files have texts that were reviewed."""

from pathlib import Path

import pytest

from support.error_texts import compare, has_many_examples
from support.inputs.compose_files import ALL

FINDINGS = Path(__file__).with_name("findings.txt")


@pytest.fixture(autouse=True)
def finding_texts(request):
    ALL.clear()
    yield
    if not has_many_examples(request):
        compare(FINDINGS, [(item.rule, item.level, item.message, item.help) for item in ALL])
