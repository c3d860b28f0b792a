"""A publisher that publishes continuously: all files of a generation contain its number."""

import itertools
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from lessee.core.generation import File, Generation
from lessee.publishing.publication import Publisher

LINES = 64


@contextmanager
def restless(directory, names, *, keeps):
    """Publish into `directory` in a process of its own. `keeps`: old generations stay, as they do for seconds."""
    command = [sys.executable, __file__, directory, "keeps" if keeps else "removes", *names]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "publishing\n"
            yield
            assert process.poll() is None
        finally:
            process.kill()


def _publish(directory, keeps, names):
    publisher = Publisher(Path(directory), owner=(None, None), mode=0o440, allow_disk=False)
    for number in itertools.count():
        content = f"{number}\n".encode() * LINES
        publisher.publish(publisher.stage(Generation("web", tuple(File(name, content, 0o440) for name in names))))
        if not keeps:
            publisher.prune(publisher.numbers())
        if number == 0:
            os.write(1, b"publishing\n")


if __name__ == "__main__":
    _publish(sys.argv[1], sys.argv[2] == "keeps", sys.argv[3:])
