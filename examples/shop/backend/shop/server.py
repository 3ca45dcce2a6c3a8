"""The HTTP side: a table of routes, JSON in and out."""

import json
import re
import socketserver
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .store import NotFound, Refused

MAX_BODY = 64 * 1024


class BadRequest(Exception):
    """The request itself is wrong."""


def health(_store, _body):
    return HTTPStatus.OK, {"ok": True}


def list_products(store, _body):
    return HTTPStatus.OK, {"products": store.products()}


def get_product(store, _body, product):
    return HTTPStatus.OK, store.product(product)


def make_cart(store, _body):
    return HTTPStatus.CREATED, store.new_cart()


def get_cart(store, _body, cart):
    return HTTPStatus.OK, store.cart(cart)


def put_item(store, body, cart, product):
    if not isinstance(body, dict) or "quantity" not in body:
        raise BadRequest('expected a JSON object such as {"quantity": 1}')
    return HTTPStatus.OK, store.set_quantity(cart, product, body["quantity"])


def check_out(store, _body, cart):
    return HTTPStatus.OK, store.check_out(cart)


ROUTES = [
    ("GET", r"/healthz", health),
    ("GET", r"/api/products", list_products),
    ("GET", r"/api/products/(?P<product>[\w-]+)", get_product),
    ("POST", r"/api/carts", make_cart),
    ("GET", r"/api/carts/(?P<cart>[\w-]+)", get_cart),
    ("PUT", r"/api/carts/(?P<cart>[\w-]+)/items/(?P<product>[\w-]+)", put_item),
    ("POST", r"/api/carts/(?P<cart>[\w-]+)/checkout", check_out),
]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A client that says nothing must not hold a thread for ever.
    timeout = 30
    # Head and body are two writes; Nagle's algorithm would hold the second back until the client acknowledges the first.
    disable_nagle_algorithm = True

    def do_GET(self):
        self._answer()

    def do_POST(self):
        self._answer()

    def do_PUT(self):
        self._answer()

    def _answer(self):
        try:
            # The body is read first, also for an unknown path: what is left unread would be taken for the next request.
            body = self._body()
            status, document = self._dispatch(body)
        except BadRequest as e:
            status, document = HTTPStatus.BAD_REQUEST, {"error": str(e)}
        except NotFound as e:
            status, document = HTTPStatus.NOT_FOUND, {"error": str(e)}
        except Refused as e:
            status, document = HTTPStatus.CONFLICT, {"error": str(e)}
        self._send(status, document)

    def _dispatch(self, body):
        path = self.path.split("?", 1)[0]
        allowed = []
        for method, pattern, handle in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method == self.command:
                return handle(self.server.store, body, **match.groupdict())
            if match:
                allowed.append(method)
        if allowed:
            return HTTPStatus.METHOD_NOT_ALLOWED, {"error": f"{path} takes {', '.join(allowed)}"}
        raise NotFound(f"nothing at {path}")

    def _body(self):
        try:
            length = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            length = -1
        if not 0 <= length <= MAX_BODY:
            self.close_connection = True
            raise BadRequest("Content-Length: expected 0 to 65536")
        if not length:
            return None
        try:
            return json.loads(self.rfile.read(length))
        except ValueError:
            raise BadRequest("the body is not JSON") from None

    def _send(self, status, document):
        data = json.dumps(document).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        print(f"{self.address_string()} {format % args}", flush=True)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address, store):
        self.store = store
        super().__init__(address, Handler)

    def server_bind(self):
        # HTTPServer asks the name service for the host's name here, which can take seconds; nobody needs the name.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]


def make_server(host, port, store):
    return Server((host, port), store)
