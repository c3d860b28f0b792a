"""A provider's API over TLS that records its calls; run as a program, it serves until it is stopped."""

# It is also run alone, in a container: the standard library is enough.

import hashlib
import json
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

KEY_HEADERS = ("Authorization", "X-Api-Key", "X-Subscription-Token")


class Upstream:
    """Answers each call with the hash of its key. The query `answer=…` asks for another answer."""

    def __init__(self, pair, address=("127.0.0.1", 0)):
        """`pair`: a file with a key and its certificate."""
        self.calls = []
        """Method, path, headers and body of each."""
        self.accepted = None
        """The only keys that are valid; None: all."""
        self.may_continue = threading.Event()
        """Until it is set, a stream stops after its first part."""
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                upstream.calls.append((self.command, self.path, self.headers.items(), body))
                key = next((self.headers[name] for name in KEY_HEADERS if name in self.headers), "")
                key = key.removeprefix("Bearer ")
                wanted = parse_qs(urlsplit(self.path).query).get("answer", [""])[0]
                if upstream.accepted is not None and key not in upstream.accepted:
                    wanted = "refuse"
                getattr(self, f"answer_{wanted}", self.answer_)(key)

            def do_POST(self):
                self.do_GET()

            def answer_(self, key):
                self.send(200, json.dumps({"key": hashlib.sha256(key.encode("latin-1")).hexdigest()}))

            def answer_echo(self, key):
                self.send(400, f"no such model; you sent: {self.headers}", Authorization=key, X_Api_Key=key)

            def answer_refuse(self, key):
                self.send(401, f"Incorrect API key provided: {key}")

            def answer_redirect(self, key):
                self.send(302, key, Location=f"https://elsewhere.example/?key={key}")

            def answer_accel(self, key):
                self.send(200, key, X_Accel_Redirect="/openai/v1/models", Set_Cookie="a=b")

            def answer_stream(self, _key):
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for number in range(3):
                    part = f"data: {number}\n\n".encode()
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                    upstream.may_continue.wait()
                self.wfile.write(b"0\r\n\r\n")

            def send(self, status, text, **headers):
                raw = text.encode("latin-1")
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(address, Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair)
        # Each connection's own thread does its handshake.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self._server.server_port

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


if __name__ == "__main__":
    with Upstream(sys.argv[1], ("", 443)):
        threading.Event().wait()
