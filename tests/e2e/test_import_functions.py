"""consul-template's functions in imported templates: lessee renders the same bytes as a real agent of OpenBao."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lessee.host.openbao import find_bao
from support.programs.sidecar import eventually

DATA = json.loads((Path(__file__).parents[1] / "ops/migrate/policy/consul_template_functions.json").read_text())
CASES = DATA["cases"]
RENDERED = [case for case in CASES if case["expected"] is not None]
FAILING = [case for case in CASES if case["expected"] is None and case["verdict"] == "same"]
CREDENTIALS = ("role_id_file", "secret_id_file")
POLICY = """
path "secret/*"  { capabilities = ["create", "read", "update", "list"] }
path "pki/*"     { capabilities = ["update"] }
path "transit/*" { capabilities = ["update"] }
"""
LOGIN = """
vault {{ address = "{address}" }}
auto_auth {{
  method "approle" {{
    config = {{
      role_id_file_path = "role_id"
      secret_id_file_path = "secret_id"
      remove_secret_id_file_after_reading = false
    }}
  }}
}}
exit_after_auth = true
template_config {{ exit_on_retry_failure = true }}
"""


@pytest.fixture(scope="module")
def server(bao):
    for path, versions in DATA["secrets"].items():
        for fields in versions:
            bao.put(path, **fields)
    for kind in ("pki", "transit"):
        bao.ask("POST", f"sys/mounts/{kind}", {"type": kind})
    bao.ask("POST", "pki/root/generate/internal", {"common_name": "test CA", "ttl": "240h"})
    bao.ask("POST", "pki/roles/shop", {"allow_any_name": True, "ttl": "1h"})
    yield bao
    for kind in ("pki", "transit"):
        bao.ask("DELETE", f"sys/mounts/{kind}")


class Work:
    """A folder with an agent's configuration for some cases."""

    def __init__(self, server, folder, memory, cases):
        self.folder, self.out = folder, memory / "out"
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", **DATA["environ"]}
        for file, value in zip(("role_id", "secret_id"), server.approle("functions", POLICY), strict=True):
            (folder / file).write_text(value)
        text = LOGIN.format(address=server.address)
        for at, case in enumerate(cases):
            (folder / f"{at}.ctmpl").write_text(case["template"])
            keys = [f'source = "{folder}/{at}.ctmpl"', f'destination = "{self.out}/{at}.txt"']
            keys += [f"error_on_missing_key = {str(case.get('strict', False)).lower()}"]
            keys += [f'function_denylist = ["{case["denied"]}"]'] if "denied" in case else []
            text += "template {\n  " + "\n  ".join(keys) + "\n}\n"
        (folder / "agent.hcl").write_text(text)
        self.log = folder / "agent.log"

    def start_agent(self):
        command = [find_bao(), "agent", "-config=agent.hcl", "-log-level=trace"]
        with self.log.open("wb") as log:
            return subprocess.Popen(command, cwd=self.folder, env=self.environ, stdout=log, stderr=log)

    def lessee(self, *arguments):
        command = [sys.executable, "-m", "lessee", *map(str, arguments)]
        return subprocess.run(
            command, cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=120, check=False
        )


def texts(files):
    return {int(file.stem): without_certificates(file.read_bytes().decode()) for file in files}


def without_certificates(text):
    return re.sub("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", "PEM", text, flags=re.DOTALL)


@pytest.mark.thorough
def test_the_agent_renders_what_the_cases_say_and_lessee_the_same(server, tmp_path, memory):
    work = Work(server, tmp_path, memory, RENDERED)
    agent = work.start_agent()
    assert agent.wait(timeout=30) == 0, work.log.read_text()
    expected = {at: case["expected"] for at, case in enumerate(RENDERED)}
    assert texts(work.out.iterdir()) == expected
    same = [case for case in RENDERED if case["verdict"] == "same"]
    (tmp_path / "same").mkdir()
    work = Work(server, tmp_path / "same", memory, same)
    imported = work.lessee("import", "agent.hcl", "--output", "imported")
    assert imported.returncode == 0, imported.stderr
    config = yaml.safe_load((work.folder / "imported/lessee.yaml").read_text())
    config["vault"]["auth"] |= {key: str(work.folder / config["vault"]["auth"][key]) for key in CREDENTIALS}
    (work.folder / "imported/lessee.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    for command in (("check",), ("render", "--output", "rendered")):
        done = work.lessee(*command, "--config", "imported/lessee.yaml")
        assert done.returncode == 0, done.stderr
    assert texts((work.folder / "rendered").glob("*/*")) == {at: case["expected"] for at, case in enumerate(same)}


@pytest.mark.thorough(each=2)
@pytest.mark.parametrize("case", FAILING, ids=[case["case"] for case in FAILING])
def test_where_lessee_renders_no_file_the_agent_renders_none(server, tmp_path, memory, case):
    work = Work(server, tmp_path, memory, [case])
    agent = work.start_agent()
    try:
        # The agent asks for a missing secret again and again, and ends at the error of a function.
        eventually(
            lambda: agent.poll() is not None or "no secret exists" in work.log.read_text(),
            "a retry, or the agent's end",
        )
        assert agent.poll() != 0
        assert not (work.out / "0.txt").exists()
    finally:
        agent.kill()
        agent.wait()
