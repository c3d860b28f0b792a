"""An HTTPS server with a certificate of a real authority, which records the credentials that clients present."""

import json
import ssl
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

ANSWER = {"username": "lessee"}


class Receiver(BaseHTTPRequestHandler):
    """`requests`: of each, its path, its Authorization, and the name in the client's certificate."""

    def do_GET(self):
        subject = dict(pair for part in (self.connection.getpeercert() or {}).get("subject", ()) for pair in part)
        self.server.requests.append((self.path, self.headers["Authorization"], subject.get("commonName")))
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def enable_authority(bao):
    """Make an OpenBao server an authority that issues certificates at `pki/issue/kubernetes`."""
    bao.ask("POST", "sys/mounts/pki", {"type": "pki"})
    bao.ask("POST", "pki/root/generate/internal", {"common_name": "an authority", "ttl": "48h"})
    role = {"allow_any_name": True, "enforce_hostnames": False, "allow_ip_sans": True, "ttl": "24h"}
    bao.ask("POST", "pki/roles/kubernetes", role)


@contextmanager
def receiving(bao, folder):
    """A server on loopback; `authority` is the file with its CA's certificate."""
    issued = bao.ask("POST", "pki/issue/kubernetes", {"common_name": "localhost", "ip_sans": "127.0.0.1"})["data"]
    for name, text in (("pair", f"{issued['certificate']}\n{issued['private_key']}\n"), ("ca", issued["issuing_ca"])):
        (folder / f"{name}.pem").write_text(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pair.pem")
    context.load_verify_locations(folder / "ca.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.host, server.authority, server.requests = f"127.0.0.1:{server.server_port}", folder / "ca.pem", []
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
