"""A provider that accepts one API key: an HTTPS server that checks one header and records all requests."""

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STATUS = {"/limited": 429, "/broken": 500, "/unpaid": 402}


class Provider:
    """`/…` answers the key with 200 and others with 401; `/moved` redirects to `/elsewhere`."""

    def __init__(self, header, value, *, pair=None, host="127.0.0.1"):
        self.header, self.value = header, value
        self.requests = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                provider.requests.append((self.path, dict(self.headers)))
                is_valid = self.headers.get(provider.header) == provider.value
                status = STATUS.get(self.path, 200) if is_valid else 401
                if self.path == "/moved":
                    status = 302
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer((host, 0), Handler)
        self.port = self._server.server_port
        if pair is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if pair else 'http'}://{host}:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
