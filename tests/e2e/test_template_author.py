"""A template's author gets the values that the template may read, and no credential of the agent itself."""

import os
import subprocess
import sys

import pytest
import yaml

from lessee.host.openbao import ROOT_TOKEN
from support.programs.sidecar import eventually

CANARY = "CANARY-t0k3n-of-the-agent"
SPELLINGS = [
    "auth/token/lookup-self",
    "AUTH/token/lookup-self",
    "auth/token/lookup-self/",
    "/auth/token/lookup-self",
    "auth//token/lookup-self",
    "./auth/token/lookup-self",
    "database/../auth/token/lookup-self",
    "database/%2e%2e/auth/token/lookup-self",
    "auth%2ftoken/lookup-self",
    "%61uth/token/lookup-self",
    "%2561uth/token/lookup-self",
    "auth\\\\token/lookup-self",
    "\\uff41uth/token/lookup-self",
    "team/auth/token/lookup-self",
    "team/sub/auth/token/lookup-self",
    "sys/internal/ui/mounts",
    "sys/wrapping/lookup",
    "team/sys/leases/lookup",
    "cubbyhole/response",
    "team/cubbyhole/response",
]


@pytest.fixture
def agent(bao, sidecar, folder, memory):
    bao.put(f"testing/{folder}/db", x="1")
    sidecar.template("good.j2", f'{{{{ secret("{folder}/db").x }}}}\n')
    sidecar.config["apps"]["author"] = {"directory": str(memory / "author"), "files": [{"template": "author.j2"}]}
    return sidecar


def write(agent, text):
    (agent.disk / "author.j2").write_text(text)
    agent.write_config()


def published(agent):
    """The content of the file of the author's app."""
    file = agent.memory / "author/author"
    return file.read_bytes() if file.exists() else None


@pytest.mark.parametrize("function", ["dynamic", "certificate", "vault"])
def test_check_refuses_every_path_that_returns_credentials_of_the_agent(agent, function):
    keyword = {"dynamic": "", "certificate": ', common_name="a"', "vault": ', every="5m"'}[function]
    write(agent, "\n".join(f'{{{{ {function}("{path}"{keyword}).id }}}}' for path in SPELLINGS))
    done = agent.command("check")
    assert done.returncode == 65
    for line in range(1, len(SPELLINGS) + 1):
        assert f"author.j2:{line}: " in done.stderr, SPELLINGS[line - 1]


@pytest.mark.parametrize("path", SPELLINGS[:2] + SPELLINGS[7:9])
def test_no_file_gets_the_agents_token_from_vault(agent, path):
    write(agent, f'{{{{ dynamic("{path}").id }}}}\n')
    done = agent.command("render", "--output", "out")
    assert done.returncode == 65
    assert "author.j2:1: " in done.stderr
    assert ROOT_TOKEN not in done.stdout + done.stderr
    assert not any(ROOT_TOKEN in file.read_text() for file in (agent.disk / "out").rglob("*") if file.is_file())


def test_a_running_agent_refuses_its_own_token_and_serves_the_other_app(agent, bao, folder):
    write(agent, "fine\n")
    agent.start()
    write(agent, '{{ dynamic("auth/token/lookup-self").id }}\n')
    agent.until(lambda status: any("author.j2:1: " in problem for problem in status["problems"]))
    bao.put(f"testing/{folder}/db", x="2")
    agent.until_file("good", "2\n")
    assert published(agent) == b"fine\n"


@pytest.mark.parametrize(
    "name",
    ["VAULT_TOKEN", "BAO_TOKEN", "OPENBAO_TOKEN", "VAULT_ADDR", "LESSEE_TOKEN", "CREDENTIALS_DIRECTORY", "MY_COPY"],
)
def test_no_file_gets_a_variable_with_a_credential_of_the_agent(agent, name):
    agent.environ |= {name: CANARY} if name not in {"VAULT_ADDR", "VAULT_TOKEN", "MY_COPY"} else {}
    agent.environ |= {"MY_COPY": f"token={ROOT_TOKEN}", "HOSTNAME": "web-1"}
    write(agent, f'{{{{ env("HOSTNAME") }}}}\n{{{{ env("{name}", "") }}}}\n')
    done = agent.command("render", "--output", "out")
    assert done.returncode == 65
    assert "author.j2:2: " in done.stderr
    assert CANARY not in done.stdout + done.stderr
    assert not any(CANARY in file.read_text() for file in (agent.disk / "out").rglob("*") if file.is_file())
    if name != "MY_COPY":
        assert f"author.j2:2: templates cannot read the variable '{name}'" in agent.command("check").stderr


