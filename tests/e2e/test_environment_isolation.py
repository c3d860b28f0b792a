"""An agent of one environment cannot read another's paths: its policy refuses, and so does the agent before asking."""

import itertools
import json
import re
import shutil
import tempfile
from pathlib import Path

import pytest

from lessee.host.openbao import OpenBao
from support.environments.reach import PAIRS, ROLES, Wire, canary, is_allowed, neighbors, plain, prepare, tricks, write
from support.environments.setup_namespace import AUDIT, ENVIRONMENTS, SetupNamespace
from support.programs.sidecar import Sidecar, eventually
from support.servers.fault_proxy import Proxy

FORKED_AGENTS = True
MEMORY = "/dev/shm"


@pytest.fixture(scope="module")
def environments(tmp_path_factory):
    """Made by `lessee setup`, on a server of their own with an audit log."""
    folder = tmp_path_factory.mktemp("apart")
    memory = Path(tempfile.mkdtemp(prefix="lessee-test-", dir=MEMORY))
    with OpenBao(folder, config=AUDIT % (folder / "audit.log")) as bao:
        (folder / "ground").mkdir()
        yield prepare(SetupNamespace(bao, "apart", folder / "ground", folder / "audit.log"), memory)
    shutil.rmtree(memory)


@pytest.fixture(scope="module")
def tokens(environments):
    """A real one of each role in each environment."""
    return {(name, role): environments.log_in(f"{name}-{role}") for name in ENVIRONMENTS for role in ROLES}


@pytest.mark.thorough(each=2)
@pytest.mark.parametrize(("own", "other"), PAIRS)
def test_a_token_of_one_environment_reads_nothing_of_another(environments, tokens, own, other):
    before = environments.dump(*ENVIRONMENTS)
    with Wire(environments) as wire:
        for role in ROLES:
            token = tokens[own, role]
            named = [(one, wire.send(token, one)) for one in (*plain(other), *neighbors(other))]
            hidden = [(one, wire.send(token, one)) for one in tricks(own, other)]
            assert [one for one, answer in (*named, *hidden) if is_allowed(answer, other)] == [], role
            assert [(one, answer) for one, answer in named if answer.status != 403] == [], role
            assert len(named + hidden) > 100
    assert environments.dump(*ENVIRONMENTS) == before


READS = {"data", "metadata", "data of a version"}
LISTS = {"list", "list by GET", "list with versions"}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_same_requests_are_allowed_within_an_environment(environments, tokens, environment):
    everything = {one.form for one in plain(environment)}
    allowed = {
        "app": READS | LISTS,
        "database-admin": everything,
        "security": everything,
        "ci": READS,
        "web": {"data", "data of a version", "metadata"},
    }
    with Wire(environments) as wire:
        for role in ROLES:
            answers = {one.form: wire.send(tokens[environment, role], one) for one in plain(environment)}
            write(environments, environment)
            assert {form for form, answer in answers.items() if answer.status in {200, 204}} == allowed[role], role
            # The hunt for the canary finds it where it is.
            assert canary(environment) in answers["data"].text


class Agent:
    """A real one of one environment, with its own role, before a proxy that sees every request."""

    def __init__(self, ground, own, disk, memory, proxy):
        self.ground, self.proxy = ground, proxy
        self.sidecar = sidecar = Sidecar(ground.bao.address, disk, memory, environment=own)
        place = ground.disk / "out" / own / f"{own}-web"
        auth = {"method": "approle", **{f"{key}_file": str(place / key) for key in ("role_id", "secret_id")}}
        sidecar.config["vault"] = {"address": proxy.address, "namespace": ground.name, "auth": auth}
        sidecar.config["setup"] = {"environments": ENVIRONMENTS}
        sidecar.environ.pop("VAULT_TOKEN")

    def asked(self):
        """The requests that the server has logged until now, and the connections to the proxy."""
        return self.ground.requests(), self.proxy.connections


@pytest.fixture
def agent(environments, tmp_path, memory):
    """Makes the agent of an environment."""
    with Proxy(environments.bao.port) as proxy:
        made = []

        def make(own):
            made.append(Agent(environments, own, tmp_path, memory, proxy))
            return made[-1]

        yield make
        for one in made:
            one.sidecar.close()


