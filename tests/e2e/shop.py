"""A customer of examples/shop: over HTTP, to a backend or to the frontend before it."""

import contextlib
import http.client
import json
import urllib.parse


def call(url, method, path, body=None):
    with contextlib.closing(http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=20)) as connection:
        connection.request(method, path, json.dumps(body) if body else None)
        return json.load(connection.getresponse())


def buy(url, product, quantity):
    """Takes so many out of stock. The cart, which has a mug in it then."""
    cart = call(url, "POST", "/api/carts")["id"]
    call(url, "PUT", f"/api/carts/{cart}/items/{product}", {"quantity": quantity})
    call(url, "POST", f"/api/carts/{cart}/checkout")
    # The cart is one of Redis: something has to be in it to be seen later.
    call(url, "PUT", f"/api/carts/{cart}/items/mug", {"quantity": 1})
    return cart


def stock(url, product):
    return call(url, "GET", f"/api/products/{product}")["stock"]


def total(url, cart):
    """Of what is in a cart; None when this shop has no such cart."""
    return call(url, "GET", f"/api/carts/{cart}").get("total_cents")
