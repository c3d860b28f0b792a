"""A real Prometheus and Alertmanager with the files of compose/monitoring, at short intervals, and a receiver."""

import json
import re
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml

from lessee.host.openbao import free_port
from support.needs import need
from support.paths import ROOT
from support.programs.sidecar import eventually

FOLDER = ROOT / "compose/monitoring"
JOBS = ("agent", "rotator", "monitor")
TOKEN = "canary-of-the-scrapes"


class Observed:
    """`ports` has the port of each scraped job."""

    def __init__(self, folder):
        need(shutil.which("prometheus"), "needs Prometheus: apt install --no-install-recommends prometheus")
        need(shutil.which("prometheus-alertmanager"), "needs Alertmanager: apt install prometheus-alertmanager")
        self.folder = folder / "observed"
        self.folder.mkdir()
        self.token = self.folder / "token"
        self.token.write_text(TOKEN)
        self.token.chmod(0o600)
        self.ports = {job: free_port() for job in JOBS}
        self.receiver = Receiver()
        self._own = {"prometheus": free_port(), "alertmanager": free_port()}
        self._processes = []
        self._files = None

    def listen(self, job):
        """The block `status` of the program's configuration."""
        return {"listen": f"127.0.0.1:{self.ports[job]}", "token_file": str(self.token)}

    def scrape_files(self, folder):
        """Scrape what is in the folder's `*.prom`, as node_exporter's textfile collector would show it."""
        (self.folder / "metrics").write_text("".join(path.read_text() for path in folder.glob("*.prom")))
        self._files = free_port()
        own = ["-m", "http.server", str(self._files), "--bind", "127.0.0.1", "--directory", str(self.folder)]
        self._run(sys.executable, *own, log="files")

    def start(self, *jobs):
        """Start Prometheus and Alertmanager, and wait for a scrape of each job."""
        self._write(jobs)
        addresses = {name: f"--web.listen-address=127.0.0.1:{port}" for name, port in self._own.items()}
        storage = self.folder / "data"
        own = ["--config.file=prometheus.yml", f"--storage.tsdb.path={storage}"]
        self._run("prometheus", *own, addresses["prometheus"])
        more = ["--config.file=alertmanager.yml", f"--storage.path={storage}-of-alerts", "--cluster.listen-address="]
        self._run("prometheus-alertmanager", *more, addresses["alertmanager"])
        for job in jobs:
            eventually(lambda job=job: self.value(f'up{{job="lessee-{job}"}}') == 1, f"a scrape of the {job}")

    def query(self, expression):
        """Labels and value of each sample. No samples before Prometheus is up."""
        response = self._get("prometheus", f"/api/v1/query?query={urllib.parse.quote(expression)}")
        samples = response["data"]["result"] if response else []
        return [(sample["metric"], float(sample["value"][1])) for sample in samples]

    def value(self, expression):
        samples = self.query(expression)
        return samples[0][1] if len(samples) == 1 else None

    def states(self, alert):
        """The states that an alert has had in Prometheus."""
        samples = self.query(f'count_over_time(ALERTS{{alertname="{alert}"}}[10m])')
        return {labels["alertstate"] for labels, _ in samples}

    def alerts(self):
        """The state of each alert in Alertmanager: active or suppressed."""
        alerts = self._get("alertmanager", "/api/v2/alerts") or ()
        return {alert["labels"]["alertname"]: alert["status"]["state"] for alert in alerts}

    def scrape(self, job):
        """The metrics of a program."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports[job]}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read().decode()

    def close(self):
        for process in self._processes:
            process.kill()
            process.wait()
        self.receiver.close()

    def _write(self, jobs):
        text = with_short_intervals((FOLDER / "prometheus.yml").read_text())
        for job in JOBS:
            text = text.replace(f'"{job}:9105"', f'"127.0.0.1:{self.ports[job]}"' if job in jobs else "")
        text = text.replace("alertmanager:9093", f"127.0.0.1:{self._own['alertmanager']}")
        text = text.replace("/run/scrape/token", str(self.token))
        if self._files is not None:
            config = yaml.safe_load(text)
            target = {"job_name": "lessee-files", "static_configs": [{"targets": [f"127.0.0.1:{self._files}"]}]}
            config["scrape_configs"].append(target)
            text = yaml.safe_dump(config)
        (self.folder / "prometheus.yml").write_text(text)
        (self.folder / "rules").mkdir()
        for file in (FOLDER / "rules").iterdir():
            (self.folder / "rules" / file.name).write_text(with_short_intervals(file.read_text()))
        text = with_short_intervals((FOLDER / "alertmanager.yml").read_text())
        text = text.replace("receiver:8080", f"127.0.0.1:{self.receiver.port}")
        (self.folder / "alertmanager.yml").write_text(text)

    def _run(self, program, *arguments, log=None):
        with (self.folder / f"{log or program}.log").open("wb") as out:
            self._processes.append(subprocess.Popen([program, *arguments], cwd=self.folder, stderr=out))

    def _get(self, program, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._own[program]}{path}", timeout=5) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as exc:
            with exc:
                if exc.code == HTTPStatus.SERVICE_UNAVAILABLE:
                    return None  # It is not up yet.
                raise AssertionError(exc.read().decode()) from None
        except OSError:
            return None  # It is not up yet.


class Receiver:
    """Receives Alertmanager's webhook. `alerts` has the name, the status and the body of each alert."""

    def __init__(self):
        self.alerts = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.alerts += [(one["labels"]["alertname"], one["status"], one) for one in body["alerts"]]
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def wait_for(self, alert, status="firing"):
        """Wait for an alert, and return its body."""

        def find():
            return next((body for name, state, body in self.alerts if (name, state) == (alert, status)), None)

        return eventually(find, f"{alert}, {status}")

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def with_short_intervals(text):
    """Scrape, evaluate and send each second, with `for: 3s`."""
    text = re.sub(r"\b(scrape_interval|evaluation_interval|group_interval): \w+", r"\1: 1s", text)
    return re.sub(r"\bgroup_wait: \w+", "group_wait: 0s", re.sub(r"\bfor: \w+", "for: 3s", text))
