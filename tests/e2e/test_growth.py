"""The agent's memory does not grow with what it has published."""

import re
from pathlib import Path

import pytest

from support.programs.sidecar import eventually

APPS = 50
FEW, WARM_UP, PUBLICATIONS = 500, 4000, 5000
"""The first few thousand fill what is reused later, such as CPython's lists of free tuples."""
MOST, MOST_IN_ALL = 1024, 1024
"""KiB since the warm-up, and since the first few."""
VALUE = 1600
"""Characters, as a certificate has."""


@pytest.mark.thorough
def test_five_thousand_publications_take_less_than_a_mebibyte_after_a_warm_up(sidecar, bao, folder):
    sidecar.environ["LESSEE_ENVIRONMENT"] = folder
    bao.put(f"{folder}/db", password="0" * VALUE)
    (sidecar.disk / "app.env.j2").write_text('PASSWORD={{ secret("db").password }}\n')
    web = sidecar.config["apps"].pop("web")
    for number in range(APPS):
        app = {"directory": str(sidecar.memory / f"app{number}"), "files": [{"template": "app.env.j2"}]}
        sidecar.config["apps"][f"app{number}"] = {**web, **app}
    sidecar.start()

    def publish(start, end):
        for number in range(start, end, APPS):
            bao.put(f"{folder}/db", password=f"{number:08}" * (VALUE // 8))
            wanted = f"{number:08}".encode()
            files = [sidecar.memory / f"app{app}/app.env" for app in range(APPS)]
            eventually(lambda files=files, wanted=wanted: all(wanted in file.read_bytes() for file in files), "files")

    publish(0, FEW)
    first = memory(sidecar.pid)
    publish(FEW, WARM_UP)
    before = memory(sidecar.pid)
    publish(WARM_UP, WARM_UP + PUBLICATIONS)
    after = memory(sidecar.pid)
    assert after - before < MOST
    assert after - first < MOST_IN_ALL


def memory(pid):
    """KiB that are the process's own."""
    return int(re.search(r"Private_Dirty: +(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text())[1])
