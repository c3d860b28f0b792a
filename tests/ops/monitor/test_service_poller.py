"""The monitor asks services how they are; whatever answers, it says how that went, and asks again."""

import socket
from contextlib import closing
from threading import Thread

import pytest

from lessee.config.grammar.alerts import Watched
from lessee.ops.monitor.service_poller import Looking
from support.programs.sidecar import eventually

DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    "said",
    [b"", b"\x00\xff\r\n\r\n", b"HTTP/1.1 200\r\n\r\n{", b"HTTP/1.1 200\r\n\r\n" + DEEP,
     b"HTTP/1.1 200\r\nContent-Length: 9\r\n\r\n{", b"HTTP/1.1 200\r\n" + b"A: b\r\n" * 200 + b"\r\n{}"],
    ids=["nothing", "noise", "a half", "depth", "less than promised", "many headers"],
)  # fmt: skip
@pytest.mark.parametrize("is_url", [True, False])
def test_what_is_no_status_is_told_and_asked_for_again(tmp_path, said, is_url):
    path = tmp_path / "status.sock"
    family, address = (socket.AF_INET, ("127.0.0.1", 0)) if is_url else (socket.AF_UNIX, str(path))
    with socket.socket(family) as server:
        server.bind(address)
        server.listen()
        asked = []

        def answer():
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    asked.append(client.recv(65536))
                    client.sendall(said)

        thread = Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}" if is_url else None
        watched = Watched(url=url) if is_url else Watched(socket=str(path))
        with closing(Looking({"one": watched}, tmp_path, every=0.05)) as looking:
            eventually(lambda: len(asked) > 2, "another look")
            assert looking.answers()["one"].error
            assert looking.answers()["one"].heard is None
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