TEMPLATES = {
    "secret": '{{ secret("OTHER/database/postgres").password }}',
    "version": '{{ secret("OTHER/database/postgres", version=1).password }}',
    "folder": '{{ secrets("OTHER/database/") | join }}',
    "whole environment": '{{ secrets("OTHER/") | join }}',
    "dynamic": '{{ dynamic("OTHER/database/creds/simba").username }}',
    "dynamic by POST": '{{ dynamic("OTHER/pki/issue/web", common_name="a.simba.local").certificate }}',
    "certificate": '{{ certificate("OTHER/pki/issue/web", common_name="a.simba.local").certificate }}',
    "local key": '{{ certificate("OTHER/pki/issue/web", common_name="a.simba.local", key="local").certificate }}',
    "dynamic in the KV mount": '{{ dynamic("secret/data/OTHER/database/postgres").data }}',
    "any path": '{{ vault("kv2/data/OTHER/a", every="5m").data }}',
    "any encoded path": '{{ vault("kv2/data/OWN%2f..%2fOTHER/a", every="5m").data }}',
    "any path in the KV mount": '{{ vault("secret/data/OTHER/database/postgres", every="5m").data }}',
    "a parameter of any path": '{{ vault("a/b", c=secret("OTHER/database/postgres").password, every="5m").d }}',
    "..": '{{ secret("../OTHER/database/postgres").password }}',
    ".. below": '{{ secret("database/../../OTHER/database/postgres").password }}',
    ".. of what is shared": '{{ secret("shared/../OTHER/database/postgres").password }}',
    ".. of dynamic": '{{ dynamic("OWN/../OTHER/pki/issue/web", common_name="a.simba.local").certificate }}',
    "//": '{{ secret("/OTHER/database/postgres").password }}',
    "never reached": '{% if false %}{{ secret("OTHER/database/postgres").password }}{% endif %}',
    "import": '{% from "part.j2" import password %}{{ password() }}',
    "include": '{% include "part.j2" %}',
    "extends": '{% extends "part.j2" %}',
}
PART = '{% macro password() %}{{ secret("OTHER/database/postgres").password }}{% endmacro %}{{ password() }}'
SETTINGS = {"prefix": "OTHER/", "shared_prefixes": ["OTHER/", "OTHER/database/"], "mount": "OTHER/secrets"}
REFUSAL = re.compile(
    r"name of another environment|is not a path: an element is empty, a dot|is in 'secret', the mount of"
    r"|may be taken for another path"
)


def put(text, own, other):
    return text.replace("OTHER", other).replace("OWN", own)


@pytest.mark.parametrize("command", ["render", "run", "exec"])
@pytest.mark.parametrize("own", ENVIRONMENTS)
def test_the_agent_rejects_templates_that_read_another_environment(agent, own, command):
    one = agent(own)
    sidecar, before = one.sidecar, one.asked()
    named, others = {}, [name for name in ENVIRONMENTS if name != own]
    for number, (other, (form, text)) in enumerate(itertools.product(others, TEMPLATES.items())):
        name, part = f"web{number}.txt.j2", f"part{number}.j2"
        named[other, form] = part if "part.j2" in text else name
        (sidecar.disk / part).write_text(put(PART, own, other))
        sidecar.template(name, put(text.replace("part.j2", part), own, other))
    sidecar.write_config()
    said = sidecar.command(command, *(["--app", "web", "--", "true"] if command == "exec" else []))
    assert (said.returncode, said.stdout) == (65, "")
    errors = {
        form: [line for line in said.stderr.splitlines() if f"{name}:1: " in line] for form, name in named.items()
    }
    assert {form: len(lines) for form, lines in errors.items()} == dict.fromkeys(named, 1)
    assert [line for (line,) in errors.values() if not REFUSAL.search(line)] == []
    assert not sidecar.directory.exists()
    assert one.asked() == before


@pytest.mark.parametrize(("own", "other"), PAIRS)
def test_the_agent_rejects_settings_that_reach_another_environment(agent, own, other):
    one = agent(own)
    sidecar, before = one.sidecar, one.asked()
    sidecar.template("web.txt.j2", '{{ secret("database/postgres").password }}')
    # Each command in each environment, with one of the two others.
    commands = ("render", "run") if PAIRS.index((own, other)) % 2 else ("run", "render")
    for command, settings in zip(commands, (SETTINGS, {"prefix": "OTHER/{environment}/"}), strict=True):
        sidecar.config["secrets"] = json.loads(put(json.dumps(settings), own, other))
        sidecar.write_config()
        said = sidecar.command(command)
        assert (said.returncode, said.stdout) == (78, "")
        found = re.findall(r"secrets\.(\S+): it begins with the name of another environment", said.stderr)
        assert sorted(found) == (
            ["mount", "prefix", "shared_prefixes[0]", "shared_prefixes[1]"] if settings is SETTINGS else ["prefix"]
        )
    assert one.asked() == before


