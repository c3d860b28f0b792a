"""Real receivers of alerts: an HTTP server, a mail server, and Prometheus' Alertmanager."""

import asyncio
import json
import shutil
import ssl
import subprocess
import urllib.request
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from lessee.host.openbao import free_port
from support.needs import need
from support.programs.sidecar import eventually


class Hook:
    """Records each POST, and answers with `status`."""

    def __init__(self):
        self.requests, self.status = [], 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if hook.status == 200:
                    hook.requests.append((self.path, dict(self.headers), body))
                self.send_response(hook.status)
                self.send_header("Location", "http://127.0.0.1:9/")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def alerts(self):
        return [alert for _, _, body in self.requests for alert in body["alerts"]]

    def states(self, rule):
        return [alert["state"] for alert in self.alerts() if alert["rule"] == rule]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class MailServer:
    """Records each mail. Only the user `ops` can log in, and only over TLS."""

    password = "canary-mail"

    def __init__(self, pair):
        """`pair`: a file with the certificate and key."""
        self.mails, self._port = [], free_port()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair)
        self._controller = _Controller(
            self, "127.0.0.1", self._port, tls_context=context, require_starttls=True,
            authenticator=self._authenticate, auth_required=True,
        )  # fmt: skip
        self.address = f"127.0.0.1:{self._port}"

    def _authenticate(self, _server, _session, _envelope, _mechanism, data):
        valid = isinstance(data, LoginPassword) and (data.login, data.password) == (b"ops", self.password.encode())
        return AuthResult(success=valid, handled=valid)

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802  # aiosmtpd's name.
        self.mails.append(envelope)
        return "250 accepted"

    def __enter__(self):
        self._controller.start()
        return self

    def __exit__(self, *_):
        self._controller.abort_connections()
        self._controller.stop()


class _Controller(Controller):
    """Closes all connections when it stops. The parent class leaves those open on which TLS has failed."""

    def factory(self):
        return _Session(self.connections, self.handler, **self.SMTP_kwargs)

    def start(self):
        self.connections = []
        super().start()

    def abort_connections(self):
        asyncio.run_coroutine_threadsafe(self._abort_connections(), self.loop).result()

    async def _abort_connections(self):
        for connection in self.connections:
            connection.abort()
        await asyncio.sleep(0.01)  # The event loop closes them in its next iteration.


class _Session(SMTP):
    def __init__(self, connections, *handler, **settings):
        self._connections = connections
        super().__init__(*handler, **settings)

    def connection_made(self, transport):
        self._connections.append(transport)
        super().connection_made(transport)


class Alertmanager:
    """A real Alertmanager with its state in the test's folder."""

    def __init__(self, folder, config):
        program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
        need(program, "needs Alertmanager: apt install prometheus-alertmanager")
        self.url, file = f"http://127.0.0.1:{free_port()}", folder / "alertmanager.yml"
        file.write_text(config)
        self._log = (folder / "alertmanager.log").open("ab")
        self._command = [
            program, f"--config.file={file}", f"--storage.path={folder}", "--cluster.listen-address=",
            f"--web.listen-address={self.url.removeprefix('http://')}",
        ]  # fmt: skip

    def alerts(self, **labels):
        """The firing alerts with these labels."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts?active=true", timeout=5) as answer:
            alerts = json.loads(answer.read())
        return [one for one in alerts if labels.items() <= one["labels"].items()]

    def _is_up(self):
        with suppress(OSError):
            return self.alerts() is not None

    def __enter__(self):
        self._process = subprocess.Popen(self._command, stdout=self._log, stderr=self._log)
        eventually(self._is_up, "Alertmanager")
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._log.close()
