"""S3 clients and servers read the templates: a real store accepts exactly the keys in its file."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from botocore.configloader import load_config
from botocore.credentials import SharedCredentialProvider

from lessee.core.errors import FormatError, TemplateError
from lessee.host.openbao import free_port
from support import readmes
from support.inputs.hostile_values import VALUES
from support.models.template_library import HOSTILE, NUMBERS, rendered, use, written
from support.needs import need
from support.programs.sidecar import Sidecar, eventually
from support.servers.s3_server import BUCKET, S3Server

SECRET = HOSTILE.replace("%(", "%").replace("${", "$")  # A value that rclone and SeaweedFS can read.
ADMIN = {"access_key": "admin", "secret_key": "admin'\"\\secret"}
CREDENTIALS = {"template": "s3/credentials.j2", "format": "ini"}
CONFIG = {"template": "s3/config.j2", "format": "ini"}
RCLONE = {"template": "s3/rclone.conf.j2", "format": "ini"}
MC = {"template": "s3/mc.json.j2", "name": "config.json"}
ON_A_LINE = [value for value in VALUES if not re.search("[\n\r\0]", value)]
STRIPPED = [value for value in ON_A_LINE if value == value.strip()]


@pytest.fixture
def store(bao, sidecar, memory):
    """A store whose users a running sidecar renders, and whom it notifies of changes."""
    port = free_port()
    put(bao, port)
    bao.put("testing/storage/admin", **ADMIN)
    telling = {"process": {"cmdline": f"weed server .*-s3.port={port}"}}
    use(sidecar, "s3/seaweedfs.json.j2", notify=telling)
    sidecar.start()
    (memory / "store").mkdir()
    store = S3Server(memory / "store", port, sidecar.directory / "seaweedfs.json")
    try:
        eventually(lambda: store.accepts(access_key_id="admin", secret_access_key=ADMIN["secret_key"]))
        yield store
    finally:
        store.close()


def put(bao, port, access_key='"app"', secret_key=SECRET):
    place = {"endpoint": f"127.0.0.1:{port}", "secure": False, "bucket": BUCKET}
    bao.put("testing/storage/minio", access_key=access_key, secret_key=secret_key, **place)


def test_clients_log_in_with_their_files_until_the_store_loads_new_keys(bao, store, memory, tmp_path, monkeypatch):
    (tmp_path / "clients").mkdir()
    folder = rendered(Sidecar(bao.address, tmp_path / "clients", memory), CREDENTIALS, CONFIG, RCLONE, MC)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    assert store.accepts()
    assert run("rclone", "--config", folder / "rclone.conf", "cat", f"minio:{BUCKET}/a") == "b"
    assert run("minio-client", "--config-dir", folder, "cat", f"minio/{BUCKET}/a") == "b"
    put(bao, store.port, "app", "new'\"\\")
    eventually(lambda: store.accepts(access_key_id="app", secret_access_key="new'\"\\"), "a login with the new keys")
    assert not store.accepts()


@pytest.mark.thorough
def test_numbers_and_booleans_are_keys(bao, store, memory, tmp_path, monkeypatch):
    (tmp_path / "clients").mkdir()
    for value, text in NUMBERS.items():
        put(bao, store.port, value, value)
        folder = rendered(Sidecar(bao.address, tmp_path / "clients", memory), CREDENTIALS, CONFIG, RCLONE, MC)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
        eventually(lambda text=text: store.accepts(access_key_id=text, secret_access_key=text), "a login")
        assert store.accepts()
        assert run("rclone", "--config", folder / "rclone.conf", "cat", f"minio:{BUCKET}/a") == "b"
        assert run("minio-client", "--config-dir", folder, "cat", f"minio/{BUCKET}/a") == "b"


def test_botocore_reads_every_hostile_key_that_fits_on_a_line(tmp_path):
    for value in STRIPPED:
        file = tmp_path / "credentials"
        file.write_text(written(CREDENTIALS["template"], "ini", secret_of(value)))
        read = SharedCredentialProvider(str(file), "default").load()
        assert (read.access_key, read.secret_key) == (value, value)
    for value in set(VALUES) - set(STRIPPED):
        with pytest.raises(FormatError, match=r"white space at an end|a newline or a NUL"):
            written(CREDENTIALS["template"], "ini", secret_of(value))


def test_botocore_reads_the_endpoint_of_the_store(tmp_path):
    file = tmp_path / "config"
    file.write_text(written(CONFIG["template"], "ini", secret_of("x")))
    assert load_config(file)["profiles"] == {
        "default": {"region": "us-east-1", "endpoint_url": "https://s3.example.com:9000"}
    }


def test_rclone_reads_every_hostile_key_except_those_it_would_replace(tmp_path):
    values = [value for value in ON_A_LINE if "%(" not in value]
    # One file with a remote for each value.
    texts = [written(RCLONE["template"], "ini", secret_of(value)) for value in values]
    file = tmp_path / "rclone.conf"
    file.write_text("".join(text.replace("[minio]", f"[r{n}]", 1) for n, text in enumerate(texts)))
    place = {"endpoint": "https://s3.example.com:9000", "region": "us-east-1", "type": "s3", "provider": "Minio"}
    keys = {f"r{n}": {"access_key_id": value, "secret_access_key": value} for n, value in enumerate(values)}
    read = json.loads(run("rclone", "--config", file, "config", "dump"))
    assert read == {name: place | pair for name, pair in keys.items()}


def test_a_key_that_rclone_would_replace_is_rejected():
    with pytest.raises(TemplateError, match=r"storage/minio: a key contains %\("):
        written(RCLONE["template"], "ini", secret_of("%(home)s"))


def test_a_key_that_seaweedfs_does_not_accept_is_rejected():
    for key in ("access_key", "secret_key"):
        for path in ("storage/minio", "storage/admin"):
            secrets = secret_of("x") | {"storage/admin": ADMIN}
            secrets[path] = secrets[path] | {key: "${HOME}"}
            with pytest.raises(TemplateError, match=r"storage: a key contains \${"):
                written("s3/seaweedfs.json.j2", "json", secrets)


def test_mc_reads_hostile_keys(tmp_path):
    for value in VALUES[::25]:
        (tmp_path / "config.json").write_text(written(MC["template"], "json", secret_of(value)))
        read = json.loads(run("minio-client", "--config-dir", tmp_path, "--json", "alias", "list", "minio"))
        assert (read["accessKey"], read["secretKey"]) == (value, value)
        assert read["URL"] == "https://s3.example.com:9000"


def test_every_hostile_root_key_reaches_the_servers_environment(bao, sidecar):
    use(sidecar, env_template="s3/minio.env.j2")
    del sidecar.web["files"]
    sidecar.write_config()
    show = "import json, os; print(json.dumps([os.environ[f'MINIO_ROOT_{key}'] for key in ('USER', 'PASSWORD')]))"
    for value in (HOSTILE, "x\nLD_PRELOAD=/tmp/evil.so", " both\t", "${HOME}", "'\"`"):
        bao.put("testing/storage/admin", access_key=value, secret_key=value)
        done = sidecar.command("exec", "--app", "web", "--", sys.executable, "-c", show)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == [value, value]


def secret_of(value):
    place = {"endpoint": "s3.example.com:9000", "bucket": BUCKET}
    return {"storage/minio": {"access_key": value, "secret_key": value, **place}}


def run(program, *arguments):
    need(shutil.which(program), f"needs {program}: apt install {program}")
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    command = [program, *map(str, arguments)]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=60).stdout


def test_the_readme_names_every_template_and_its_configurations_are_right(tmp_path):
    readmes.check("s3", tmp_path)
