"""The stack compose/issue as the tests and a benchmark use it, and what an attacker does at its socket."""

import json
import re
from pathlib import Path

import yaml

from support.paths import ROOT

ROLE, OTHER_ROLE = "production-app", "production-other"
# Asks for a secret_id so many times, as the agent does; prints what it got. Arguments: tries, role.
ASK = """
import json, socket, sys

def ask(role):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(30)
        connection.connect("/run/lessee-issue/issue.sock")
        hello = json.loads(connection.recv(4096))
        connection.send(json.dumps({"nonce": hello["nonce"], "role": role}).encode())
        return json.loads(connection.recv(4096))

print(json.dumps([ask(sys.argv[2]) for _ in range(int(sys.argv[1]))]))
"""
PYTHON = "/opt/lessee/bin/python"
_UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LARGEST = 64 << 20


def issuer_config(folder, project, **settings):
    """The issuer's configuration for a project of another name, with a second role for another service."""
    config = yaml.safe_load((ROOT / "compose/issue/issuer/lessee.yaml").read_text()) | settings
    config["issue"]["roles"] = {
        ROLE: {"containers": [{"project": project, "service": "agent"}]},
        OTHER_ROLE: {"containers": [{"project": project, "service": "other-agent"}]},
    }
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    (folder / "lessee.yaml").write_text(json.dumps(config))
    return folder


def services(folder, project, socket):
    """The overrides of the stack for a test."""
    mounts = [f"{issuer_config(folder, project)}:/etc/lessee:ro", f"{socket}:/var/run/docker.sock:ro"]
    return {"issuer": {"volumes": mounts}}


def answers(output):
    """What ASK printed."""
    return json.loads(output.splitlines()[-1])


def wrapped(replies):
    """How many secret_ids these replies have."""
    return sum("wrapping_token" in reply for reply in replies)


def texts_on_disk(folders):
    """Everything in these folders and files that has the form of a secret_id."""
    found = set()
    for folder in folders:
        for path in [folder] if folder.is_file() else filter(Path.is_file, folder.rglob("*")):
            with path.open("rb") as file:
                found.update(text.decode() for text in _UUID.findall(file.read(_LARGEST)))
    return found


def secret_ids(project, texts):
    """Those of the texts that OpenBao knows as secret_ids of the app."""
    # Of an unknown one, the lookup returns nothing.
    script = """
    path=auth/approle/role/production-app/secret-id/lookup
    while read -r id; do
        case "$(printf %s "$id" | bao write -f -field=secret_id_accessor $path secret_id=- 2>/dev/null)" in
            ????????-*) echo "found $id" ;;
        esac
    done
    """
    output = project.run("openbao", "sh", "-c", script, text="".join(f"{text}\n" for text in sorted(texts)))
    return [line.split()[1] for line in output.splitlines() if line.startswith("found ")]
