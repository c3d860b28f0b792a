"""Who reads several files by `lessee read` has them of one generation."""

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from lessee.core.errors import UsageError
from lessee.core.generation import File, Generation
from lessee.publishing.publication import Publisher
from lessee.publishing.reader import read_generation
from support.needs import need
from support.programs.restless_publisher import LINES, restless
from support.programs.sidecar import eventually, fork_of

FILES = ("cert.pem", "key.pem")
READS = 5_000


@pytest.fixture
def web(memory):
    return memory / "web"


@pytest.fixture
def publish(web):
    """Show these files, and these alone."""
    with closing(Publisher(web, owner=(None, None), mode=0o440, allow_disk=False)) as publisher:

        def show(**files):
            generation = Generation("web", tuple(File(name, content, 0o440) for name, content in files.items()))
            publisher.publish(publisher.stage(generation))

        yield show


def read(*arguments, **settings):
    command = [sys.executable, "-m", "lessee", "read", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=30, check=False, **settings)


def numbers(contents):
    return {number for content in contents for number in content.splitlines()}


@pytest.mark.thorough
def test_files_read_together_are_of_one_generation_however_fast_they_change(web):
    seen = set()
    # No reader is ever so pressed by an agent: a generation is gone as soon as the next one is there.
    with restless(web, FILES, keeps=False):
        for _ in range(READS):
            contents = read_generation(web, FILES, timeout=0)
            assert [len(contents[name].splitlines()) for name in FILES] == [LINES, LINES]
            assert len(numbers(contents.values())) == 1
            seen |= numbers(contents.values())
        for _ in range(20):
            done = read("web", *FILES, "--directory", web)
            assert done.returncode == 0, done.stderr
            contents = json.loads(done.stdout)
            assert list(contents) == list(FILES)
            assert len(numbers(contents.values())) == 1
    assert len(seen) > 10  # they did change


def test_one_file_is_printed_as_it_is_and_several_as_json(web, publish):
    publish(**{"cert.pem": b"cert\r\n", "key.pem": "schlüssel".encode(), "key.der": b"\x00\xff"})
    where = ("--directory", web)
    assert read("web", "cert.pem", *where).stdout == b"cert\r\n"
    assert read("web", "key.der", *where).stdout == b"\x00\xff"
    several = read("web", "key.pem", "key.der", "cert.pem", *where, env=os.environ | {"LC_ALL": "C"})
    assert json.loads(several.stdout) == {"key.pem": "schlüssel", "key.der": {"base64": "AP8="}, "cert.pem": "cert\r\n"}
    assert json.loads(read("web", "cert.pem", *where, "--format", "json").stdout) == {"cert.pem": "cert\r\n"}
    assert read("web", "key.pem", "cert.pem", *where, "--format", "raw").stdout == "schlüsselcert\r\n".encode()


def test_the_configuration_says_where_an_app_has_its_files(sidecar, publish):
    publish(**{"app.env": b"A=1\n"})
    sidecar.template("app.env.j2", "A=1\n")
    sidecar.write_config()
    assert sidecar.command("read", "web", "app.env").stdout == "A=1\n"
    unknown = sidecar.command("read", "wbe", "app.env")
    assert (unknown.returncode, unknown.stdout) == (78, "")
    assert "no app is named 'wbe'; its apps are: web" in unknown.stderr


def test_a_missing_file_prints_nothing_and_the_error_lists_the_existing_ones(web, publish, memory):
    publish(**{"cert.pem": b"cert", "key.pem": b"CANARY"})
    (memory / "outside").write_text("CANARY")
    for name in ("ca.pem", "../../outside", str(memory / "outside")):
        missing = read("web", "key.pem", name, "--directory", web)
        assert (missing.returncode, missing.stdout) == (64, b"")
        said = missing.stderr.decode()
        assert f"no such file: {name}; published are: cert.pem, key.pem" in said
        assert "CANARY" not in said
    assert read("web", "..", "--directory", web).returncode == 64


def test_without_a_publication_it_fails_or_waits(web, publish):
    missing = read("web", "app.env", "--directory", web.parent / "nowhere")
    assert (missing.returncode, missing.stdout) == (69, b"")
    assert b"nothing is published here" in missing.stderr
    assert read("web", "app.env", "--directory", web, "--timeout", "50ms").returncode == 69
    waiting = [sys.executable, "-m", "lessee", "read", "web", "app.env", "--directory", web, "--timeout", "30s"]
    for other in (False, True):  # Also one that an earlier configuration has left, without the file.
        if other:
            publish(**{"other.env": b"B=2\n"})
            assert b"published are: other.env" in read("web", "app.env", "--directory", web, "--timeout", "50ms").stderr
        with subprocess.Popen(waiting, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            # Between two looks it sleeps: so it has looked in vain.
            eventually(lambda process=process: "nanosleep" in Path(f"/proc/{fork_of(process)}/wchan").read_text())
            publish(**{"app.env": b"A=1\n"})
            assert process.communicate(timeout=30) == (b"A=1\n", b"")


def test_a_user_without_permission_gets_the_reason(web, publish):
    need(os.geteuid() == 0, "needs root, to read as another uid")
    publish(**{"app.env": b"CANARY"})
    web.parent.chmod(0o711)
    # Read without the command line: another uid may not be able to import what that needs.
    script = """
import os, sys
from pathlib import Path
from lessee.core.errors import LesseeError
from lessee.publishing.reader import read_generation
os.setgroups([]), os.setgid(65534), os.setuid(65534)
try:
    read_generation(Path(sys.argv[1]), ["app.env"], timeout=0)
except LesseeError as exc:
    print(exc)
    sys.exit(exc.exit_code)
"""
    refused = subprocess.run([sys.executable, "-c", script, web], capture_output=True, check=False, text=True)
    assert refused.returncode == 77, refused.stderr
    assert f"{web}: not readable by uid 65534" in refused.stdout


def test_reading_by_a_directory_loads_neither_templates_nor_vault(web, publish):
    publish(**{"app.env": b"A=1\n"})
    script = """
import sys
from lessee.cli import main
assert main(["read", "web", "app.env", "--directory", sys.argv[1]]) == 0
heavy = {"jinja2", "lessee.host.project", "lessee.vault", "http.client", "subprocess", "ssl", "socket"}
print(*heavy.intersection(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script, web], capture_output=True, check=True, text=True)
    assert done.stdout == "A=1\n\n"


@pytest.mark.parametrize("target", ["/etc", "../other", "..", ".", "..lessee-1-0badcafe/..", "..2026_11_25", "\x1b[2J"])
def test_a_live_link_that_leads_out_of_the_directory_is_not_followed(web, publish, target):
    publish(**{"app.env": b"own"})
    (web.parent / "other").mkdir()
    (web.parent / "other" / "passwd").write_text("theirs")
    (web / "..data").unlink()
    (web / "..data").symlink_to(target)
    with pytest.raises(UsageError, match=r"\.\.data does not belong to lessee") as caught:
        read_generation(web, ["passwd"], timeout=0)
    assert str(caught.value).isprintable()


def test_a_link_in_the_place_of_the_live_generation_is_not_followed(web, publish):
    publish(**{"app.env": b"own"})
    live = web / (web / "..data").readlink()
    live.rename(web / "..lessee-9-0badcafe")
    live.symlink_to("/etc")
    with pytest.raises(UsageError, match="cannot be read"):
        read_generation(web, ["passwd"], timeout=0)
