"""`lessee adopt` works for a user who is not root: the agent is root without capabilities, and enters its folders."""

import os
import subprocess

import pytest

from lessee.host.openbao import ROOT_TOKEN
from support.needs import need
from support.programs.adopting import AdoptedProject
from support.programs.users import as_user

USER = 12345
COMPOSE = """\
name: shop
services:
  web:
    build: .
    environment:
      APP_PASSWORD: hunter2hunter3
"""
# Root of the agent's container has no capability, so it is just another user for these files.
AS_AGENT = ["setpriv", "--reuid=0", "--regid=0", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--"]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_the_agent_enters_the_folders_that_another_user_has_adopted(bao, memory, folder, umask):
    need(os.geteuid() == 0, "root, to start programs as other users")
    memory.chmod(0o755)
    project = AdoptedProject(memory / "shop", COMPOSE, VAULT_ADDR=bao.address, VAULT_TOKEN=ROOT_TOKEN)
    for path in (memory, project.folder, *project.folder.iterdir()):
        os.chown(path, USER, USER)
    user = ["sh", "-c", f'umask {umask:03o}; exec "$@"', "sh", *as_user(memory, USER, USER)]
    project.adopt("--environment", folder, under=user)
    # The Engine mounts these two.
    for place in (project.folder / "lessee", project.folder / f".lessee/identity/{folder}/{folder}-shop-web"):
        files = [path for path in place.rglob("*") if path.is_file()]
        words = [*AS_AGENT, "cat", *(str(path.relative_to(place)) for path in files)]
        done = subprocess.run(words, cwd=place, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "".join(path.read_text() for path in files)
        assert len(files) >= 2
    assert (project.folder / ".lessee").stat().st_mode & 0o777 == 0o700
