"""How a host and an app on it are broken, and which check must fail then."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import lessee
from lessee.host.openbao import free_port
from support.environments.breakages import CRITICAL, WARNING, Table
from support.needs import need
from support.programs.sidecar import Sidecar

NOTHING = 'path "secret/data/nowhere" { capabilities = ["read"] }'
ROWS = Table()
broken = ROWS.broken


@broken("host", "state-in-memory", CRITICAL)
@contextmanager
def the_state_lies_on_a_disk(it):
    state = it.folder / "on-disk"
    state.mkdir(0o700, exist_ok=True)
    with it.with_config(state_dir=str(state), status={"socket": str(it.agent.state / "status.sock")}):
        yield


@broken("host", "state-in-memory", WARNING)
@contextmanager
def the_state_may_lie_on_a_disk(it):
    with the_state_lies_on_a_disk(it), it.with_config(allow_disk=True):
        yield


@broken("host", "files-in-memory", CRITICAL)
def the_apps_files_lie_on_a_disk(it):
    return it.with_app(directory=str(it.dist))


@broken("host", "no-swap", WARNING)
def there_is_swap(it):
    swaps = it.folder / "swaps"
    swaps.write_text("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/swapfile file 2097148 0 -2\n")
    return it.within(f"mount --bind '{swaps}' /proc/swaps")


def opened(path, mode):
    @contextmanager
    def run():
        before = path.stat().st_mode
        path.chmod(mode)
        yield
        path.chmod(before)

    return run()


@broken("host", "state-private", CRITICAL)
def everybody_may_look_into_the_state(it):
    return opened(it.agent.state, 0o755)


@broken("host", "state-private", CRITICAL)
def everybody_may_read_a_file_of_the_state(it):
    return opened(it.agent.state / "lock", 0o644)


@broken("host", "files-private", CRITICAL)
def everybody_may_read_an_apps_file(it):
    return opened(it.agent.directory / "app.env", 0o444)


@broken("host", "files-private", WARNING)
@contextmanager
def the_configuration_lets_everybody_read(it):
    with opened(it.agent.directory / "app.env", 0o444), it.with_app(mode="0444"):
        yield


@broken("host", "files-private", CRITICAL)
def an_apps_file_belongs_to_another(it):
    return it.with_app(owner="12345:12345")


@broken("host", "files-private", CRITICAL)
def everybody_may_write_into_an_apps_directory(it):
    return opened(it.agent.directory, 0o777)


@broken("host", "credentials-private", CRITICAL)
def everybody_may_read_the_secret_id(it):
    return opened(it.folder / "secret_id", 0o644)


@broken("host", "room-left", WARNING)
@contextmanager
def the_tmpfs_is_nearly_full(it):
    with small(it, "head -c 245000 /dev/zero"):
        yield


@broken("host", "room-left", CRITICAL)
@contextmanager
def the_tmpfs_is_full(it):
    with small(it, "cat /dev/zero"):
        yield


@contextmanager
def small(it, filling):
    """The state in a small tmpfs that is filled."""
    state = it.folder / "small"
    state.mkdir(exist_ok=True)
    mounted = f"mount -t tmpfs -o size=256k,mode=700 none '{state}'; {filling} > '{state}/x' 2>/dev/null || true"
    socket = str(it.agent.state / "status.sock")
    with it.within(f"{mounted}; chmod 600 '{state}/x'"), it.with_config(state_dir=str(state), status={"socket": socket}):
        yield


@broken("host", "agent-runs", CRITICAL)
def no_agent_runs(it):
    return it.with_config(status={"socket": str(it.folder / "nowhere.sock")})


@broken("host", "agent-version", WARNING)
def an_agent_of_another_version_runs(it):
    return altered(it, "__init__.py", lessee.__version__, "0.0.1")


@broken("host", "no-core-files", WARNING)
def the_agent_may_leave_a_core_file(it):
    need(resource.getrlimit(resource.RLIMIT_CORE)[1], "needs a hard limit of core files above 0")
    return altered(it, "process/hardening.py", "(0, 0 if permanent else core[1])", "(core[1], core[1])")


@contextmanager
def altered(it, name, before, after):
    """An agent runs whose code says something else."""
    with tempfile.TemporaryDirectory() as disk, tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        code = Path(disk, "code/lessee")
        shutil.copytree(Path(lessee.__file__).parent, code, ignore=shutil.ignore_patterns("__pycache__"))
        file = code / name
        assert before in file.read_text()
        file.write_text(file.read_text().replace(before, after))
        agent = Sidecar(it.bao.address, Path(disk), Path(memory))
        agent.environ["PYTHONPATH"] = str(code.parent)
        agent.template("x.j2", '{{ secret("frontend/app").api_url }}\n')
        try:
            agent.start()
            with it.with_config(status={"socket": str(agent.state / "status.sock")}):
                yield
        finally:
            agent.close()


# An app


@broken("web", "templates-right", CRITICAL)
def a_template_is_wrong(it):
    return it.with_template("app.env.j2", "{{ secret( }}\n")


@broken("web", "secrets-readable", CRITICAL)
def a_secret_is_not_there(it):
    return it.with_template("app.env.j2", 'X={{ secret("nowhere").x }}\n')


@broken("web", "secrets-readable", CRITICAL)
def a_certificate_is_not_granted(it):
    return it.with_template("tls.pem.j2", '{{ certificate("pki/issue/other", common_name="x").private_key }}\n')


@broken("web", "secrets-readable", CRITICAL)
def the_apps_own_login_may_read_nothing(it):
    files = {"role_id_file": it.folder / "other-role", "secret_id_file": it.folder / "other-secret"}
    for file, value in zip(files.values(), it.bao.approle("nobody", NOTHING), strict=True):
        file.touch(0o600)
        file.write_text(value)
    auth = {"method": "approle"} | {key: str(file) for key, file in files.items()}
    return it.with_app(vault={"auth": auth})


@broken("web", "secrets-readable", CRITICAL)
def the_apps_own_login_is_refused(it):
    files = {"role_id_file": str(it.folder / "role_id"), "secret_id_file": str(it.folder / "mcp.key")}
    return it.with_app(vault={"auth": {"method": "approle"} | files})


@broken("web", "files-rendered", CRITICAL)
def a_template_reads_a_key_that_is_not_there(it):
    return it.with_template("app.env.j2", 'X={{ secret("mcp/memory").nowhere }}\n')


@broken("web", "files-rendered", CRITICAL)
def a_value_has_no_place_in_its_file(it):
    return it.with_secret("database/postgres", host="a\0b")


@broken("web", "files-published", CRITICAL)
@contextmanager
def the_agent_stands_still(it):
    os.kill(it.agent.process.pid, 19)
    try:
        with it.with_secret("database/postgres", password=it.value()):
            yield
    finally:
        os.kill(it.agent.process.pid, 18)


@broken("web", "files-published", CRITICAL)
def nothing_is_published(it):
    return it.with_app(directory=str(it.folder / "nowhere"))


@broken("web", "app-ready", CRITICAL)
def nobody_listens(it):
    return it.with_app(ready={"tcp": f"127.0.0.1:{free_port()}", "timeout": "1s"})


@broken("web", "notify-target", CRITICAL)
def the_app_does_not_run(it):
    return it.with_app(notify={"process": {"name": "nowhere"}})


@broken("web", "notify-target", CRITICAL)
@contextmanager
def several_processes_match(it):
    processes = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "twins"]) for _ in range(2)]
    with it.with_app(notify={"process": {"cmdline": "twins$"}}):
        yield
    for one in processes:
        one.kill()
        one.wait()


@broken("web", "notify-target", CRITICAL)
def its_command_is_not_there(it):
    return it.with_app(notify={"command": ["/nowhere/reload"]})


@broken("web", "notify-target", CRITICAL)
def its_url_is_not_served(it):
    return it.with_app(notify={"http": f"http://127.0.0.1:{free_port()}/reload"})
