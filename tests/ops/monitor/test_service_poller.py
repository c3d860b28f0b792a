"""The monitor polls services, reports any failure, and polls again."""

import socket
from contextlib import closing
from threading import Thread

import pytest

from lessee.config.grammar.alerts import WatchTarget
from lessee.ops.monitor.service_poller import ServicePoller
from support.programs.sidecar import eventually

DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    "answer",
    [b"", b"\x00\xff\r\n\r\n", b"HTTP/1.1 200\r\n\r\n{", b"HTTP/1.1 200\r\n\r\n" + DEEP,
     b"HTTP/1.1 200\r\nContent-Length: 9\r\n\r\n{", b"HTTP/1.1 200\r\n" + b"A: b\r\n" * 200 + b"\r\n{}"],
    ids=["nothing", "noise", "half a body", "depth", "less than promised", "many headers"],
)  # fmt: skip
@pytest.mark.parametrize("is_url", [True, False])
def test_an_invalid_status_is_reported_and_polled_again(tmp_path, answer, is_url):
    path = tmp_path / "status.sock"
    family, address = (socket.AF_INET, ("127.0.0.1", 0)) if is_url else (socket.AF_UNIX, str(path))
    with socket.socket(family) as server:
        server.bind(address)
        server.listen()
        requests = []

        def serve():
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    requests.append(client.recv(65536))
                    client.sendall(answer)

        thread = Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}" if is_url else None
        watched = WatchTarget(url=url) if is_url else WatchTarget(socket=str(path))
        with closing(ServicePoller({"one": watched}, tmp_path, interval=0.05)) as poller:
            eventually(lambda: len(requests) > 2, "another poll")
            assert poller.results()["one"].error
            assert poller.results()["one"].status is None
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
