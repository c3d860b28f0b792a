"""`lessee adopt --rotate` on a real Engine: the old password ends, and an undo gives it back to the store."""

import hashlib

import pytest

from e2e.adopt_stacks import CANARIES, Shop, make_images
from e2e.compose import AGENT
from support.programs.sidecar import eventually
from support.thorough import sampled

pytestmark = pytest.mark.docker

IMAGE = f"{AGENT}-rotate"
OLD = CANARIES["database"]
PATH = "development/database/postgres"
WRITES = range(1, 4)
"""After so many writes to the journal a rotation is killed."""


@pytest.fixture(scope="module")
def adopt_images(engine, images, tmp_path_factory):
    make_images(engine, tmp_path_factory.mktemp("adopt") / "images")
    images.make("rotation", {"rotator": {"image": IMAGE, "build": images.build}})
    return images


@pytest.fixture
def shop(engine, adopt_images):  # noqa: ARG001  # It needs the images.
    with Shop(engine, "lessee-adopt-rotated", IMAGE) as shop:
        shop.start_server()
        shop.compose("up", "--detach", "--wait")
        yield shop


def password(shop):
    return shop.server.get(PATH)["password"]


def accepts(shop, secret):
    """Whether PostgreSQL lets this password log in, over the project's network."""
    url = f"postgresql://postgres:{secret}@db:5432/shop"
    return shop.engine.exec(f"{shop.name}-web-1", "psql", url, "-Atc", "select 1", check=False).strip() == "1"


def has(shop, secret):
    """Whether both apps have a URL with this password."""
    url = hashlib.sha256(f"postgresql://postgres:{secret}@db:5432/shop".encode()).hexdigest()
    return all(shop.has(name).get("DATABASE_URL") == url for name in ("web", "worker"))


def test_the_password_of_the_files_ends_and_an_undo_brings_it_back(shop):
    before = shop.files()
    assert accepts(shop, OLD)
    shop.adopt("--yes", "--rotate")
    new = password(shop)
    assert new != OLD
    assert (accepts(shop, new), accepts(shop, OLD)) == (True, False)
    eventually(lambda: has(shop, new), "the new password in both apps")
    assert shop.services()["web"] == "running healthy"
    assert shop.plaintext() == []
    # It is rotated once, and by the rotator again.
    shop.adopt("--yes", "--rotate")
    assert password(shop) == new
    shop.compose("run", "--rm", "lessee-rotator", "rotate", "--force", "postgres")
    later = password(shop)
    assert (accepts(shop, later), accepts(shop, new)) == (True, False)
    # A plain start of the stack uses the newest one, also where the database is a new one.
    shop.compose("down")
    shop.compose("up", "--detach", "--wait")
    eventually(lambda: has(shop, later), "the newest password in both apps")
    shop.adopt("--undo", "--yes")
    assert shop.files() == before
    assert (accepts(shop, OLD), accepts(shop, later)) == (True, False)
    assert shop.services() == {"db": "running healthy", "web": "running healthy", "worker": "running"}
    assert has(shop, OLD)
    assert [value for value in (*CANARIES.values(), new, later) if value in shop.said] == []


@pytest.mark.thorough
def test_a_rotation_that_is_killed_locks_nothing_out(shop):
    """`adopt` and the rotator's container are killed, of the rotation and of the undo."""
    for writes in sampled(WRITES, of=len(WRITES), key="killed"):
        shop.adopt("--yes")
        kill(shop, writes, "--yes", "--rotate")
        shop.adopt("--yes", "--rotate")
        new = password(shop)
        assert new != OLD
        assert (accepts(shop, new), accepts(shop, OLD)) == (True, False)
        eventually(lambda new=new: has(shop, new), "the new password in both apps")
        kill(shop, writes, "--undo", "--yes")
        shop.adopt("--undo", "--yes")
        assert (accepts(shop, OLD), accepts(shop, new)) == (True, False)
        eventually(lambda: has(shop, OLD), "the old password in both apps")


def kill(shop, writes, *options):
    """Start adopt, and kill it with the rotator after so many writes to the rotation's journal."""
    label = ["--filter", f"label=com.docker.compose.project={shop.name}"]
    of_rotator = [*label, "--filter", "label=com.docker.compose.service=lessee-rotator"]
    last = written(shop) + writes
    process = shop.start(*options)
    try:
        eventually(lambda: written(shop) >= last or process.poll() is not None, "the rotator's writes")
        process.kill()
        if found := shop.engine.docker("ps", "--quiet", *of_rotator).split():
            shop.engine.docker("kill", *found, check=False)
    finally:
        process.kill()
        process.communicate()


def written(shop):
    """How often the journal was written."""
    try:
        return shop.server.ask("GET", "secret/metadata/development/lessee/rotation/postgres")["data"]["current_version"]
    except RuntimeError:  # It does not exist yet.
        return 0
