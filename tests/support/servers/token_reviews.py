"""The part of the Kubernetes API that Vault asks for the owner of a service account's token."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_PATH = "/apis/authentication.k8s.io/v1/tokenreviews"
_USER = {"username": "system:serviceaccount:default:web", "uid": "4d2e", "groups": []}


class TokenReviews(ThreadingHTTPServer):
    """`with TokenReviews() as reviews:` serves. The tokens in `known` belong to the account `web`."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.known = []

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def mount(self, bao, path):
        """Configure the auth method kubernetes at this path of a server, with the role `web`."""
        settings = {
            "kubernetes_host": f"http://127.0.0.1:{self.server_port}",
            "kubernetes_ca_cert": "needed only for TLS",
            "disable_local_ca_jwt": True,
        }
        bao.ask("POST", f"auth/{path}/config", settings)
        bound = {"bound_service_account_names": "web", "bound_service_account_namespaces": "default"}
        bao.ask("POST", f"auth/{path}/role/web", bound)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        assert self.path == _PATH
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = {"authenticated": False}
        if review["spec"]["token"] in self.server.known:
            status = {"authenticated": True, "user": _USER, "audiences": review["spec"]["audiences"]}
        answer = json.dumps({**review, "status": status}).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def service_account_token(signer, *, pod):
    """A bound token, as Kubernetes mounts it into a pod."""
    account = {"namespace": "default", "pod": {"name": pod}, "serviceaccount": {"name": "web", "uid": "4d2e"}}
    return signer.sign(
        sub="system:serviceaccount:default:web", aud=["https://kubernetes.default.svc"], **{"kubernetes.io": account}
    )
