"""`lessee dev` that ends by SIGKILL, or is suspended, at the moment that its first argument names.

A moment is before or after a change of the folder or a request to the server: `after write token`, `before request
sys/init`, `after POST secret/data/a`.
"""

import os
import signal
import sys

import lessee.cli
from lessee.ops.dev.folder import DevFolder
from lessee.vault.transport import Transport

_METHODS = {"GET", "POST", "PUT"}


def main():
    _, moment, *words = sys.argv
    number = signal.SIGSTOP if os.environ.get("SUSPEND") else signal.SIGKILL

    def wrapped(kind, function):
        def call(self, *arguments, **settings):
            name = next(one for one in arguments if one not in _METHODS)
            names = {f"{kind} {name}", f"{arguments[0]} {name}"}
            if moment in {f"before {one}" for one in names}:
                os.kill(os.getpid(), number)
            result = function(self, *arguments, **settings)
            if moment in {f"after {one}" for one in names}:
                os.kill(os.getpid(), number)
            return result

        return call

    for kind in ("write", "remove"):
        setattr(DevFolder, kind, wrapped(kind, getattr(DevFolder, kind)))
    Transport.request = wrapped("request", Transport.request)
    return lessee.cli.main(words)


if __name__ == "__main__":
    sys.exit(main())
