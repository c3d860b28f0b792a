"""Ways to break the host of an app, or the app, each with the check that must fail."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import psutil

import lessee
from lessee.host.openbao import free_port
from support.environments.breakages import CRITICAL, WARNING, Table, separate_agent
from support.needs import need
from support.programs.sidecar import Sidecar
from support.servers.fault_proxy import Fault, Proxy

NOTHING = 'path "secret/data/nowhere" { capabilities = ["read"] }'
KEY = '{{ secret("mcp/memory").api_key }}\n'
ROWS = Table()
broken = ROWS.broken


@broken("host", "state-in-memory", CRITICAL)
@contextmanager
def the_state_is_on_a_disk(env):
    state = env.folder / "on-disk"
    state.mkdir(0o700, exist_ok=True)
    with env.with_config(state_dir=str(state), status={"socket": str(env.agent.state / "status.sock")}):
        yield


@broken("host", "state-in-memory", WARNING)
@contextmanager
def the_state_may_be_on_a_disk(env):
    with the_state_is_on_a_disk(env), env.with_config(allow_disk=True):
        yield


@broken("host", "files-in-memory", CRITICAL)
def the_apps_files_are_on_a_disk(env):
    return env.with_app(directory=str(env.dist))


@broken("host", "no-swap", WARNING)
def the_machine_has_swap(env):
    swaps = env.folder / "swaps"
    swaps.write_text("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/swapfile file 2097148 0 -2\n")
    return env.within(f"mount --bind '{swaps}' /proc/swaps")


def with_mode(path, mode):
    @contextmanager
    def run():
        before = path.stat().st_mode
        path.chmod(mode)
        yield
        path.chmod(before)

    return run()


@contextmanager
def suspended(env):
    """The agent meanwhile restores nothing."""
    agent = psutil.Process(env.agent.process.pid)
    processes = [agent, *agent.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


@broken("host", "state-private", CRITICAL)
def all_users_may_list_the_state(env):
    return with_mode(env.agent.state, 0o755)


@broken("host", "state-private", CRITICAL)
def all_users_may_read_a_file_of_the_state(env):
    return with_mode(env.agent.state / "lock", 0o644)


@broken("host", "files-private", CRITICAL, "agent-running")
@contextmanager
def all_users_may_read_an_apps_file(env):
    with suspended(env), with_mode(env.agent.directory / "app.env", 0o444):
        yield


@broken("host", "files-private", WARNING, "agent-running")
@contextmanager
def the_configuration_allows_all_users(env):
    with suspended(env), with_mode(env.agent.directory / "app.env", 0o444), env.with_app(mode="0444"):
        yield


@broken("host", "files-private", CRITICAL)
def an_apps_file_belongs_to_another_user(env):
    return env.with_app(owner="12345:12345")


@broken("host", "files-private", CRITICAL, "agent-running")
@contextmanager
def all_users_may_write_to_an_apps_directory(env):
    with suspended(env), with_mode(env.agent.directory, 0o777):
        yield


@broken("host", "files-private", CRITICAL, "agent-running")
@contextmanager
def all_users_may_write_to_a_subdirectory_of_an_apps_files(env):
    folder = (env.agent.directory / "..data").resolve() / "conf"
    folder.mkdir()
    shutil.copy2(env.agent.directory / "app.env", folder)
    folder.chmod(0o777)
    with suspended(env), env.with_app(files=[{"template": "app.env.j2", "name": "conf/app.env"}]):
        yield
    shutil.rmtree(folder)


@broken("host", "credentials-private", CRITICAL)
def all_users_may_read_the_secret_id(env):
    return with_mode(env.folder / "secret_id", 0o644)


@broken("host", "space-left", WARNING)
@contextmanager
def the_tmpfs_is_nearly_full(env):
    with small(env, "head -c 245000 /dev/zero"):
        yield


@broken("host", "space-left", CRITICAL)
@contextmanager
def the_tmpfs_is_full(env):
    with small(env, "cat /dev/zero"):
        yield


@contextmanager
def small(env, filling):
    """The state directory in a small tmpfs that is filled."""
    state = env.folder / "small"
    state.mkdir(exist_ok=True)
    mounted = f"mount -t tmpfs -o size=256k,mode=700 none '{state}'; {filling} > '{state}/x' 2>/dev/null || true"
    socket = str(env.agent.state / "status.sock")
    with (
        env.within(f"{mounted}; chmod 600 '{state}/x'"),
        env.with_config(state_dir=str(state), status={"socket": socket}),
    ):
        yield


@broken("host", "agent-running", CRITICAL)
def no_agent_runs(env):
    return env.with_config(status={"socket": str(env.folder / "nowhere.sock")})


@broken("host", "agent-version", WARNING)
def another_version_of_the_agent_runs(env):
    return with_changed_code(env, "__init__.py", lessee.__version__, "0.0.1")


@broken("host", "no-core-files", WARNING)
def the_agent_may_leave_a_core_file(env):
    need(resource.getrlimit(resource.RLIMIT_CORE)[1], "needs a hard limit of core files above 0")
    return with_changed_code(env, "process/hardening.py", "(0, 0 if permanent else core[1])", "(core[1], core[1])")


@contextmanager
def with_changed_code(env, name, before, after):
    """An agent runs with changed code."""
    with tempfile.TemporaryDirectory() as disk, tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        code = Path(disk, "code/lessee")
        shutil.copytree(Path(lessee.__file__).parent, code, ignore=shutil.ignore_patterns("__pycache__"))
        file = code / name
        assert before in file.read_text()
        file.write_text(file.read_text().replace(before, after))
        agent = Sidecar(env.bao.address, Path(disk), Path(memory))
        agent.environ["PYTHONPATH"] = str(code.parent)
        agent.template("x.j2", '{{ secret("frontend/app").api_url }}\n')
        try:
            agent.start()
            with env.with_config(status={"socket": str(agent.state / "status.sock")}):
                yield
        finally:
            agent.close()


# An app


@broken("web", "templates-valid", CRITICAL)
def a_template_is_invalid(env):
    return env.with_template("app.env.j2", "{{ secret( }}\n")


@broken("web", "secrets-readable", CRITICAL)
def a_secret_is_missing(env):
    return env.with_template("app.env.j2", 'X={{ secret("nowhere").x }}\n')


@broken("web", "secrets-readable", CRITICAL)
def a_certificate_is_not_granted(env):
    return env.with_template("tls.pem.j2", '{{ certificate("pki/issue/other", common_name="x").private_key }}\n')


@broken("web", "secrets-readable", CRITICAL)
def the_apps_own_login_may_read_nothing(env):
    files = {"role_id_file": env.folder / "other-role", "secret_id_file": env.folder / "other-secret"}
    for file, value in zip(files.values(), env.bao.approle("unused-role", NOTHING), strict=True):
        file.touch(0o600)
        file.write_text(value)
    auth = {"method": "approle"} | {key: str(file) for key, file in files.items()}
    return env.with_app(vault={"auth": auth})


@broken("web", "secrets-readable", CRITICAL)
def the_apps_own_login_is_rejected(env):
    files = {"role_id_file": str(env.folder / "role_id"), "secret_id_file": str(env.folder / "mcp.key")}
    return env.with_app(vault={"auth": {"method": "approle"} | files})


@broken("web", "files-rendered", CRITICAL)
def a_template_reads_a_missing_key(env):
    return env.with_template("app.env.j2", 'X={{ secret("mcp/memory").nowhere }}\n')


@broken("web", "files-rendered", CRITICAL, "newest-published")
@contextmanager
def a_value_is_invalid_in_its_file(env):
    with env.with_secret("database/postgres", host="a\0b"):
        env.agent.until(lambda status: status["apps"]["web"]["error"])
        yield


@broken("web", "newest-published", CRITICAL)
@contextmanager
def the_agent_has_nothing_to_publish(env):
    with separate_agent(env.bao.address, '{{ secret("nowhere").x }}\n', wait=False) as agent:
        agent.until(lambda status: status["problems"])
        with env.with_agent(agent):
            yield


@broken("web", "newest-published", CRITICAL)
@contextmanager
def the_agent_serves_another_app(env):
    with separate_agent(env.bao.address, "x\n") as agent, env.with_agent(agent):
        agent.config["apps"] = {"other": agent.config["apps"]["web"]}
        agent.write_config()
        agent.until(lambda status: "other" in status["apps"])
        yield


@broken("web", "newest-published", WARNING)
@contextmanager
def the_agent_cannot_reach_vault(env):
    with Proxy(env.bao.port) as proxy, separate_agent(proxy.address, KEY) as agent, env.with_agent(agent):
        proxy.fault = Fault.REFUSE
        agent.until(lambda status: not status["fresh"])
        yield


@broken("web", "files-published", CRITICAL)
@contextmanager
def the_agent_is_suspended(env):
    os.kill(env.agent.pid, 19)
    try:
        with env.with_secret("database/postgres", password=env.value()):
            yield
    finally:
        os.kill(env.agent.pid, 18)


@broken("web", "files-published", CRITICAL)
def nothing_is_published(env):
    return env.with_app(directory=str(env.folder / "nowhere"))


@broken("web", "app-ready", CRITICAL)
def no_server_listens(env):
    return env.with_app(ready={"tcp": f"127.0.0.1:{free_port()}", "timeout": "1s"})


@broken("web", "notify-target", CRITICAL)
def the_app_does_not_run(env):
    return env.with_app(notify={"process": {"name": "nowhere"}})


@broken("web", "notify-target", CRITICAL)
@contextmanager
def several_processes_match(env):
    processes = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "twins"]) for _ in range(2)]
    with env.with_app(notify={"process": {"cmdline": "twins$"}}):
        yield
    for process in processes:
        process.kill()
        process.wait()


@broken("web", "notify-target", CRITICAL)
def its_command_is_missing(env):
    return env.with_app(notify={"command": ["/nowhere/reload"]})


@broken("web", "notify-target", CRITICAL)
def its_url_is_not_served(env):
    return env.with_app(notify={"http": f"http://127.0.0.1:{free_port()}/reload"})