@pytest.mark.parametrize(
    "name", ["RPW", "HOOKPW", "READYPW", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_HEADERS"]
)
def test_no_file_gets_a_password_of_a_url_of_the_agent(agent, name):
    agent.config["events"] = {"redis": "redis://agent:${RPW}@127.0.0.1:9/0"}
    agent.config["apps"]["author"] |= {
        "notify": {"http": "http://hook:${HOOKPW}@127.0.0.1:9/"},
        "ready": {"http": "http://probe:${READYPW}@127.0.0.1:9/"},
    }
    agent.environ |= {variable: f"{CANARY}-{variable}" for variable in ("RPW", "HOOKPW", "READYPW")}
    agent.environ |= {
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"http://u:{CANARY}@127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_METRICS_HEADERS": f"api-key={CANARY}",
        "HOSTNAME": "web-1",
    }
    write(agent, f'{{{{ env("HOSTNAME") }}}}\n{{{{ env("{name}") }}}}\n')
    done = agent.command("render", "--output", "out")
    assert done.returncode == 65
    assert f"author.j2:2: templates cannot read the variable '{name}'" in done.stderr
    assert CANARY not in done.stdout + done.stderr
    assert not any(CANARY in file.read_text() for file in (agent.disk / "out").rglob("*") if file.is_file())


@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY", "MY_COPY"])
def test_no_file_gets_the_agents_login_at_a_proxy(agent, name):
    # The server is reached without it.
    agent.environ |= {"HTTPS_PROXY": f"http://web:{CANARY}@127.0.0.1:9", "NO_PROXY": "*", "no_proxy": "*"}
    agent.environ |= {name: f"http://web:{CANARY}@127.0.0.1:9", "FTP_PROXY": "http://127.0.0.1:9"}
    write(agent, f'{{{{ env("FTP_PROXY") }}}}\n{{{{ env("{name}") }}}}\n')
    done = agent.command("render", "--output", "out")
    assert done.returncode == 65
    assert f"author.j2:2: templates cannot read the variable '{name}', which contains a credential" in done.stderr
    assert CANARY not in done.stdout + done.stderr
    assert not any(CANARY in file.read_text() for file in (agent.disk / "out").rglob("*") if file.is_file())
    agent.environ |= {name: "http://127.0.0.1:9"}
    assert agent.command("render", "--output", "out").returncode == 0
    assert (agent.disk / "out/author/author").read_text() == "http://127.0.0.1:9\n" * 2


def test_no_child_gets_the_token_by_interpolation_in_its_environment(agent):
    agent.config["apps"] = {
        "author": {"directory": str(agent.memory / "author"), "env_template": "author.j2"},
    }
    write(agent, 'COPY="${VAULT_TOKEN}"\n')
    done = agent.command("exec", "--app", "author", "--", "printenv", "COPY")
    assert ROOT_TOKEN not in done.stdout
    assert "VAULT_TOKEN" in done.stderr


def test_the_variables_that_templates_may_read_can_be_listed(agent):
    agent.environ |= {"HOSTNAME": "web-1", "OTHER": CANARY}
    agent.config["template_env"] = ["HOSTNAME"]
    write(agent, '{{ env("HOSTNAME") }}\n{{ env("OTHER", "") }}\n')
    done = agent.command("check")
    assert done.returncode == 65
    assert "author.j2:2: templates cannot read the variable 'OTHER'" in done.stderr
    assert "author.j2:1: " not in done.stderr
    agent.config["template_env"].append("VAULT_TOKEN")
    write(agent, "fine")
    assert "template_env[1]: " in agent.command("check").stderr


def outside(tmp_path_factory):
    secret = tmp_path_factory.mktemp("outside") / "secret"
    secret.write_text(f"{CANARY}\n")
    return secret


@pytest.mark.parametrize("kind", ["absolute", "relative", "folder", "magic", "include"])
def test_a_link_out_of_the_templates_folder_is_not_followed(agent, kind, tmp_path_factory):
    secret = outside(tmp_path_factory)
    link, text = agent.disk / "author.j2", None
    match kind:
        case "absolute":
            link.symlink_to(secret)
        case "relative":
            link.symlink_to(os.path.relpath(secret, agent.disk))
        case "folder":
            (agent.disk / "sub").symlink_to(secret.parent)
            agent.config["apps"]["author"]["files"] = [{"template": "sub/secret"}]
        case "magic":
            link.symlink_to("/proc/self/environ")
        case "include":
            (agent.disk / "part.j2").symlink_to(secret)
            text = '{% include "part.j2" %}'
    if text:
        link.write_text(text)
    agent.write_config()
    for command in (["check"], ["render", "--output", "out"]):
        done = agent.command(*command)
        assert done.returncode == 65
        assert "leads out of the template directory" in done.stderr
        assert CANARY not in done.stdout + done.stderr
    agent.config["apps"]["author"]["files"] = [{"template": "author.j2"}]


@pytest.mark.parametrize("kind", ["include", "link", "hard link"])
def test_no_template_reads_a_credential_that_is_in_the_same_folder(agent, kind):
    """Without template_dir, the folder is that of lessee.yaml, where operators store a token_file too."""
    token = agent.disk / "token"
    token.write_text(ROOT_TOKEN)
    agent.config["vault"]["auth"] = {"method": "token", "token_file": str(token)}
    match kind:
        case "include":
            write(agent, '{% include "token" %}')
        case "link":
            (agent.disk / "author.j2").symlink_to("token")
        case "hard link":
            (agent.disk / "author.j2").hardlink_to(token)
    agent.write_config()
    for command in (["check"], ["render", "--output", "out"]):
        done = agent.command(*command)
        assert done.returncode == 65
        assert "the template is a file with a credential of the agent" in done.stderr
        assert ROOT_TOKEN not in done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["include", "import", "template", "link", "hard link"])
