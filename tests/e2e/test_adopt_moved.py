"""A project whose folder was moved is continued and undone in its new place, on a real Engine."""

import pytest

from e2e.adopt_stacks import Shop, make_images
from e2e.compose import AGENT

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def adopt_images(engine, images, tmp_path_factory):
    make_images(engine, tmp_path_factory.mktemp("adopt") / "images")
    return images


@pytest.mark.thorough
def test_a_project_that_was_moved_is_continued_and_undone_in_its_new_place(engine, adopt_images):  # noqa: ARG001
    with Shop(engine, "lessee-adopt-moved", AGENT, is_small=True) as shop:
        shop.start_server()
        before = {name: content for name, content in shop.files().items() if not name.startswith(".lessee")}
        shop.compose("up", "--detach", "--wait")
        shop.adopt("--yes")
        values = shop.has("app")
        old, new = shop.folder, shop.folder.with_name(f"{shop.folder.name}-new")
        old.rename(new)
        shop.folder = shop.server.cwd = new
        error = shop.adopt("--yes", code=64).stderr
        assert f"there is no terminal; add --moved-from {old}" in error
        done = shop.adopt("--yes", "--moved-from", str(old))
        assert f"this project was moved: {old} → {new}" in done.stdout
        assert shop.has("app") == values
        mounts = [mount["Source"] for one in shop.containers() for mount in one["Mounts"]]
        assert [path for path in mounts if path.startswith(f"{old}/")] == []
        assert "nothing to do" in shop.adopt("--yes").stdout
        shop.adopt("--undo", "--yes")
        assert shop.files() == before
        assert shop.has("app") == values
