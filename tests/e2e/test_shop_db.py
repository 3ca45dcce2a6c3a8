#!/usr/bin/env python3
"""examples/shop-db: a product whose backend keeps its rows in Postgres and its carts in Redis, native and in containers."""

import json
import subprocess

from deps import Data, components, get
from docker_lib import daemon, images
from lib import Failed, check, equal, main, test


def call(url, method, path, body=None):
    argv = ["curl", "-sS", "--max-time", "20", "-X", method, url + path]
    done = subprocess.run(argv + (["-d", json.dumps(body)] if body else []), capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"{method} {path}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def backend(w, project="Main"):
    return w.saved_state()["services"][f"{project} Backend"]["url"].replace("localhost", "127.0.0.1")


def buy(url, product, quantity):
    cart = call(url, "POST", "/api/carts")["id"]
    call(url, "PUT", f"/api/carts/{cart}/items/{product}", {"quantity": quantity})
    call(url, "POST", f"/api/carts/{cart}/checkout")
    # The cart is one of Redis: something has to be in it to be seen later.
    call(url, "PUT", f"/api/carts/{cart}/items/mug", {"quantity": 1})
    return cart


def stock(url, product):
    return json.loads(get(url, f"/api/products/{product}"))["stock"]


def total(url, cart):
    return call(url, "GET", f"/api/carts/{cart}").get("total_cents")


def sold_stays_sold(w, timeout=60):
    w.envctl("start", "--headless", rc=0, timeout=timeout)
    cart = buy(backend(w), "lamp", 3)
    equal(stock(backend(w), "lamp"), 9, "lamps left")
    front = w.saved_state()["services"]["Main Frontend"]["url"]
    equal(json.loads(get(front, "/api/products/lamp"))["stock"], 9, "the same through the frontend")
    w.envctl("stop", "--headless", rc=0)
    w.envctl("start", "--headless", rc=0, timeout=timeout)
    equal(stock(backend(w), "lamp"), 9, "lamps left after a stop and a start")
    equal(total(backend(w), cart), 1200, "the cart is there too")


def side_by_side(w, timeout=60):
    """Two worktrees, each of which sells another number of lamps."""
    for n in ("1", "2"):
        w.git("worktree", "add", "-q", "-b", f"shop-{n}", str(w.repo / f"trees/shop/{n}"))
    w.envctl("start", "--trees", "--headless", "--project", "shop-1", "--project", "shop-2", rc=0, timeout=timeout)
    carts = {n: buy(backend(w, f"shop-{n}"), "lamp", n) for n in (1, 2)}
    for n in (1, 2):
        url = backend(w, f"shop-{n}")
        equal(stock(url, "lamp"), 12 - n, f"lamps in shop-{n}")
        equal((total(url, carts[n]), total(url, carts[3 - n])), (1200, None), f"carts of shop-{n}")


@test
def native(w):
    with Data(w):
        w.shop("shop-db")
        sold_stays_sold(w)


@test
def worktrees(w):
    with Data(w):
        w.shop("shop-db")
        side_by_side(w)
        pids = {c["pid"] for p in ("shop-1", "shop-2") for c in components(w.saved_state(), p).values()}
        equal(len(pids), 4, "servers")


@test
def worktrees_on_shared_servers(w):
    with Data(w):
        w.shop("shop-db")
        with (w.repo / ".envctl").open("a") as config:
            config.write("ENVCTL_POSTGRES_SCOPE=shared\nENVCTL_REDIS_SCOPE=shared\n")
        w.commit()
        side_by_side(w)
        state = w.saved_state()
        parts = [components(state, p)["postgres"] for p in ("shop-1", "shop-2")]
        equal(len({p["final"] for p in parts}), 1, "one server")
        equal(len({p["access"]["name"] for p in parts}), 2, "two databases")
        check(all("pid" not in p for p in parts), "no process of their own")
        equal(sorted(components(state, "@shared")), ["postgres", "redis"], "the servers")


@test(timeout=300)
def in_containers(w):
    with Data(w), daemon(w) as docker:
        images(docker)
        w.shop("shop-db")
        with (w.repo / ".envctl").open("a") as config:
            config.write("ENVCTL_POSTGRES_IMAGE=postgres:test\nENVCTL_REDIS_IMAGE=redis:test\n")
        w.commit()
        sold_stays_sold(w, timeout=150)
        w.envctl("stop-all", "--headless", rc=0)
        side_by_side(w, timeout=150)
        providers = {c["provider"] for p in ("shop-1", "shop-2") for c in components(w.saved_state(), p).values()}
        equal(providers, {"docker"}, "providers")


main()
