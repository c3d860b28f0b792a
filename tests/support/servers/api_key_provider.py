"""A local provider of API keys over HTTP: it creates, returns once, lists, disables, revokes and accepts them."""

import json
import secrets
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PAGE = 3


class Keyring:
    """`/v1/keys` is for the admin, `/v1/me` for clients with a key. `overrides` makes it fail."""

    def __init__(self, *, pair=None, host="127.0.0.1"):
        self.admin = f"admin-{secrets.token_hex(8)}"
        self.keys = {}
        """All keys by id, the newest last: name, key, disabled."""
        self.requests = []
        """The method and path of each request."""
        self.overrides = {}
        """By method and first element of the path below /v1: a status, or a function that gets the handler and body."""
        self.lock = threading.Lock()
        ring = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                ring.answer(self)

            do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815  # The names that http.server uses.

            def respond(self, status, document=None, headers=()):
                body = b"" if document is None else json.dumps(document).encode()
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer((host, 0), Handler)
        self._server.daemon_threads = True
        if pair is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if pair else 'http'}://{host}:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def create(self, name):
        """Create a key, as a user does in the provider's console. Returns its id and value."""
        with self.lock:
            id_ = f"key_{secrets.token_hex(4)}"
            self.keys[id_] = {"name": name, "key": f"sk-{secrets.token_hex(16)}", "disabled": False}
            return id_, self.keys[id_]["key"]

    def accepts(self, key):
        return any(known["key"] == key and not known["disabled"] for known in list(self.keys.values()))

    def answer(self, handler):
        parts = urlsplit(handler.path)
        _, _, resource, *rest = parts.path.split("/")
        body = json.loads(handler.rfile.read(int(handler.headers.get("Content-Length") or 0)) or "null")
        self.requests.append((handler.command, handler.path))
        token = (handler.headers.get("Authorization") or "").removeprefix("Bearer ")
        override = self.overrides.get((handler.command, resource))
        if callable(override):
            override(handler, body)
        elif override is not None:
            handler.respond(override, {"error": f"no, {token}"})
        elif resource == "me":
            self._me(handler, token)
        elif token != self.admin:
            handler.respond(401, {"error": f"no such key: {token}"})
        else:
            self._administer(handler, rest, body, int(parse_qs(parts.query).get("offset", ["0"])[0]))

    def _me(self, handler, token):
        ids = [id_ for id_, known in list(self.keys.items()) if known["key"] == token and not known["disabled"]]
        handler.respond(200, {"id": ids[0]}) if ids else handler.respond(401, {"error": f"no such key: {token}"})

    def _administer(self, handler, rest, body, offset):
        match handler.command:
            case "POST":
                id_, key = self.create(body["name"])
                handler.respond(201, {"key": key, "data": {"id": id_}})
            case "GET":
                newest = list(self.keys.items())[::-1][offset : offset + PAGE]
                page = [
                    {"id": id_, "name": known["name"], "masked": f"sk-...{known['key'][-6:]}"} for id_, known in newest
                ]
                handler.respond(200, {"data": page})
            case _ if rest[0] not in self.keys:
                handler.respond(404, {"error": "no such key"})
            case "PATCH":
                self.keys[rest[0]] |= body
                handler.respond(200, {})
            case "DELETE":
                del self.keys[rest[0]]
                handler.respond(204)
