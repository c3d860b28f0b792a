"""An issuer of CI jobs' JWTs over HTTPS, with OpenID discovery for Vault and GitHub's token endpoint."""

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from support.servers.certificate_authority import Authority
from support.servers.jwt_signer import Signer

REQUEST_TOKEN = "canary-request-token"


class Issuer:
    """`claims`: the claims of the requesting job."""

    def __init__(self, folder):
        self.ca = folder / "ca.pem"
        authority = Authority(self.ca)
        authority.issue(folder / "issuer.pem", 30)
        self._signer = Signer()
        self.claims, self.asked, self.answer = {}, [], 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer._serve(self)

            def log_message(self, *_):
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "issuer.pem")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def variables(self):
        """The variables that GitHub's runner sets for a job with the id-token permission."""
        return {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.url}/token?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": REQUEST_TOKEN,
            "SSL_CERT_FILE": str(self.ca),
        }

    def sign(self, **claims):
        return self._signer.sign(**{"iss": self.url} | self.claims | claims)

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, request):
        parts = urlsplit(request.path)
        status, body = 200, {}
        if parts.path == "/.well-known/openid-configuration":
            body = {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/jwks",
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        elif parts.path == "/jwks":
            body = self._signer.key_set()
        elif request.headers["Authorization"] != f"Bearer {REQUEST_TOKEN}":
            status = 401
        elif self.answer != status:
            status = self.answer
        else:
            query = parse_qs(parts.query)
            assert query["api-version"] == ["2.0"]
            self.asked.append(query.get("audience"))
            body = {"count": 1, "value": self.sign(aud=query.get("audience", ["https://github.com/octo"])[0])}
        content = json.dumps(body).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_):
        """Ignore clients that close the connection because they do not accept the certificate."""
