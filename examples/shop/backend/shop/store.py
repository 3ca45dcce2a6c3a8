"""What the shop knows. Money is in cents, always an integer. Every method may be called from any thread."""

import threading
import uuid
from dataclasses import asdict, dataclass


class NotFound(Exception):
    """There is no such product or cart."""


class Refused(Exception):
    """The request is understood and cannot be done, such as buying more than there is."""


@dataclass
class Product:
    id: str
    name: str
    text: str
    price_cents: int
    stock: int


DEMO_PRODUCTS = (
    ("lamp", "Desk lamp", "Warm light, one joint too many.", 3900, 12),
    ("mug", "Mug", "Holds exactly one meeting's worth of coffee.", 1200, 40),
    ("notebook", "Notebook", "Ruled, 120 pages, lies flat.", 850, 25),
    ("plant", "Pot plant", "Forgives being forgotten.", 1650, 7),
    ("chair", "Chair", "Four legs, all of them the same length.", 14900, 3),
    ("poster", "Poster", "The map of a town that does not exist.", 1990, 18),
)


def check_quantity(quantity):
    if isinstance(quantity, bool) or not isinstance(quantity, int) or quantity < 0:
        raise Refused("quantity: expected an integer of at least 0")


def check_stock(product, quantity):
    if quantity > product.stock:
        raise Refused(f"only {product.stock} of {product.name} left")


def view(cart_id, lines):
    """A cart as clients see it. `lines` are pairs of Product and quantity."""
    items = [
        {"product": p.id, "name": p.name, "quantity": quantity, "price_cents": p.price_cents * quantity}
        for p, quantity in lines
    ]
    return {"id": cart_id, "items": items, "total_cents": sum(i["price_cents"] for i in items)}


class Store:
    def __init__(self, products=()):
        self._lock = threading.Lock()
        self._products = {p.id: p for p in products}
        self._carts = {}

    @classmethod
    def with_demo_products(cls):
        return cls(Product(*row) for row in DEMO_PRODUCTS)

    def products(self):
        with self._lock:
            return [asdict(p) for p in self._products.values()]

    def product(self, product_id):
        with self._lock:
            return asdict(self._product(product_id))

    def new_cart(self):
        with self._lock:
            cart_id = uuid.uuid4().hex[:12]
            self._carts[cart_id] = {}
            return self._view(cart_id)

    def cart(self, cart_id):
        with self._lock:
            return self._view(cart_id)

    def set_quantity(self, cart_id, product_id, quantity):
        """Puts `quantity` of a product into the cart; 0 takes it out."""
        check_quantity(quantity)
        with self._lock:
            lines = self._lines(cart_id)
            check_stock(self._product(product_id), quantity)
            if quantity:
                lines[product_id] = quantity
            else:
                lines.pop(product_id, None)
            return self._view(cart_id)

    def check_out(self, cart_id):
        """Takes the goods out of stock and empties the cart. All lines, or none."""
        with self._lock:
            lines = self._lines(cart_id)
            if not lines:
                raise Refused("the cart is empty")
            for product_id, quantity in lines.items():
                check_stock(self._product(product_id), quantity)
            order = self._view(cart_id)
            for product_id, quantity in lines.items():
                self._products[product_id].stock -= quantity
            lines.clear()
            return order

    # The rest is called with the lock held.

    def _product(self, product_id):
        try:
            return self._products[product_id]
        except KeyError:
            raise NotFound(f"no product {product_id!r}") from None

    def _lines(self, cart_id):
        try:
            return self._carts[cart_id]
        except KeyError:
            raise NotFound(f"no cart {cart_id!r}") from None

    def _view(self, cart_id):
        return view(cart_id, [(self._product(p), quantity) for p, quantity in self._lines(cart_id).items()])
