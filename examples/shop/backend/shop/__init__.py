"""The shop: a product list and carts, kept in memory."""