@pytest.mark.parametrize("own", ENVIRONMENTS)
def test_the_agent_rejects_an_env_template_that_reads_another_environment(agent, own):
    one = agent(own)
    sidecar, before = one.sidecar, one.asked()
    sidecar.template("web.txt.j2", '{{ secret("database/postgres").password }}')
    others = [name for name in ENVIRONMENTS if name != own]
    lines = (
        put(f'P{number}={{{{ secret("OTHER/database/postgres").password }}}}\n', own, other)
        for number, other in enumerate(others)
    )
    (sidecar.disk / "environ.j2").write_text("".join(lines))
    sidecar.web["env_template"] = "environ.j2"
    sidecar.write_config()
    said = sidecar.command("exec", "--app", "web", "--", "true")
    assert (said.returncode, said.stdout) == (65, "")
    for number in (1, 2):
        assert re.search(rf"environ\.j2:{number}: .* starts with the name of another environment", said.stderr)
    assert one.asked() == before


def test_the_agent_reads_what_it_may_read(agent):
    one = agent("testing")
    before = one.asked()
    one.sidecar.template("web.txt.j2", '{{ secret("database/postgres").password }}')
    one.sidecar.write_config()
    said = one.sidecar.command("render")
    assert said.returncode == 0, said.stderr
    assert one.sidecar.directory.joinpath("web.txt").read_text() == canary("testing")
    requests, connections = one.asked()
    assert requests > before[0]
    assert connections > before[1]


@pytest.mark.parametrize(("own", "other"), PAIRS)
def test_an_agent_that_claims_another_environment_is_denied_by_its_policy(agent, own, other):
    one = agent(own)
    one.sidecar.environ["LESSEE_ENVIRONMENT"] = other
    one.sidecar.template("web.txt.j2", '{{ secret("database/postgres").password }}')
    one.sidecar.write_config()
    said = one.sidecar.command("render")
    assert said.returncode == 77
    assert "permission denied (403)" in said.stderr
    assert not one.sidecar.directory.joinpath("web.txt").exists()


def test_the_same_template_in_three_environments_reads_three_prefixes(environments, agent, tmp_path):
    texts = {}
    for own in ENVIRONMENTS:
        one = agent(own)
        seen = len(environments.requested_paths())
        shutil.copy(environments.disk / "web.env.j2", tmp_path)
        one.sidecar.config["secrets"] = environments.config["secrets"]
        one.sidecar.web["files"] = [{"template": "web.env.j2"}]
        one.sidecar.write_config()
        said = one.sidecar.command("render", "--output", own)
        assert said.returncode == 0, said.stderr
        texts[own] = (tmp_path / own / "web" / "web.env").read_text()
        assert f"PASSWORD={canary(own)}\n" in texts[own].replace("'", "").replace('"', "")
        paths = environments.requested_paths()[seen:]
        first = {re.sub(r"^secret/(?:data|metadata|detailed-metadata)/", "", path).split("/")[0] for path in paths}
        assert first - {"auth", "sys"} == {own, "shared"}
    assert len(set(texts.values())) == 3


def test_a_running_agent_rejects_an_edit_that_reads_another_environment(environments, agent):
    one = agent("development")
    sidecar = one.sidecar
    sidecar.template("web.txt.j2", '{{ secret("database/postgres").password }}')
    sidecar.start()
    sidecar.until_file("web.txt", canary("development"))
    seen = len(environments.requested_paths())
    (sidecar.disk / "web.txt.j2").write_text('{{ secret("production/database/postgres").password }}')
    eventually(lambda: "name of another environment" in sidecar.log.read_text(), "the refusal")
    assert (sidecar.directory / "web.txt").read_text() == canary("development")
    assert [path for path in environments.requested_paths()[seen:] if "production" in path] == []
    assert sidecar.stop() == 0
