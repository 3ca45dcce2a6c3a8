"""What the shop knows, kept in servers: products in Postgres, carts in Redis. The same methods as `Store`."""

import os
import uuid
from contextlib import contextmanager
from dataclasses import asdict

import psycopg2
import redis

from .store import DEMO_PRODUCTS, NotFound, Product, Refused, check_quantity, check_stock, view

COLUMNS = "id, name, text, price_cents, stock"


class DatabaseStore:
    def __init__(self, database_url, redis_url):
        self._url = database_url
        self._redis = redis.Redis.from_url(redis_url, decode_responses=True)
        with self._database() as cursor:
            cursor.execute(
                "create table if not exists products (position serial, id text primary key, name text not null,"
                " text text not null, price_cents integer not null, stock integer not null check (stock >= 0))"
            )
            for row in DEMO_PRODUCTS:
                cursor.execute(
                    f"insert into products ({COLUMNS}) values (%s, %s, %s, %s, %s) on conflict (id) do nothing", row
                )

    @classmethod
    def from_environment(cls):
        return cls(os.environ["DATABASE_URL"], os.environ["REDIS_URL"])

    def products(self):
        with self._database() as cursor:
            cursor.execute(f"select {COLUMNS} from products order by position")
            return [asdict(Product(*row)) for row in cursor.fetchall()]

    def product(self, product_id):
        with self._database() as cursor:
            return asdict(self._product(cursor, product_id))

    def new_cart(self):
        cart_id = uuid.uuid4().hex[:12]
        # A hash without fields does not exist in Redis: the empty field keeps the cart.
        self._redis.hset(f"cart:{cart_id}", "", 0)
        return view(cart_id, [])

    def cart(self, cart_id):
        with self._database() as cursor:
            return view(cart_id, self._lines(cursor, cart_id))

    def set_quantity(self, cart_id, product_id, quantity):
        """Puts `quantity` of a product into the cart; 0 takes it out."""
        check_quantity(quantity)
        with self._database() as cursor:
            self._lines(cursor, cart_id)
            check_stock(self._product(cursor, product_id), quantity)
            if quantity:
                self._redis.hset(f"cart:{cart_id}", product_id, quantity)
            else:
                self._redis.hdel(f"cart:{cart_id}", product_id)
            return view(cart_id, self._lines(cursor, cart_id))

    def check_out(self, cart_id):
        """Takes the goods out of stock and empties the cart. All lines, or none."""
        with self._database() as cursor:
            lines = self._lines(cursor, cart_id)
            if not lines:
                raise Refused("the cart is empty")
            # In one order, so that two customers never wait for each other.
            for product, quantity in sorted(lines, key=lambda line: line[0].id):
                cursor.execute(
                    "update products set stock = stock - %s where id = %s and stock >= %s", (quantity, product.id, quantity)
                )
                if cursor.rowcount == 0:
                    raise Refused(f"only {self._product(cursor, product.id).stock} of {product.name} left")
            self._redis.hdel(f"cart:{cart_id}", *(product.id for product, _ in lines))
            return view(cart_id, lines)

    @contextmanager
    def _database(self):
        """One transaction. A connection of its own each time: a database that was started again is no special case."""
        connection = psycopg2.connect(self._url)
        try:
            with connection, connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    @staticmethod
    def _product(cursor, product_id):
        cursor.execute(f"select {COLUMNS} from products where id = %s", (product_id,))
        row = cursor.fetchone()
        if not row:
            raise NotFound(f"no product {product_id!r}")
        return Product(*row)

    def _lines(self, cursor, cart_id):
        fields = self._redis.hgetall(f"cart:{cart_id}")
        if not fields:
            raise NotFound(f"no cart {cart_id!r}")
        return [(self._product(cursor, p), int(quantity)) for p, quantity in fields.items() if p]
