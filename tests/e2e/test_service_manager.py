"""`lessee run` notifies the service manager once all files exist, as a service of `Type=notify` does."""

import socket
import struct
from contextlib import suppress

import pytest

from support.programs.sidecar import eventually


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request, tmp_path):
    """The address and the socket of a service manager."""
    address = str(tmp_path / "notify") if request.param == "a path" else f"@lessee-test/{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        listening.setblocking(False)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        yield address, listening


def test_the_service_manager_is_notified_once_when_the_last_app_has_its_files(manager, bao, sidecar, folder):
    address, listening = manager
    sidecar.environ["NOTIFY_SOCKET"] = address
    sidecar.template("a.txt.j2", f'{{{{ secret("{folder}/there").value }}}}')
    late = {"directory": str(sidecar.memory / "late"), "refresh_interval": "200ms", "files": [{"template": "b.txt.j2"}]}
    sidecar.config["apps"]["late"] = late
    (sidecar.disk / "b.txt.j2").write_text(f'{{{{ secret("{folder}/missing").value }}}}')
    bao.put(f"testing/{folder}/there", value="canary-one")
    sidecar.start(wait=False)
    sidecar.until_file("a.txt", "canary-one")
    assert received(listening) is None
    bao.put(f"testing/{folder}/missing", value="canary-late")
    assert eventually(lambda: received(listening), "the notification") == b"READY=1"
    assert (sidecar.memory / "late/b.txt").read_text() == "canary-late"
    bao.put(f"testing/{folder}/there", value="canary-two")
    sidecar.until_file("a.txt", "canary-two")
    assert received(listening) is None


def test_the_notification_comes_from_the_process_that_was_started(manager, bao, sidecar, folder):
    """By default a unit accepts it from its main process alone: NotifyAccess= in systemd.service(5)."""
    address, listening = manager
    sidecar.environ["NOTIFY_SOCKET"] = address
    sidecar.template("a.txt.j2", f'{{{{ secret("{folder}").value }}}}')
    bao.put(f"testing/{folder}", value="canary")
    sidecar.start()
    text, sender = eventually(lambda: received_from(listening), "the notification")
    assert (text, sender) == (b"READY=1", sidecar.process.pid)


@pytest.mark.parametrize(
    ("name", "reason"), [("gone", "No such file or directory"), ("x" * 108, "AF_UNIX path too long")]
)
def test_a_missing_service_manager_is_a_warning_and_the_agent_runs(bao, sidecar, folder, tmp_path, name, reason):
    sidecar.environ["NOTIFY_SOCKET"] = str(tmp_path / name)
    sidecar.template("a.txt.j2", f'{{{{ secret("{folder}").value }}}}')
    bao.put(f"testing/{folder}", value="canary")
    sidecar.start()
    eventually(lambda: [event for event in sidecar.events() if event["level"] == "warning"], "the warning")
    (warning,) = [event for event in sidecar.events() if event["level"] == "warning"]
    assert (warning["event"], warning["reason"]) == ("service manager not notified", reason)
    assert sidecar.status()["ready"]


def test_a_service_manager_with_a_full_queue_delays_nothing_and_is_notified_later(manager, bao, sidecar, folder):
    address, listening = manager
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, suppress(BlockingIOError):
        other.setblocking(False)
        while True:
            other.sendto(b"STATUS=of another", listening.getsockname())
    sidecar.environ["NOTIFY_SOCKET"] = address
    sidecar.template("a.txt.j2", f'{{{{ secret("{folder}").value }}}}')
    bao.put(f"testing/{folder}", value="canary-one")
    sidecar.start()
    bao.put(f"testing/{folder}", value="canary-two")
    sidecar.until_file("a.txt", "canary-two")
    eventually(lambda: received(listening) == b"READY=1", "the notification")


def received(listening):
    return (received_from(listening) or (None,))[0]


def received_from(listening):
    """A message, and the pid of its sender; None without one."""
    with suppress(BlockingIOError):
        text, [(_, _, credentials)], _, _ = listening.recvmsg(64, socket.CMSG_SPACE(struct.calcsize("iII")))
        return text, struct.unpack("iII", credentials)[0]
    return None
