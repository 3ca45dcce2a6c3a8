import http.client
import json
import threading
import unittest

from shop.server import Handler, make_server
from shop.store import Store


class ServerTest(unittest.TestCase):
    def setUp(self):
        self.server = make_server("127.0.0.1", 0, Store.with_demo_products())
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        self.connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=5)
        self.log, Handler.log_message = Handler.log_message, lambda *a: None

    def tearDown(self):
        Handler.log_message = self.log
        self.connection.close()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def ask(self, method, path, body=None):
        self.connection.request(method, path, body if isinstance(body, (bytes, type(None))) else json.dumps(body))
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())

    def test_health(self):
        self.assertEqual(self.ask("GET", "/healthz"), (200, {"ok": True}))

    def test_products(self):
        status, document = self.ask("GET", "/api/products")
        self.assertEqual(status, 200)
        self.assertIn("mug", [p["id"] for p in document["products"]])
        self.assertEqual(self.ask("GET", "/api/products/mug?x=1")[1]["price_cents"], 1200)

    def test_buy_something(self):
        status, cart = self.ask("POST", "/api/carts")
        self.assertEqual(status, 201)
        status, cart = self.ask("PUT", f"/api/carts/{cart['id']}/items/mug", {"quantity": 2})
        self.assertEqual((status, cart["total_cents"]), (200, 2400))
        status, order = self.ask("POST", f"/api/carts/{cart['id']}/checkout")
        self.assertEqual((status, order["total_cents"]), (200, 2400))
        self.assertEqual(self.ask("GET", f"/api/carts/{cart['id']}")[1]["items"], [])
        self.assertEqual(self.ask("GET", "/api/products/mug")[1]["stock"], 38)

    def test_errors_say_what_is_wrong(self):
        cart = self.ask("POST", "/api/carts")[1]["id"]
        item = f"/api/carts/{cart}/items/mug"
        for method, path, body, status, word in (
            ("GET", "/nowhere", None, 404, "/nowhere"),
            ("GET", "/api/products/hat", None, 404, "hat"),
            ("DELETE", item, None, 501, None),
            ("POST", "/api/products", None, 405, "GET"),
            ("PUT", item, b"{", 400, "not JSON"),
            ("PUT", item, [], 400, "quantity"),
            ("PUT", item, {"quantity": 1000}, 409, "only 40"),
        ):
            with self.subTest(path=path, body=body):
                if word is None:  # the standard library answers an unknown method itself, in HTML
                    self.connection.request(method, path)
                    answer = self.connection.getresponse()
                    answer.read()
                    self.assertEqual(answer.status, status)
                    continue
                got, document = self.ask(method, path, body)
                self.assertEqual(got, status)
                self.assertIn(word, document["error"])


if __name__ == "__main__":
    unittest.main()
