"""A substitute for an OpenID provider with device authorization (RFC 8628), over HTTPS; a test is the person."""

import json
import secrets
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

from support.servers.certificate_authority import Authority
from support.servers.jwt_signer import Signer

CLIENT_ID, CLIENT_SECRET = "vault", "of-a-provider-in-memory"


class DeviceProvider:
    """`interval`: seconds between two polls. `devices`: by device code, what the person sees and has decided."""

    def __init__(self, folder, interval=1):
        self.ca = folder / "provider-ca.pem"
        Authority(self.ca).issue(folder / "provider.pem", 30)
        self._signer, self.interval = Signer(), interval
        self.devices, self.early_polls = {}, 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer._send(self, *outer._look(self.path))

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                outer._send(self, *outer._change(self.path, dict(parse_qsl(body))))

            def log_message(self, *_):
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "provider.pem")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def mount(self, bao, path, **role):
        """Configure OpenBao's OIDC method at this path, with a role `person`."""
        client = {"oidc_client_id": CLIENT_ID, "oidc_client_secret": CLIENT_SECRET, "default_role": "person"}
        settings = {"oidc_discovery_url": self.url, "oidc_discovery_ca_pem": self.ca.read_text(), **client}
        bao.ask("POST", f"auth/{path}/config", settings)
        redirect = {"allowed_redirect_uris": ["http://localhost:8250/oidc/callback"]}  # Required, and not used.
        defaults = {"role_type": "oidc", "user_claim": "sub", "callback_mode": "device", "token_ttl": "1h"}
        role = {**defaults, **redirect, **role}
        bao.ask("POST", f"auth/{path}/role/person", role)

    def decide(self, user_code, decision):
        """What a person does who has opened the URL: `confirmed`, or an error of RFC 8628."""
        [device] = [device for device in self.devices.values() if device["user_code"] == user_code]
        device["decision"] = decision

    def _look(self, path):
        if path == "/.well-known/openid-configuration":
            return 200, {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "device_authorization_endpoint": f"{self.url}/device",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/jwks",
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        return (200, self._signer.key_set()) if path == "/jwks" else (404, {})

    def _change(self, path, form):
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return 401, {"error": "invalid_client"}
        if path == "/device":
            assert "openid" in form["scope"].split()
            code, user_code = secrets.token_hex(8), secrets.token_hex(4).upper()
            self.devices[code] = {"user_code": user_code, "decision": None, "polled_at": time.monotonic()}
            answer = {"device_code": code, "user_code": user_code, "verification_uri": f"{self.url}/activate"}
            return 200, {**answer, "expires_in": 600, "interval": self.interval}
        if path != "/token" or form.get("grant_type") != "urn:ietf:params:oauth:grant-type:device_code":
            return 400, {"error": "unsupported_grant_type"}
        device = self.devices.get(form.get("device_code"))
        if device is None:
            return 400, {"error": "invalid_grant"}
        since, device["polled_at"] = time.monotonic() - device["polled_at"], time.monotonic()
        if since < self.interval:
            self.early_polls += 1
            return 400, {"error": "slow_down"}
        if device["decision"] != "confirmed":
            return 400, {"error": device["decision"] or "authorization_pending"}
        del self.devices[form["device_code"]]
        token = self._signer.sign(iss=self.url, aud=CLIENT_ID, sub="ann")
        return 200, {"access_token": secrets.token_hex(8), "token_type": "Bearer", "id_token": token}

    def _send(self, request, status, body):
        content = json.dumps(body).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Ignore clients that close the connection."""
