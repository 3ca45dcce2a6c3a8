import unittest

from shop.store import NotFound, Product, Refused, Store


class StoreTest(unittest.TestCase):
    def setUp(self):
        self.store = Store([Product("mug", "Mug", "", 1200, 5), Product("lamp", "Lamp", "", 3900, 1)])
        self.cart = self.store.new_cart()["id"]

    def test_a_new_cart_is_empty(self):
        self.assertEqual(self.store.cart(self.cart), {"id": self.cart, "items": [], "total_cents": 0})

    def test_the_total_adds_up(self):
        self.store.set_quantity(self.cart, "mug", 2)
        cart = self.store.set_quantity(self.cart, "lamp", 1)
        self.assertEqual(cart["total_cents"], 2 * 1200 + 3900)

    def test_zero_takes_a_line_out(self):
        self.store.set_quantity(self.cart, "mug", 2)
        self.assertEqual(self.store.set_quantity(self.cart, "mug", 0)["items"], [])

    def test_no_more_than_there_is(self):
        with self.assertRaisesRegex(Refused, "only 5 of Mug left"):
            self.store.set_quantity(self.cart, "mug", 6)

    def test_a_quantity_is_a_whole_number(self):
        for bad in (-1, 1.5, "2", None, True):
            with self.subTest(bad), self.assertRaises(Refused):
                self.store.set_quantity(self.cart, "mug", bad)

    def test_unknown_names(self):
        with self.assertRaisesRegex(NotFound, "no product 'hat'"):
            self.store.set_quantity(self.cart, "hat", 1)
        with self.assertRaisesRegex(NotFound, "no cart 'nope'"):
            self.store.cart("nope")

    def test_check_out_takes_stock_and_empties_the_cart(self):
        self.store.set_quantity(self.cart, "mug", 2)
        self.assertEqual(self.store.check_out(self.cart)["total_cents"], 2400)
        self.assertEqual(self.store.product("mug")["stock"], 3)
        with self.assertRaisesRegex(Refused, "empty"):
            self.store.check_out(self.cart)

    def test_check_out_is_all_or_nothing(self):
        other = self.store.new_cart()["id"]
        for cart in (self.cart, other):
            self.store.set_quantity(cart, "mug", 1)
            self.store.set_quantity(cart, "lamp", 1)
        self.store.check_out(other)
        with self.assertRaisesRegex(Refused, "only 0 of Lamp left"):
            self.store.check_out(self.cart)
        self.assertEqual(self.store.product("mug")["stock"], 4)


if __name__ == "__main__":
    unittest.main()
