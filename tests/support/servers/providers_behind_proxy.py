"""Providers of API keys by their real names: a proxy that answers for them, as a checking stand-in."""

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOSTS = {
    "openrouter.ai": ("Authorization", "Bearer "),
    "api.openai.com": ("Authorization", "Bearer "),
    "api.search.brave.com": ("X-Subscription-Token", ""),
    "api.github.com": ("Authorization", "Bearer "),
}
"""The header in which each provider wants its key."""


class ProvidersBehindProxy:
    """`keys`: the key that each host accepts. `requests`: the host and path of each request that reached a provider.

    Clients use it by `environ`. `pair`: a certificate for all hosts, with its key.
    """

    def __init__(self, pair, authority):
        self.keys, self.requests = {}, []
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(pair)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(tls))
        self._server.daemon_threads = True
        url = f"http://127.0.0.1:{self._server.server_port}"
        self.environ = {"HTTPS_PROXY": url, "NO_PROXY": "127.0.0.1", "SSL_CERT_FILE": str(authority)}
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def _handler(self, tls):
        providers = self

        class Handler(BaseHTTPRequestHandler):
            def do_CONNECT(self):
                self.host = self.path.partition(":")[0]
                self.send_response_only(200)
                self.end_headers()
                self.connection = tls.wrap_socket(self.connection, server_side=True)
                self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)
                self.close_connection = False

            def do_GET(self):
                providers.requests.append((self.host, self.path))
                header, prefix = HOSTS[self.host]
                is_valid = self.headers.get(header) == f"{prefix}{providers.keys.get(self.host)}"
                self.send_response(200 if is_valid else 401)
                self.send_header("Content-Length", "2")
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(b"{}")

            def finish(self):
                super().finish()
                self.connection.close()

            def log_message(self, *_):
                pass

        return Handler