def test_no_template_reads_the_configuration_with_the_passwords_in_its_urls(agent, kind):
    agent.config["events"] = {"redis": f"redis://agent:{CANARY}@127.0.0.1:9/0"}
    match kind:
        case "include":
            write(agent, '{% include "lessee.yaml" %}')
        case "import":
            write(agent, '{% import "lessee.yaml" as own %}{{ own }}')
        case "template":
            agent.config["apps"]["author"]["files"] = [{"template": "lessee.yaml", "name": "author"}]
        case "link":
            (agent.disk / "author.j2").symlink_to("lessee.yaml")
        case "hard link":
            agent.write_config()
            (agent.disk / "author.j2").hardlink_to(agent.disk / "lessee.yaml")
    agent.write_config()
    for command in (["check"], ["render", "--output", "out"]):
        done = agent.command(*command)
        assert done.returncode == 65
        assert "the template is a file with a credential of the agent, or its configuration" in done.stderr
        assert CANARY not in done.stdout + done.stderr
    assert not any(CANARY in file.read_text() for file in (agent.disk / "out").rglob("*") if file.is_file())


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["fifo", "device", "socket", "folder", "huge"])
def test_a_file_that_is_no_template_stalls_no_app(agent, bao, folder, kind):
    write(agent, "fine\n")
    agent.start()
    path = agent.disk / "author.j2"
    path.unlink()
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "device":
            os.mknod(path, 0o20666, os.makedev(1, 5))  # /dev/zero
        case "socket":
            os.mknod(path, 0o140666)
        case "folder":
            path.mkdir()
        case "huge":
            path.touch()
            os.truncate(path, 1 << 40)
    agent.write_config()
    agent.until(lambda status: any("author.j2: the template " in problem for problem in status["problems"]))
    bao.put(f"testing/{folder}/db", x="2")
    agent.until_file("good", "2\n")
    assert published(agent) == b"fine\n"
    # The next edit is a template again.
    path.rmdir() if kind == "folder" else path.unlink()
    path.write_text("corrected\n")
    eventually(lambda: published(agent) == b"corrected\n", "the corrected file")


def test_the_links_of_a_config_map_go_on_working(agent):
    """Kubernetes replaces `..data`, a link to the folder of the current version, in one step."""
    folder = agent.disk / "map"
    (folder / "..2026_1").mkdir(parents=True)
    (folder / "..2026_1/author.j2").write_text("first\n")
    (folder / "..data").symlink_to("..2026_1")
    (folder / "author.j2").symlink_to("..data/author.j2")
    agent.config["template_dir"] = "map"
    (folder / "good.j2").write_text((agent.disk / "good.j2").read_text())
    agent.start()
    eventually(lambda: published(agent) == b"first\n", "the file")
    (folder / "..2026_2").mkdir()
    (folder / "..2026_2/author.j2").write_text("second\n")
    (folder / "..new").symlink_to("..2026_2")
    (folder / "..new").rename(folder / "..data")
    eventually(lambda: published(agent) == b"second\n", "the new version")


def test_templates_are_opened_beneath_the_folder_without_openat2_too(agent, tmp_path_factory):
    """An old kernel, and a seccomp filter of a container engine that does not know the call, refuse it."""
    secret = outside(tmp_path_factory)
    (agent.disk / "sub").mkdir()
    (agent.disk / "sub/real.j2").write_text("fine\n")
    (agent.disk / "author.j2").symlink_to("sub/link.j2")
    (agent.disk / "sub/link.j2").symlink_to("../sub/real.j2")
    (agent.disk / "out.j2").symlink_to(secret)
    agent.write_config()
    code = """
import sys
from lessee.host import template_files
template_files.has_openat2 = lambda: False
from lessee.cli import main
sys.exit(main())
"""

    def lessee(*arguments):
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=agent.disk,
            env=agent.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )

    assert lessee("render", "--output", "out").returncode == 0
    assert (agent.disk / "out/author/author").read_text() == "fine\n"
    agent.config["apps"]["author"]["files"] = [{"template": "out.j2", "name": "author"}]
    agent.write_config()
    done = lessee("check")
    assert done.returncode == 65
    assert "leads out of the template directory" in done.stderr
    assert yaml.safe_load((agent.disk / "lessee.yaml").read_text())
