"""Makes an image with nginx from this machine's files."""

import os
import shutil

from e2e.engine import SHELL
from support.needs import need

_IMAGE = "lessee-e2e-nginx"


def nginx_image(engine):
    """The tag of an image with nginx: NGINX_IMAGE, or one that is made once for all workers."""
    if image := os.environ.get("NGINX_IMAGE"):
        return image
    need(shutil.which("nginx"), "needs nginx to make an image, or an image in NGINX_IMAGE: apt install nginx")
    engine.make_base(_IMAGE, *SHELL, "nginx")
    return _IMAGE
