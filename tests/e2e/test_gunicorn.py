"""An app whose workers are replaced by SIGHUP at each rotation fails no request."""

from support.programs.loaded_app import Clients, Served, gunicorn
from support.programs.sidecar import eventually

ROTATIONS = 5


def test_no_request_fails_while_gunicorn_takes_up_new_secrets(bao, sidecar, folder, tmp_path):
    secret = f"testing/{folder}/db"
    bao.put(secret, password="first")
    sidecar.template("value.txt.j2", f'{{{{ secret("{folder}/db").password }}}}')
    sidecar.web["notify"] = {"process": {"pid_file": str(tmp_path / "server.pid")}, "action": "SIGHUP"}
    sidecar.start()
    with Served(gunicorn, tmp_path, sidecar.directory / "value.txt") as app:
        eventually(app.answers)
        with Clients(app.port) as clients:
            for number in range(ROTATIONS):
                value = f"number {number}"
                bao.put(secret, password=value)
                eventually(lambda value=value: clients.all_serve(value.encode()), f"{value} from all workers", 30)
    assert not clients.failures
    assert clients.answered > 100
